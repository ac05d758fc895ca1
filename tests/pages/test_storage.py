"""Storage domains and degraded data centers: who sees which, how full they are, and what is refused without them."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute import health
from compute.models import Host, StorageAssignment, StorageDomain, Vm
from compute.sync.vms import unknown_since_silence
from portal.hypervisors.models import Provider
from portal.jobs.models import Job
from tenants.models import DataCenter

GIB = 1 << 30


def more_domains(count: int, *, assigned_to: str = "") -> None:
    provider = Provider.objects.get()
    made = StorageDomain.objects.bulk_create(
        StorageDomain(provider=provider, name=f"nas-{n}", external_id=f"nas-{n}", type="netfs", status="active")
        for n in range(count)
    )
    if assigned_to:
        center = DataCenter.objects.get(name=assigned_to)
        StorageAssignment.objects.bulk_create(StorageAssignment(storage_domain=row, data_center=center) for row in made)


@pytest.mark.parametrize(("used", "warned"), [(79, ""), (80, "80 % full or more"), (90, "90 % full or more")])
def test_s7_each_domain_tells_its_figures_and_warns_at_80_and_90_percent(demo, used, warned):
    vm = demo.make_vm("alice")
    StorageDomain.objects.update(total_bytes=100 * GIB, used_bytes=used * GIB, free_bytes=(100 - used) * GIB)
    page = demo.browser("physics-admin").get("/storage/").content.decode()
    for figure in (
        "100 GiB",
        f"{used} GiB",
        f"{100 - used} GiB",
        f"{sum(d.size_gib for d in vm.disks.all())} GiB",
        "dir",
        "machines&#x27; disks",
    ):
        assert figure in page
    assert "physics" in page
    assert (warned in page) if warned else ("full or more" not in page)
    [row] = demo.browser("physics-admin").get("/api/v1/storage-domains/").json()["results"]
    assert row["function"] == "data"
    assert row["fullness"] == {79: "", 80: "warning", 90: "error"}[used]


def test_department_admins_see_what_is_assigned_to_them_and_nobody_elses_data_centers(demo):
    more_domains(1, assigned_to="informatics")
    physics = demo.browser("physics-admin").get("/storage/").content.decode()
    assert "nas-0" not in physics
    assert "informatics" not in physics
    assert "nas-0" in demo.browser("informatics-admin").get("/storage/").content.decode()
    everything = demo.browser("admin").get("/storage/").content.decode()
    assert "nas-0" in everything
    assert "informatics" in everything
    own = {str(DataCenter.objects.get(name="physics").pk)}
    rows = demo.browser("physics-admin").get("/api/v1/storage-domains/").json()["results"]
    assert {uid for row in rows for uid in row["data_centers"]} == own


def test_the_page_costs_the_same_queries_with_many_and_no_hypervisor_is_asked(demo):
    client = demo.browser("admin")
    counts = []
    for number in (1, 30):
        StorageDomain.objects.filter(name__startswith="nas-").delete()
        more_domains(number, assigned_to="physics")
        demo.double.forget_calls()
        with CaptureQueriesContext(connection) as seen:
            assert client.get("/storage/").status_code == HTTPStatus.OK
        counts.append(len(seen))
        assert demo.double.calls() == []
    assert counts[0] == counts[1] <= 12


@pytest.mark.parametrize("status", ["inactive", "unknown"])
def test_s1_without_an_active_storage_domain_a_request_is_refused_before_any_job(demo, status):
    vm = demo.make_vm("alice")
    StorageDomain.objects.update(status=status)
    jobs, machines = Job.objects.count(), Vm.objects.count()
    wish = {"name": "more", "data_center": str(vm.data_center_id), "template": str(vm.template_id)}
    refused = demo.browser("alice").post("/api/v1/vms/", wish, content_type="application/json")
    assert refused.status_code == HTTPStatus.CONFLICT
    assert [reason["code"] for reason in refused.json()["reasons"]] == ["no_storage"]
    assert "no active storage domain" in refused.json()["detail"]
    assert (Job.objects.count(), Vm.objects.count()) == (jobs, machines)
    page = demo.browser("physics-admin").get(f"/data-centers/{vm.data_center_id}/").content.decode()
    assert 'data-degraded="storage_inactive"' in page


def test_a_data_center_whose_storage_is_of_a_provider_without_a_cluster_of_it_is_degraded(demo):
    far = Provider.objects.create(name="far", kind="double", address="double:///far", status="up")
    domain = StorageDomain.objects.create(provider=far, name="nas", external_id="nas", status="active")
    center, client = DataCenter.objects.get(name="physics"), demo.browser("admin")
    client.post(f"/data-centers/{center.pk}/assign/storage_domain/", {"id": str(domain.pk)})
    assert center.storage_assignments.filter(storage_domain=domain).exists()
    page = client.get(f"/data-centers/{center.pk}/").content.decode()
    assert 'data-degraded="storage_elsewhere"' in page
    assert "has no cluster: nas." in page
    assert health.degraded(DataCenter.objects.values_list("pk", flat=True)) == {center.pk}


def test_storage_of_a_silent_provider_is_unknown_and_leads_to_its_volumes_else(demo):
    client, domain = demo.browser("admin"), StorageDomain.objects.first()
    provider, volumes = f"/providers/{domain.provider_id}/", f'href="/storage-domains/{domain.pk}/volumes/"'
    assert volumes in client.get("/storage/").content.decode()
    for status, shown in (("up", True), ("unreachable", False)):
        Provider.objects.update(status=status)
        for path in ("/storage/", provider):
            assert ("</span>active</span>" in client.get(path).content.decode()) is shown, (status, path)


def test_s14_a_data_center_whose_host_is_silent_is_degraded_and_its_machines_are_unknown(demo):
    vm, client = demo.make_vm("alice"), demo.browser("physics-admin")
    place = f"/data-centers/{vm.data_center_id}/"
    assert "degraded" not in client.get("/data-centers/").content.decode()
    assert client.get(f"/api/v1{place}resources/").json()["degraded"] == []
    provider = Provider.objects.get()
    Provider.objects.update(status="unreachable")
    Host.objects.update(status="unknown")
    unknown_since_silence(provider.pk)
    assert "degraded" in client.get("/data-centers/").content.decode()
    page = client.get(place).content.decode()
    assert "No answer from double." in page
    [reason] = client.get(f"/api/v1{place}resources/").json()["degraded"]
    assert (reason["code"], reason["hosts"]) == ("hosts_silent", ["double"])
    vm.refresh_from_db()
    assert vm.status == "unknown"
