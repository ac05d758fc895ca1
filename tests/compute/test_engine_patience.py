"""What an engine takes hours for is not thrown away, what it is not told of is not believed, and what it made late is removed."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from compute.models import FoundVm, Host, StorageDomain, Template, Vm
from compute.services import adoption, sharing, vms
from compute.services.adoption import Adoption
from compute.sync.inventory import sync_provider
from portal.events.models import Event
from portal.hypervisors.identity import portal_id
from portal.jobs.engine import advance
from portal.jobs.models import Job, Step
from tenants import quota
from tenants.models.quota import Dimension
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.engines import Both, the_both
from tests.jobs.conftest import hurry, run


@pytest.fixture
def both(db: None, tmp_path: Path) -> Both:
    return the_both(tmp_path)


def used(both: Both) -> dict[Dimension, int]:
    return {each.dimension: each.used for each in quota.usage(both.centers["physics"])}


def look(job: Job, times: int = 1) -> Job:
    for _ in range(times):
        hurry(job)
        advance(job.pk)
    job.refresh_from_db()
    return job


# -- made, and not running


def test_a_machine_that_was_made_is_kept_where_there_is_no_room_to_run_it(both: Both):
    both.double.fail("run_vm", Fault.FULL)
    vm = both.machine()
    assert vm.status == "down"
    assert len(both.double.things("vm")) == 1
    [event] = Event.objects.filter(code="VM_MADE_NOT_RUNNING")
    assert (event.severity, event.object_uid, bool(event.data["why"])) == ("warning", vm.pk, True)
    assert (used(both)[Dimension.MACHINES], used(both).get(Dimension.VCPUS_RUNNING, 0)) == (1, 0)
    assert run(vms.run_vm(both.actor("alice"), vm.pk)).status == "finished"
    assert used(both)[Dimension.VCPUS_RUNNING] == vm.vcpus


def test_where_it_is_made_at_once_no_room_to_run_it_undoes_it_as_before(both: Both):
    HypervisorDouble(both.folder / "hypervisor").fail("run_vm", Fault.FULL)
    vm, job = vms.create_vm(both.actor("alice"), both.wish(template_uid=both.template.pk))
    assert run(job).status == "failed"
    assert not Vm.objects.filter(pk=vm.pk).exists()


@pytest.mark.parametrize("method", ["making", "run_vm", "find_disk"])
def test_an_engine_that_is_away_for_long_is_waited_for(both: Both, method: str):
    both.double.fail(method, Fault.GONE, times=12)
    _vm, job = vms.create_vm(both.actor("alice"), both.wish())
    for _ in range(12):
        look(job)
        Step.objects.filter(job=job).exclude(failing_since=None).update(
            failing_since=timezone.now() - timedelta(hours=1)
        )
    assert job.status == "started", job.error
    assert run(job).status == "finished", job.error


def test_one_that_does_not_come_up_is_kept_as_it_is(both: Both, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("compute.operations.kept.MOST_LOOKS", 3)
    both.double.fail("run_vm", Fault.LOST_BEFORE, times=1)
    vm, job = vms.create_vm(both.actor("alice"), both.wish())
    while not job.steps.filter(name="start", status="done").exists():
        look(job)
    both.double.set_vm(Vm.objects.get(pk=vm.pk).external_id, state="paused")
    assert run(job).status == "finished", job.error
    assert not Event.objects.filter(code="VM_MADE_NOT_RUNNING").exists(), "it is not off"


# -- hosts


def test_hosts_that_vanish_all_at_once_are_unknown_and_forgotten_after_a_day(both: Both):
    for name in ("big", "small", "far"):
        both.double.remove("host", f"host-of-{name}")
    both.read()
    rows = Host.objects.filter(provider=both.engine)
    assert list(rows.values_list("status", flat=True)) == ["unknown"] * 3
    rows.update(status_at=timezone.now() - timedelta(days=2))
    both.read()
    assert not rows.exists()


# -- storage


def test_a_machine_whose_storage_domain_is_gone_is_deleted_and_its_quota_comes_back(both: Both):
    vm = both.machine(run=False, template_uid=both.template.pk)
    domain = vm.disks.get().storage_domain
    HypervisorDouble(both.folder / "hypervisor").remove("storage_domain", domain.external_id)
    job = run(vms.delete_vm(both.actor("alice"), vm.pk))
    assert job.status == "finished", job.error
    assert used(both).get(Dimension.STORAGE_GIB, 0) == used(both).get(Dimension.MACHINES, 0) == 0


def test_disks_that_lie_in_no_one_zone_are_refused_and_one_zone_is_chosen_where_there_is_one(both: Both):
    root, physics = both.actor("root"), both.centers["physics"].pk
    disk = {"size_bytes": 1 << 30, "name": "disk"}
    disks = [
        {**disk, "external_id": "apart-root", "storage_domains": ["data-east"], "bootable": True},
        {**disk, "external_id": "apart-data", "storage_domains": ["data-west", "other-east"]},
    ]
    both.double.plant_template("apart", "Apart", base="apart", version=1)
    both.double.put("template", "apart", disks=disks)
    both.read()
    template = Template.objects.get(external_id="apart")
    sharing.assign(root, physics, "template", template.pk)
    assert both.why_not(template_uid=template.pk) == ["disks_apart"]
    both.double.put("storage_domain", "other-east", name="other-east", status="active", zones=["east"])
    both.read()
    sharing.assign(root, physics, "storage_domain", StorageDomain.objects.get(external_id="other-east").pk)
    assert both.why_not(template_uid=template.pk) == []


# -- what was lost, and what came late


def test_a_machine_made_here_whose_row_was_lost_is_adopted_as_it_was(both: Both):
    vm = both.machine(run=False)
    Vm.objects.filter(pk=vm.pk).delete()
    both.read()
    found = FoundVm.objects.get(external_id=vm.external_id)
    root = both.actor("root")
    [(again, job)] = adoption.adopt(root, Adoption((found.pk,), both.centers["physics"].pk, "alice"))
    assert run(job).status == "finished", job.error
    assert again.pk == vm.pk
    assert run(adoption.unadopt_vm(root, again.pk)).status == "finished"
    assert both.double.things("vm")[vm.external_id]["marker"] is None


def test_a_mark_that_changed_since_a_machine_was_found_is_told(both: Both):
    vm = both.machine(run=False)
    Vm.objects.filter(pk=vm.pk).delete()
    both.read()
    FoundVm.objects.update(marked_uid=None)
    wish = Adoption((FoundVm.objects.get().pk,), both.centers["physics"].pk)
    [(_vm, job)] = adoption.adopt(both.actor("root"), wish)
    assert (run(job).status, job.error["code"]) == ("failed", "marked_otherwise")
    assert both.double.things("vm")[vm.external_id]["marker"]["uid"] == str(vm.pk)


def failed_creation(both: Both) -> Job:
    both.double.configure(making_fails="Not enough extents.")
    _vm, job = vms.create_vm(both.actor("alice"), both.wish())
    assert run(job).status == "failed"
    both.double.configure(making_fails="")
    both.double.forget_calls()
    return job


def plant_late(both: Both, job: Job, **more: Any) -> str:
    """The machine that a failed creation had asked for, made after all, with a disk."""
    marks = [
        {"portal_id": str(portal_id()), "uid": str(uid)}
        for uid in (job.target_uid, UUID(job.params["disks"][0]["uid"]))
    ]
    name = f"stegi-{portal_id().hex[:8]}-{marks[1]['uid']}.qcow2"
    domain = job.params["disks"][0]["storage_domain"]
    both.double.put("disk", name, marker=marks[1], storage_domain=domain, base="", size=1, allocated=1, sha256="")
    return both.double.plant_machine("late", "big", marker=marks[0], disks=[name], **more)


def ended(job: Job, *, ago: timedelta) -> None:
    Job.objects.filter(pk=job.pk).update(ended_at=timezone.now() - ago)


def test_what_an_engine_made_late_is_removed_when_it_can_be_and_nobody_asks_for_what_is_not_there(both: Both):
    job = failed_creation(both)
    both.read()
    assert both.double.calls("find_vm", "find_disk") == []
    both.double.configure(making_seconds=1000.0)
    key = plant_late(both, job, state="making", since=time.time())
    both.read()
    assert key in both.double.things("vm"), "it is being made"
    ended(job, ago=timedelta(hours=5))
    both.double.configure(making_seconds=0.0, removing_seconds=0.0)
    both.double.fail("delete_disk", Fault.BUSY)
    both.read()
    assert key not in both.double.things("vm"), "the time counts from when it could be removed"
    assert both.double.things("disk")
    both.read()
    both.double.forget_removed()
    assert not both.double.things("disk")
    assert Event.objects.filter(code="VM_LEFTOVER_REMOVED", correlation_id=job.pk).exists()


def test_what_is_found_long_after_a_creation_failed_is_left_for_people(both: Both):
    job = failed_creation(both)
    ended(job, ago=timedelta(hours=1))
    key = plant_late(both, job)
    both.read()
    assert key in both.double.things("vm")
    assert both.double.calls("delete_vm") == []


@pytest.mark.turns
def test_of_many_failed_creations_some_are_looked_after_at_a_time_and_all_in_turn(
    both: Both, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("compute.sync.leftovers.MOST_AT_ONCE", 2)
    monkeypatch.setattr("compute.sync.turns.TURN_SECONDS", 1e-3)
    double, looked = HypervisorDouble(both.folder / "hypervisor"), set()
    jobs = []
    for number in range(3):
        double.fail("create_disk", Fault.REFUSED)
        jobs.append(vms.create_vm(both.actor("alice"), both.wish(f"web-{number}", template_uid=both.template.pk))[1])
        assert run(jobs[-1]).status == "failed"
    for _ in range(40):
        double.forget_calls()
        sync_provider(both.provider)
        asked = {call.key for call in double.calls("find_vm")}
        assert len(asked) <= 2
        looked |= asked
    assert looked == {str(job.target_uid) for job in jobs}
