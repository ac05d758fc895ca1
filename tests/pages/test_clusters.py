"""Clusters of hosts of several providers: made and checked, told what differs, looked at again by each compare."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from compute.models import Cluster, ClusterAssignment, FoundVm, Host, Vm
from compute.services.providers import connect_provider
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.events.models import Event
from portal.hypervisors.models import Provider
from tests.doubles.hypervisor_state import HypervisorDouble, put
from tests.pages.conftest import Demo

NFS = "netfs nfs nas.islab.local /export/machines"


def second(demo: Demo, **settings: Any) -> Provider:
    """Another hypervisor, which is like the first but for these settings."""
    double = HypervisorDouble(demo.double.store.folder.parent / "second")
    double.configure(**{"host_name": "second"} | settings)
    return connect_provider(system_actor(), name="second", kind="double", address=double.address)


def share(*doubles: HypervisorDouble) -> None:
    """The same NFS export on each."""
    for double in doubles:
        with double.store.change() as db:
            put(db, "storage_domain", "nas", {"path": "/nas", "marker": None, "source": NFS})
    for provider in Provider.objects.all():
        sync_provider(provider)


def both_shared(demo: Demo) -> None:
    share(demo.double, HypervisorDouble(demo.double.store.folder.parent / "second"))


def asked(name: str = "lab") -> dict[str, Any]:
    hosts = [str(uid) for uid in Host.objects.values_list("pk", flat=True)]
    return {"name": name, "memory_overcommit_percent": "150", "hosts": hosts}


def plan(demo: Demo) -> dict[str, Any]:
    body = {"name": "lab", "hosts": asked()["hosts"]}
    answer = demo.browser("admin").post("/api/v1/clusters/?dry_run=1", body, content_type="application/json")
    assert answer.status_code == HTTPStatus.OK, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_hosts_of_two_providers_become_one_cluster_with_their_machines_and_data_centers(demo):
    vm, other = demo.make_vm("alice"), second(demo)
    both_shared(demo)
    assert plan(demo) == {
        "possible": True,
        "reasons": [],
        "problems": [],
        "data_centers": ["informatics", "physics"],
    }
    client = demo.browser("admin")
    checked = client.post("/clusters/new/", asked() | {"action": "check"}).content.decode()
    assert "<span>All data centers</span>" in checked
    assert "These hosts make a cluster" in checked
    assert "informatics, physics" in checked
    assert not Cluster.objects.filter(provider=None).exists(), "a check makes nothing"
    made = client.post("/clusters/new/", asked() | {"action": "save"})
    lab = Cluster.objects.get(provider=None)
    assert made.headers["Location"] == f"/clusters/{lab.pk}/"
    assert {host.provider.name for host in lab.hosts.all()} == {"local", "second"}
    vm.refresh_from_db()
    assert vm.cluster == lab
    assert set(ClusterAssignment.objects.values_list("cluster__name", "data_center__name")) == {
        ("lab", "physics"),
        ("lab", "informatics"),
    }
    page = client.get(f"/data-centers/{vm.data_center_id}/").content.decode()
    assert "Take lab back" in page
    assert page.count("local (local)</option>") == 0, "a cluster without a host is not offered"
    sync_provider(other)
    assert lab.hosts.count() == 2, "a compare leaves them where they were put"
    assert demo.make_vm("charlie").cluster == lab


@pytest.mark.parametrize(
    ("unlike", "code", "named"),
    [
        ({"accelerated": False}, "accelerators_differ", "second"),
        ({"version": "2"}, "versions_differ", "second"),
        ({"cpu": {"arch": "x86_64", "model": "EPYC", "vendor": "AMD", "features": ["aes"]}}, "cpu_vendors_differ", "AMD: second"),
        ({"cpu": {"arch": "x86_64", "model": "Old", "vendor": "Intel", "features": ["aes"]}}, "cpu_features_differ", "second: avx"),
        ({"cpu": {"arch": "x86_64", "model": "", "vendor": "", "features": []}}, "cpu_unknown", "second"),
    ],
)  # fmt: skip
def test_what_differs_is_told_with_the_hosts_and_does_not_refuse(demo, unlike, code, named):
    second(demo, **unlike)
    both_shared(demo)
    found = plan(demo)
    assert found["possible"]
    [problem] = found["problems"]
    assert problem["code"] == code
    assert named in problem["text"]
    assert problem["remedy"]


def test_a_folder_is_not_shared_and_the_check_says_so(demo):
    second(demo)
    [problem] = plan(demo)["problems"]
    assert problem["code"] == "storage_not_shared"
    assert "A folder is its host's alone" in problem["text"]
    share(demo.double)  # on one of them only
    [problem] = plan(demo)["problems"]
    assert "double: nas; second: –" in problem["text"]


def test_hosts_of_two_architectures_are_refused_beside_the_field(demo):
    second(demo, cpu={"arch": "aarch64", "model": "Neoverse", "vendor": "ARM", "features": ["aes"]})
    answer = demo.browser("admin").post("/clusters/new/", asked() | {"action": "save"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "aarch64: second; x86_64: double" in answer.content.decode()
    assert 'id="hosts-error"' in answer.content.decode()
    assert not plan(demo)["possible"]
    assert not Cluster.objects.filter(provider=None).exists()


def test_bad_input_is_refused_beside_its_field(demo):
    second(demo)
    client = demo.browser("admin")
    for change, field in (
        ({"name": "a b"}, "name"),
        ({"name": "LOCAL"}, "name"),
        ({"hosts": []}, "hosts"),
        ({"memory_overcommit_percent": "99"}, "memory_overcommit_percent"),
        ({"memory_overcommit_percent": "401"}, "memory_overcommit_percent"),
    ):
        answer = client.post("/clusters/new/", asked() | change | {"action": "save"})
        assert answer.status_code == HTTPStatus.BAD_REQUEST, change
        assert f'id="{field}-error"' in answer.content.decode(), change
    assert Cluster.objects.count() == 2


def made_cluster(demo: Demo) -> Cluster:
    second(demo)
    both_shared(demo)
    demo.browser("admin").post("/clusters/new/", asked() | {"action": "save"})
    return Cluster.objects.get(provider=None)


def test_a_host_with_machines_does_not_leave_and_they_are_named(demo):
    vm, lab = demo.make_vm("alice", name="needs-it"), made_cluster(demo)
    client = demo.browser("admin")
    only_second = asked("renamed") | {"hosts": [str(Host.objects.get(name="second").pk)]}
    answer = client.post(f"/clusters/{lab.pk}/edit/", only_second | {"action": "save"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "1 machine is on double: needs-it." in answer.content.decode()
    lab.refresh_from_db()
    assert (lab.name, lab.hosts.count()) == ("lab", 2)
    assert client.post(f"/clusters/{lab.pk}/remove/").status_code == HTTPStatus.CONFLICT
    removal = client.get(f"/clusters/{lab.pk}/remove/").content.decode()
    assert f'1 machine: <a href="/machines/{vm.pk}/">needs-it</a>' in removal
    Vm.objects.filter(pk=vm.pk).delete()
    client.post(f"/clusters/{lab.pk}/edit/", only_second | {"action": "save"})
    lab.refresh_from_db()
    assert (lab.name, [host.name for host in lab.hosts.all()]) == ("renamed", ["second"])
    assert Host.objects.get(name="double").cluster.provider.name == "local"


def test_one_that_nobody_uses_is_dissolved_and_its_hosts_stand_alone(demo):
    lab, client = made_cluster(demo), demo.browser("admin")
    assert "Assigned to 2 data centers" in client.get(f"/clusters/{lab.pk}/remove/").content.decode()
    ClusterAssignment.objects.all().delete()
    assert client.post(f"/clusters/{lab.pk}/remove/").headers["Location"] == "/clusters/"
    assert not Cluster.objects.filter(pk=lab.pk).exists()
    assert {host.cluster.name for host in Host.objects.all()} == {"local", "second"}
    assert not ClusterAssignment.objects.exists(), "who was denied the cluster does not come back by a host of it"


def test_each_compare_looks_again_and_records_what_is_new_once(demo):
    lab = made_cluster(demo)
    other = HypervisorDouble(demo.double.store.folder.parent / "second")
    other.remove("storage_domain", "nas")
    other.configure(version="2")
    for _ in range(2):
        for provider in Provider.objects.all():
            sync_provider(provider)
    lab.refresh_from_db()
    assert lab.problems == ["storage_not_shared", "versions_differ"]
    told = Event.objects.filter(code="CLUSTER_PROBLEM_FOUND", object_uid=lab.pk)
    assert [[one["code"] for one in event.data["problems"]] for event in told] == [
        ["versions_differ", "storage_not_shared"]
    ]
    page = demo.browser("admin").get(f"/clusters/{lab.pk}/").content.decode()
    assert 'data-problem="storage_not_shared"' in page
    assert "double: nas; second: –" in page
    theirs = demo.browser("physics-admin").get(f"/clusters/{lab.pk}/").content.decode()
    assert "nas" not in theirs, "storage that is not theirs to see"
    assert demo.browser("physics-admin").get(f"/api/v1/clusters/{lab.pk}/").json()["problems"] is None


def test_s5_physical_and_effective_memory_are_apart_and_a_full_host_refuses_with_figures(demo):
    cluster, client = Cluster.objects.get(), demo.browser("admin")
    edit = {"name": "local", "memory_overcommit_percent": "200", "action": "save"}
    assert client.post(f"/clusters/{cluster.pk}/edit/", edit).status_code == HTTPStatus.FOUND
    page = client.get(f"/clusters/{cluster.pk}/").content.decode()
    assert "32 GiB" in page
    assert "64 GiB" in page
    assert "Quotas count the memory that machines are given" in page
    vm = demo.make_vm("alice")
    provider = Provider.objects.get()
    FoundVm.objects.create(
        provider=provider, external_id="x", name="big", status="up", memory_mib=65536 - vm.memory_mib
    )
    wish = {"name": "more", "data_center": str(vm.data_center_id), "template": str(vm.template_id)}
    refused = demo.browser("alice").post("/api/v1/vms/", wish, content_type="application/json")
    assert refused.status_code == HTTPStatus.CONFLICT
    [reason] = refused.json()["reasons"]
    figures = {name: reason[name] for name in ("physical_mib", "effective_mib", "running_mib")}
    assert (reason["code"], figures) == (
        "no_memory",
        {"physical_mib": 32768, "effective_mib": 65536, "running_mib": 65536},
    )
    assert ("host" in reason, "double" in reason["text"], "32 GiB" in reason["text"]) == (False, False, True)
    [told] = client.post("/api/v1/vms/?dry_run=1", wish, content_type="application/json").json()["reasons"]
    assert (told["code"], told["host"]) == ("no_memory", "double")
    made = demo.browser("alice").post("/api/v1/vms/", wish | {"run": False}, content_type="application/json")
    assert made.status_code == HTTPStatus.ACCEPTED, "one that is not started needs none"


def test_a_machine_is_not_placed_on_a_hypervisor_that_does_not_answer(demo):
    client, count = demo.browser("alice"), Vm.objects.count()
    wish = demo.form(client)
    Provider.objects.update(status="unreachable")
    Host.objects.update(status="unknown")
    answer = client.post("/machines/new/", wish | {"action": "review"})
    assert "No hypervisor that holds this template&#x27;s disk answers now. Try again" in answer.content.decode()
    assert Vm.objects.count() == count
