"""Storage domains and degraded data centers: who sees which, how full they are, and what is refused without them."""

from __future__ import annotations

from http import HTTPStatus

import lxml.html
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute import health
from compute.models import Cluster, Host, StorageAssignment, StorageDomain, Template, Vm
from compute.sync.inventory import sync_provider
from compute.sync.vms import unknown_since_silence
from network.models import Network
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
        "folder",
        "machines&#x27; disks",
    ):
        assert figure in page
    assert "physics" in page
    assert (warned in page) if warned else ("full or more" not in page)
    [row] = demo.browser("physics-admin").get("/api/v1/storage-domains/").json()["results"]
    assert row["function"] == "data"
    assert row["fullness"] == {79: "", 80: "warning", 90: "error"}[used]


def test_of_storage_whose_volumes_nobody_reads_none_is_offered_to_copy(demo):
    provider, row = Provider.objects.get(), StorageDomain.objects.get()
    Provider.objects.update(capabilities=provider.capabilities | {"unread_storage": ["iscsi-direct"]})
    StorageDomain.objects.update(holds_disks=False, type="iscsi-direct")
    client, volumes = demo.browser("admin"), f"storage-domains/{row.pk}/volumes/"
    for path in ("/storage/", f"/providers/{provider.pk}/"):
        assert volumes not in client.get(path).content.decode()
    [told] = client.get("/api/v1/storage-domains/").json()["results"]
    assert told["function"] == "none"
    refused = client.get(f"/api/v1/{volumes}")
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (HTTPStatus.CONFLICT, "copy_unsupported")
    assert "Copy what is wanted into another storage domain there." in refused.json()["detail"]


def test_what_another_portal_made_for_itself_is_shown_as_such_and_good_for_nothing(demo):
    assert "another portal" not in demo.browser("admin").get("/storage/").content.decode()
    StorageDomain.objects.update(name="stegi-12345678", holds_disks=False)
    client = demo.browser("admin")
    for path in ("/storage/", f"/providers/{Provider.objects.get().pk}/"):
        assert "another portal&#x27;s" in (page := client.get(path).content.decode()) or "another portal's" in page
    assert client.get("/api/v1/storage-domains/").json()["results"][0]["function"] == "none"


def test_units_that_are_given_as_they_are_are_not_told_as_full(demo):
    StorageDomain.objects.update(holds_disks=False, total_bytes=100 * GIB, used_bytes=0, free_bytes=0)
    page = demo.browser("admin").get("/storage/").content.decode()
    assert "100 GiB" in page
    assert 'data-label="Used">–<' in page
    assert 'data-label="Free">–<' in page
    assert "full" not in page


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


@pytest.mark.parametrize(("who", "is_named"), [("alice", False), ("admin", True)])
def test_on_a_disabled_provider_nothing_new_is_made_and_nobody_is_told_to_wait(demo, who, is_named):
    vm = demo.make_vm("alice")
    Provider.objects.update(name="old-nas", enabled=False)
    wish = {"name": "more", "data_center": str(vm.data_center_id), "template": str(vm.template_id)}
    refused = demo.browser(who).post("/api/v1/vms/", wish, content_type="application/json")
    assert refused.status_code == HTTPStatus.CONFLICT
    [reason] = refused.json()["reasons"]
    assert reason["code"] == "provider_disabled"
    assert ("old-nas" in reason["text"], "out of use" in reason["text"]) == (is_named, not is_named)
    assert "when it is back" not in reason["text"]


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


@pytest.mark.parametrize(("how", "said"), [("taken", "may not use any more"), ("inactive", "which cannot be used now")])
def test_a_data_center_whose_own_templates_lie_where_it_can_use_nothing_is_degraded(demo, how, said):
    center, domain = DataCenter.objects.get(name="physics"), StorageDomain.objects.get()
    template = Template.objects.create(name="golden", owner=center, storage_domain=domain, status="ok")
    client, own = demo.browser("physics-admin"), f"/data-centers/{center.pk}/"
    assert "templates_stranded" not in client.get(own).content.decode()
    assert said not in client.get(f"/templates/{template.pk}/").content.decode()
    if how == "taken":
        center.storage_assignments.all().delete()
    else:
        StorageDomain.objects.update(status="unknown")
    assert center.pk in health.degraded(DataCenter.objects.values_list("pk", flat=True))
    page = client.get(own).content.decode()
    assert 'data-degraded="templates_stranded"' in page
    assert "lie in storage which it cannot use now: golden." in page
    assert said in client.get(f"/templates/{template.pk}/").content.decode()
    codes = [reason["code"] for reason in client.get(f"/api/v1{own}resources/").json()["degraded"]]
    assert "templates_stranded" in codes


def test_storage_of_a_silent_provider_is_unknown_and_leads_to_its_volumes_else(demo):
    client, domain = demo.browser("admin"), StorageDomain.objects.first()
    provider, volumes = f"/providers/{domain.provider_id}/", f'href="/storage-domains/{domain.pk}/volumes/"'
    assert volumes in client.get("/storage/").content.decode()
    for status, shown in (("up", True), ("unreachable", False)):
        Provider.objects.update(status=status)
        for path in ("/storage/", provider):
            page = client.get(path).content.decode()
            assert ("</span>active</span>" in page) is shown, (status, path)
            assert ("active when last seen, " in page and "; its provider is silent" in page) is not shown, (
                status,
                path,
            )


def test_what_a_silent_or_disabled_provider_has_is_told_as_it_was_last_seen(demo):
    client, center = demo.browser("admin"), DataCenter.objects.get(name="physics")
    cluster, before = Cluster.objects.get(), Network.objects.get(owner=center).status_at
    sync_provider(Provider.objects.get())
    assert Network.objects.get(owner=center).status_at > before, "seen again, though nothing changed"
    kinds = ("storage-domains", "hosts", "networks", "clusters")

    def stale() -> set[bool]:
        rows = [row for kind in kinds for row in client.get(f"/api/v1/{kind}/").json()["results"]]
        assert all(row["status_at"] for row in rows if "status" in row)
        return {row["is_stale"] for row in [*rows, client.get(f"/api/v1/clusters/{cluster.pk}/").json()]}

    assert stale() == {False}
    for change, why in (({"status": "unreachable"}, "silent"), ({"status": "up", "enabled": False}, "disabled")):
        Provider.objects.update(**change)
        assert stale() == {True}
        page = client.get(f"/clusters/{cluster.pk}/").content.decode()
        assert "up when last seen, " in page
        assert f"; its provider is {why}" in page
        assert "A provider of its hosts is silent or disabled" in page
        assert "as it was last seen" in client.get(f"/providers/{cluster.provider_id}/").content.decode()
        assert "as last seen" in client.get("/clusters/").content.decode()
        page = client.get(f"/data-centers/{center.pk}/").content.decode()
        assert "operational when last seen, " in page
        assert f"; its provider is {why}" in page


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


@pytest.mark.parametrize(("copies", "function"), [(True, "source"), (False, "none")])
def test_storage_that_holds_no_disks_is_something_to_copy_from_only_where_its_hypervisor_copies(demo, copies, function):
    provider = Provider.objects.get()
    Provider.objects.update(capabilities=provider.capabilities | {"disk_copy": copies})
    StorageDomain.objects.update(name="units", holds_disks=False)
    client = demo.browser("admin")
    [row] = client.get("/api/v1/storage-domains/").json()["results"]
    assert row["function"] == function
    page = client.get("/storage/").content.decode()
    assert ("volumes to copy from" in page, "neither makes nor copies" in page) == (copies, not copies)


def test_kinds_of_storage_are_called_as_people_call_them(demo):
    StorageDomain.objects.update(type="dir")
    more_domains(1)
    provider = Provider.objects.get()
    StorageDomain.objects.create(provider=provider, name="odd", external_id="odd", type="vstorage")
    for path in ("/storage/", f"/providers/{provider.pk}/"):
        page = lxml.html.document_fromstring(demo.browser("admin").get(path).content)
        cells = page.xpath("//td[@data-label='Type']")
        assert {next(text.strip() for text in cell.itertext() if text.strip()) for cell in cells} == {
            "folder",
            "NFS",
            "vstorage",
        }, path


def test_pages_lead_super_admins_to_what_lies_in_a_storage_domain_and_nobody_else(demo):
    template, center = Template.objects.get(), DataCenter.objects.get(name="physics")
    volumes = f"/storage-domains/{template.storage_domain_id}/volumes/"
    for path in ("/storage/", f"/data-centers/{center.pk}/", f"/templates/{template.pk}/"):
        assert f'href="{volumes}"' in demo.browser("admin").get(path).content.decode(), path
        assert volumes not in demo.browser("physics-admin").get(path).content.decode(), path
    StorageDomain.objects.update(status="inactive")
    for path in ("/storage/", f"/data-centers/{center.pk}/", f"/templates/{template.pk}/"):
        assert volumes not in demo.browser("admin").get(path).content.decode(), path
