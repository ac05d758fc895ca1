"""An engine beside a libvirt host, above the driver: what it has is read and shared out, and machines are made from its templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from compute import selectors
from compute.forms.launch import LaunchForm
from compute.models import (
    Cluster,
    Disk,
    FoundVm,
    Host,
    InstanceType,
    StorageDomain,
    Template,
    TemplateAssignment,
    Vm,
    Zone,
)
from compute.resources import resources_of
from compute.services import clusters, sharing, vms
from compute.services.adoption import Adoption, adopt, plan_adoption
from compute.services.clusters import ClusterEdit
from compute.services.launch import offered
from compute.services.offered_networks import offer_network
from compute.services.providers import remove_provider, share_out
from compute.services.template_rows import storage_of
from compute.services.templates import TemplateEdit, delete_template, edit_template
from compute.sync.watcher import look_at
from compute.versions import latest
from network.models import FoundNetwork, Network, NetworkAssignment, VnicProfile, VnicProfileUserGrant
from network.services import create_network, providers_for
from portal.common.actor import system_actor
from portal.common.errors import Conflict, Invalid, NotFound
from portal.events.models import Event
from portal.hypervisors.models import Provider
from portal.jobs.control import cancel_job
from portal.jobs.engine import advance
from portal.jobs.models import Job
from tenants import policy, quota
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tests.doubles.hypervisor_state import Fault
from tests.engines import Both, the_both
from tests.jobs.conftest import hurry, run


@pytest.fixture
def both(db: None, tmp_path: Path) -> Both:
    return the_both(tmp_path)


def test_what_an_engine_has_is_read_and_what_did_not_change_is_not_written(both: Both, django_assert_max_num_queries):
    rows = Cluster.objects.filter(provider=both.engine)
    assert dict(rows.values_list("name", "zone__name")) == {"big": "East", "small": "East", "far": "West"}
    assert set(Host.objects.filter(provider=both.engine).values_list("name", "cluster__name")) == {
        ("big.example", "big"), ("small.example", "small"), ("far.example", "far"),
    }  # fmt: skip
    assert StorageDomain.objects.get(external_id="data-east").zones == ["east"]
    assert InstanceType.objects.get().name == "Medium"
    assert (both.debian.storage_domain.external_id, both.debian.disk_gib) == ("data-east", 4)
    assert [disk["bootable"] for disk in both.debian.disks] == [True, False]
    # Of the engine's the latest version, and ours of the same name beside it.
    assert set(latest(Template.objects.all()).values_list("provider__name", "version")) == {("engine", 2), (None, 1)}
    lan = Network.objects.get(external_id="net-east")
    assert (lan.owner, lan.is_found, lan.cidr, lan.status) == (None, True, "", "operational")
    for number in range(60):
        both.double.plant_machine(f"theirs-{number}", "small")
        both.double.plant_template(f"t-{number}", f"T {number}", base=f"t-{number}", version=1)
    both.read()
    before = {row.pk: row.created_at for row in Template.objects.all()}
    with django_assert_max_num_queries(40):
        both.read()
    assert {row.pk: row.created_at for row in Template.objects.all()} == before
    assert FoundVm.objects.filter(cluster__name="small").count() == 60


def test_what_is_gone_is_forgotten_unless_something_depends_on_it(both: Both):
    both.machine(run=False)
    double = both.double
    double.put("storage_domain", "unused", name="unused", status="active", zones=["west"])
    both.read()
    double.remove("storage_domain", "unused")
    double.put("host", "host-of-small", cluster="big")
    for kind, key in [
        ("template", "debian"), ("template", "debian-2"), ("network", "net-east"), ("network", "net-west"), ("zone", "west"),
        ("cluster", "small"), ("cluster", "far"), ("instance", "medium"),
    ]:  # fmt: skip
        double.remove(kind, key)
    double.remove("host", "host-of-far")
    sharing.unassign(both.actor("root"), both.centers["physics"].pk, "network", Network.objects.get(zone="west").pk)
    both.read()
    assert Host.objects.get(external_id="host-of-small").cluster.name == "big"
    assert not Host.objects.filter(external_id="host-of-far").exists()
    assert not StorageDomain.objects.filter(external_id="unused").exists()
    assert list(Template.objects.filter(provider=both.engine).values_list("external_id", "status")) == [
        ("debian-2", "gone")
    ]
    assert list(Network.objects.filter(is_found=True).values_list("external_id", "status")) == [("net-east", "gone")]
    assert VnicProfile.objects.get(network__external_id="net-east").is_gone
    # Both are assigned still; the hosts of one are known by the last compare.
    assert set(Cluster.objects.filter(is_gone=True).values_list("name", flat=True)) == {"small", "far"}
    assert not Zone.objects.filter(external_id="west").exists()
    assert not InstanceType.objects.exists()
    assert not selectors.usable_templates(both.actor("alice")).filter(pk=both.debian.pk).exists()
    double.furnish()
    both.read()
    assert both.debian.status == "ok"
    assert not Cluster.objects.filter(is_gone=True).exists()


def test_what_people_have_roles_on_comes_back_to_them_when_it_is_on_the_engine_again(both: Both):
    bob, double = both.users["bob"], both.double
    two = {"profile-west": "lan", "profile-lab": "lab"}
    double.put("network", "net-west", profiles=two)
    both.read()
    kept = VnicProfile.objects.get(external_id="profile-lab")
    policy.grant(system_actor(), "vnic-profile-user", bob, kept)
    double.put("network", "net-west", profiles={"profile-west": "lan"})
    both.read()
    assert VnicProfile.objects.get(pk=kept.pk).is_gone
    # The whole network likewise, though no data center has it any more.
    NetworkAssignment.objects.filter(network=kept.network).delete()
    double.remove("network", "net-west")
    both.read()
    assert list(kept.network.vnic_profiles.values_list("external_id", "is_gone")) == [("profile-lab", True)]
    double.put("network", "net-west", name="lan", zone="west", profiles=two)
    both.read()
    assert not VnicProfile.objects.get(pk=kept.pk).is_gone
    assert policy.explain(both.actor("bob"), Permit.NETWORK_USE, kept).allowed
    double.put("network", "net-west", profiles={"profile-west": "lan"})
    VnicProfileUserGrant.objects.update(expires_at=timezone.now())
    both.read()
    assert not VnicProfile.objects.filter(pk=kept.pk).exists(), "nobody has anything of it"


def test_a_machine_of_an_engine_is_made_seen_and_deleted_like_any_other(both: Both):
    alice, physics = both.actor("alice"), both.centers["physics"]
    ours = both.machine("db-1", template_uid=both.template.pk)
    vm, job = vms.create_vm(alice, both.wish(clone=True))
    assert (vm.cluster.name, vm.host, vm.provider) == ("big", None, both.engine)
    assert run(job).status == "finished", job.error
    vm.refresh_from_db()
    assert (vm.status, vm.host.name) == ("up", "big.example")
    assert vm.external_id != str(vm.pk)
    [there] = both.double.things("vm").values()
    assert (there["clone"], there["hostname"]) == (True, "web-1")
    assert [nic["profile"] for nic in there["nics"]] == ["profile-east"]
    assert sorted(vm.disks.values_list("size_gib", "source")) == [(2, "debian-2-data"), (2, "debian-2-root")]
    assert set(selectors.vms(alice)) == {ours, vm}
    used = {each.dimension: each.used for each in quota.usage(physics)}
    assert (used[Dimension.MACHINES], used[Dimension.STORAGE_GIB]) == (2, 5)
    for verb in ("shut_down", "run", "stop", "delete"):
        job = getattr(vms, f"{verb}_vm")(alice, vm.pk)
        assert run(job).status == "finished", (verb, job.error)
    assert not both.double.things("vm")
    assert not both.double.things("disk")
    assert {each.dimension: each.used for each in quota.usage(physics)}[Dimension.STORAGE_GIB] == 1


def until_waiting(job: Job, step: str) -> None:
    for _ in range(20):
        hurry(job)
        advance(job.pk)
        if job.steps.filter(name=step, status="running", message__gt="").exists():
            return
    raise AssertionError(list(job.steps.values_list("name", "status", "message")))


def test_a_machine_is_waited_for_while_its_engine_makes_it(both: Both):
    both.double.configure(making_seconds=1000.0)
    vm, job = vms.create_vm(both.actor("alice"), both.wish())
    until_waiting(job, "define")
    vm.refresh_from_db()
    assert look_at(both.engine, vm.external_id)
    both.read()
    vm.refresh_from_db()
    assert vm.status == "creating", "it is shown as being made, not as locked"
    assert not FoundVm.objects.exists()
    assert len(both.double.calls("create_vm")) == 1
    cancel_job(job.pk)
    hurry(job)
    advance(job.pk)
    job.refresh_from_db()
    assert job.status == "unwinding", "nobody is let at a machine that is being made"
    both.double.configure(making_seconds=0.0, removing_seconds=0.05)
    assert run(job).status == "aborted"
    assert not both.double.things("vm")
    assert not Vm.objects.filter(pk=vm.pk).exists()


def test_what_an_engine_could_not_make_is_told_in_its_words_and_undone(both: Both):
    both.double.configure(making_fails="Not enough extents.")
    vm, job = vms.create_vm(both.actor("alice"), both.wish())
    assert run(job).status == "failed"
    assert "Not enough extents." in job.error["text"]
    assert not both.double.things("vm")
    assert not both.double.things("disk")
    assert not Disk.objects.filter(vm=vm.pk).exists()


def test_why_there_is_no_place_on_an_engine_is_told_as_for_any_host(both: Both):
    root, physics = both.actor("root"), both.centers["physics"]
    assert both.why_not() == []
    assert both.why_not(clone=True, template_uid=both.template.pk) == ["clone_unsupported"]
    both.double.plant_machine("theirs", "big", memory_mib=65000, state="up")
    both.read()
    vm = both.machine(memory_mib=4096)
    assert vm.cluster.name == "small", "strangers count where they are"
    assert both.why_not(name="web-2", memory_mib=4096) == ["no_memory"]
    west = VnicProfile.objects.get(external_id="profile-west")
    with pytest.raises(NotFound):
        both.why_not(vnic_profile_uids=(west.pk,))
    for name in ("big", "small"):
        both.double.put("host", f"host-of-{name}", status="maintenance")
    both.read()
    assert both.why_not(name="web-2") == ["no_host_up"]
    both.double.put("storage_domain", "data-east", status="inactive")
    both.read()
    assert both.why_not(name="web-2") == ["no_storage", "no_host_up"]
    for verb in (vms.stop_vm, vms.delete_vm):
        assert run(verb(both.actor("alice"), vm.pk)).status == "finished"
    for name in ("big", "small"):
        sharing.unassign(root, physics.pk, "cluster", Cluster.objects.get(name=name).pk)
    assert both.why_not() == ["no_storage", "no_cluster"]


def test_what_an_engine_decides_is_not_changed_here_and_what_it_cannot_do_is_refused(both: Both):
    root = both.actor("root")
    big = Cluster.objects.get(name="big")
    with pytest.raises(Conflict, match="engine"):
        clusters.edit_cluster(root, big.pk, ClusterEdit(memory_overcommit_percent=200))
    assert "cluster_of_engine" in [r.code for r in clusters.plan_cluster(root, ClusterEdit(name="x"), big.pk).reasons]
    assert clusters.look_at_cluster(root, big.pk).problems == ()
    with pytest.raises(Invalid) as refused:
        edit_template(root, both.debian.pk, TemplateEdit({"memory_mib": 2048, "icon": "server"}))
    assert [(r.code, r.field) for r in refused.value.reasons] == [("template_of_engine", "memory_mib")]
    edit_template(root, both.debian.pk, TemplateEdit({"memory_min_mib": 700}))
    both.read()
    assert both.debian.memory_min_mib == 700
    with pytest.raises(Conflict, match="engine"):
        delete_template(root, both.debian.pk)
    east = StorageDomain.objects.get(external_id="data-east")
    assert east not in selectors.storage_for_templates(None)
    with pytest.raises(Conflict) as refused:
        storage_of(None, east.pk, ability="disk_upload")
    assert refused.value.reasons[0].code == "takes_no_disks"
    assert refused.value.reasons[0].text.startswith("data-east takes no disks"), "whoever reads it may know no provider"
    assert providers_for(root) == [both.provider]
    with pytest.raises(Invalid, match="engine"):
        create_network(root, both.centers["physics"], provider=both.engine, name="own", cidr="10.9.0.0/24")


def test_the_network_of_an_engines_hosts_is_shared_out_by_hand_alone_and_warned_of(both: Both):
    both.double.put("network", "net-hosts", name="wires", zone="east", profiles={"p": "p"}, management=True)
    both.read()
    row = Network.objects.get(external_id="net-hosts")
    root, physics = both.actor("root"), both.centers["physics"]
    share_out(root, physics, provider=both.engine)
    assigned = Network.objects.filter(assignments__data_center=physics)
    assert {one.external_id for one in assigned} >= {"net-east", "net-west"}
    assert row not in assigned
    client, warning = Client(), "the engine reaches its hosts by it"
    client.force_login(both.users["root"])
    page = f"/data-centers/{physics.pk}/"
    assert client.get(page).content.decode().count(warning) == 1
    [offer] = [kind for kind in resources_of(root, physics) if kind.kind == "network"]
    assert offer.others[-1] == row, "after all that may be given without a thought"
    shown = client.get(page).content.decode()
    assert (shown.count(": management network</option>"), '<option value="">' in shown) == (1, len(offer.others) == 1)
    labels = dict(LaunchForm(None, offered=offered(root)).fields["networks"].choices)
    assert [warning in labels[str(one.pk)] for one in (row, *assigned)] == [True, *[False] * len(assigned)]
    sharing.assign(root, physics.pk, "network", row.pk)
    assert client.get(page).content.decode().count(warning) == 1
    shown = client.get("/api/v1/networks/").json()["results"]
    assert {one["name"] for one in shown if one["is_management"]} == {"wires"}
    with pytest.raises(Conflict, match="assign it to data centers as it is"):
        offer_network(root, both.engine.pk, FoundNetwork.objects.get(name="wires").pk)
    both.double.put("network", "net-hosts", management=False)
    both.read()
    assert warning not in client.get(page).content.decode()


def test_a_found_machine_is_adopted_in_the_cluster_where_it_is(both: Both):
    key = both.double.plant_machine("theirs", "far", state="up")
    both.read()
    found = FoundVm.objects.get(external_id=key)
    root, wish = both.actor("root"), Adoption((found.pk,), both.centers["physics"].pk, "alice")
    sharing.unassign(root, both.centers["physics"].pk, "cluster", found.cluster_id)
    assert [r.code for r in plan_adoption(root, wish).reasons] == ["cluster_not_assigned"]
    sharing.assign(root, both.centers["physics"].pk, "cluster", found.cluster_id)
    [(vm, _job)] = adopt(root, wish)
    assert (vm.cluster.name, vm.host.name) == ("far", "far.example")


def test_another_version_of_a_provider_is_noted_once_and_the_provider_goes_with_what_was_found(both: Both):
    Provider.objects.filter(pk=both.engine.pk).update(about={"version": "0.9"})
    for _ in range(2):
        both.read()
    [event] = Event.objects.filter(code="PROVIDER_VERSION_CHANGED")
    assert event.data == {"was": "0.9", "now": "1", "was_instance": "", "now_instance": "one"}
    with pytest.raises(Conflict):
        remove_provider(both.actor("root"), both.engine.pk)
    for model in (Cluster, StorageDomain, Network, Template):
        kind = {Cluster: "cluster", StorageDomain: "storage_domain", Network: "network", Template: "template"}[model]
        for row in model.objects.filter(provider=both.engine):
            sharing.unassign(both.actor("root"), both.centers["physics"].pk, kind, row.pk)
    remove_provider(both.actor("root"), both.engine.pk)
    assert not TemplateAssignment.objects.exclude(template=both.template).exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "fault"),
    [("create_vm", Fault.LOST), ("create_vm", Fault.LOST_BEFORE), ("making", Fault.GONE), ("run_vm", Fault.LOST)],
)
def test_a_lost_answer_makes_no_second_machine(both: Both, method: str, fault: Fault):
    both.double.fail(method, fault)
    vm = both.machine()
    assert (vm.status, both.double.pending(), len(both.double.things("vm"))) == ("up", 0, 1)
    run(vms.stop_vm(both.actor("alice"), vm.pk))
    for removal in ("delete_vm", "delete_disk", "find_disk"):
        both.double.fail(removal, Fault.LOST)
    assert run(vms.delete_vm(both.actor("alice"), vm.pk)).status == "finished"
    assert (both.double.things("vm"), both.double.things("disk"), both.double.pending()) == ({}, {}, 0)


def test_pages_and_api_show_both_kinds_side_by_side(both: Both):
    root, alice = Client(), Client()
    root.force_login(both.users["root"])
    alice.force_login(both.users["alice"])
    physics = both.centers["physics"].pk
    both.double.put("storage_domain", "exports", name="exports", status="active", zones=["east"], holds_disks=False)
    both.read()
    provider = root.get(f"/providers/{both.engine.pk}/").content.decode()
    for told in ("East", "4.7", "Medium", "(spring)", "Double 1"):
        assert told in provider
    assert "Zones and clusters" not in root.get(f"/providers/{both.provider.pk}/").content.decode()
    center = root.get(f"/data-centers/{physics}/").content.decode()
    assert "(engine, East)" in center
    assert "exports" not in center, "nothing is good for machines there"
    big = root.get(f"/clusters/{Cluster.objects.get(name='big').pk}/").content.decode()
    assert "/edit/" not in big
    assert root.get(f"/templates/{both.debian.pk}/edit/").content.decode().count(" disabled") == 4
    form = alice.get(f"/machines/new/?template={both.debian.pk}").content.decode()
    assert ("(on engine, version 2)" in form, "(on double, version 1)" in form, 'name="clone"' in form) == (
        True,
        True,
        True,
    )
    wish = {"name": "web-1", "data_center": str(physics), "template": str(both.template.pk), "clone": True}
    plan = alice.post("/api/v1/vms/?dry_run=1", wish, content_type="application/json").json()
    assert [(reason["code"], reason["field"]) for reason in plan["reasons"]] == [("clone_unsupported", "clone")]
    listed = alice.get("/api/v1/templates/").json()["results"]
    assert {(row["place"], row["is_found"], row["can_clone"]) for row in listed} == {
        ("double", False, False), ("engine", True, True),
    }  # fmt: skip
    Template.objects.filter(pk=both.debian.pk).update(status="gone")
    assert "gone from its engine" in root.get(f"/data-centers/{physics}/").content.decode()
