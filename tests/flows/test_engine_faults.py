"""The same faults on an engine, which makes machines and removes disks in its own time: ended well, or undone and honest."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from django.db.models import Exists, OuterRef

from compute.models import Vm
from compute.sync.inventory import sync_provider
from portal.jobs.models import Job
from portal.jobs.operation import Operation, operation_named
from portal.jobs.states import FINAL, JobStatus
from tenants import quota
from tenants.models.quota import Dimension
from tests.doubles.engine import EngineDouble
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.engines import make_both
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import run_through
from tests.flows.place import Place
from tests.flows.scenarios import name_of
from tests.flows.seen import Seen, look_at_double
from tests.flows.test_faults import OFTEN, PASSING, Trial, a_share_of, assert_can_go_on, assert_honest
from tests.jobs.conftest import hurry
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers
from tests.snapshots import Once

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.django_db(transaction=True)]

OPERATIONS = [operation_named(f"compute.{name}_vm") for name in ("create", "delete", "run", "stop", "shut_down")]


@dataclass
class EnginePlace(Place):
    """The engine of both, with the libvirt host beside it."""

    @property
    def double(self) -> EngineDouble:
        return EngineDouble(self.folder / "engine")

    def look(self) -> Seen:
        """On both, one list."""
        self.double.forget_removed()
        seen, beside = look_at_double(self.double), look_at_double(HypervisorDouble(self.folder / "hypervisor"))
        for name in ("vms", "disks", "first_boots", "networks", "names", "macs", "addresses"):
            getattr(seen, name).extend(getattr(beside, name))
        seen.strangers |= beside.strangers
        return seen

    def spare(self, *, running: bool) -> Vm:
        on_it = Job.objects.filter(target_uid=OuterRef("pk")).exclude(status__in=FINAL)
        there = self.double.things("vm")
        vm = Vm.objects.filter(~Exists(on_it), name__startswith="spare-", external_id__in=there).first()
        if vm is None:
            return self.machine(f"spare-{Vm.objects.count()}", run=running)
        self.double.set_vm(vm.external_id, state="up" if running else "down")
        sync_provider(self.provider)
        vm.refresh_from_db()
        return vm


def make_engine_place(folder: Path) -> EnginePlace:
    both = make_both(folder)
    assert both.engine is not None
    place = EnginePlace(both.engine, both.debian, both.centers, both.users, folder)
    place.double.plant_machine("somebody's", "far", state="up")
    place.strangers = place.look().strangers
    return place


the_engine_place: Final = Once(make_engine_place)


@pytest.fixture
def trial(transactional_db: None, tmp_path: Path, settings: Any, plant: Plant, request: pytest.FixtureRequest) -> Trial:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    place = the_engine_place(tmp_path)
    for dimension in (Dimension.MACHINES, Dimension.VCPUS_RUNNING):
        quota.set_limits(place.centers["physics"], {dimension: None})
    return Trial(place, plant, full=request.config.getoption("--full"))


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_on_an_engine_too_what_passes_is_outlasted(trial: Trial, operation: type[Operation]):
    for fault, method, nth in trial.victims(operation, PASSING):
        job = trial.suffer(trial.start(operation), method, nth, fault)
        assert job.status == JobStatus.FINISHED, (fault, method, nth, job.error)
        assert_nothing_lost(trial.place)


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_on_an_engine_too_what_lasts_ends_the_job_undone_and_honest(trial: Trial, operation: type[Operation]):
    for fault, method, nth in trial.victims(operation, (Fault.FULL, Fault.REFUSED, Fault.INVALID)):
        job = trial.suffer(trial.start(operation), method, nth, fault)
        if job.status != JobStatus.FINISHED:
            assert_honest(job)
            if fault is Fault.REFUSED:
                assert_can_go_on(trial, job)
        assert_nothing_lost(trial.place)


def test_on_an_engine_too_an_undo_outlasts_any_fault_that_comes_once(trial: Trial):
    operation = operation_named("compute.create_vm")
    calls = trial.undo_calls(operation)
    cases = [(fault, *call) for fault in (*PASSING, Fault.REFUSED) for call in calls if call[1] == 0 or fault in OFTEN]
    for fault, method, nth in cases if trial.full else a_share_of(cases, "engine"):
        job = trial.suffer(trial.start(operation, failing=True), method, nth, fault)
        assert job.status == JobStatus.FAILED, (fault, method, nth, job.error)
        assert_nothing_lost(trial.place)


@pytest.mark.parametrize("operation", OPERATIONS[:2], ids=name_of)
def test_what_an_engine_takes_its_time_for_is_waited_for(trial: Trial, operation: type[Operation]):
    trial.double.configure(making_seconds=0.3, removing_seconds=0.3, halt_seconds=0.3, boot_seconds=0.3)
    for failing in (False, True):
        job = run_through(trial.place, trial.start(operation, failing=failing), later=0.01)
        assert job.status == (JobStatus.FAILED if failing else JobStatus.FINISHED), job.error
        assert_nothing_lost(trial.place)


@pytest.mark.parametrize(
    ("operation", "point", "fails"),
    [
        ("create", "define.made", False),
        ("create", "define.after", False),
        ("create", "define.undo_after", True),
        ("create", "make_disks.removed", True),
        ("delete", "undefine.after", False),
        ("delete", "delete_disks.removed", False),
    ],
)
def test_on_an_engine_too_a_killed_worker_loses_nothing_and_makes_nothing_twice(
    trial: Trial, workers: Workers, operation: str, point: str, *, fails: bool
):
    job = trial.start(operation_named(f"compute.{operation}_vm"), failing=fails)
    trial.plant(f"{job.operation}.{point}", "kill")
    assert workers.run(job.uid) == -signal.SIGKILL, "no worker passed it"
    hurry(job)
    assert workers.run(job.uid) == 0
    job.refresh_from_db()
    assert job.status == (JobStatus.FAILED if fails else JobStatus.FINISHED), job.error
    assert_nothing_lost(trial.place)
