"""Workers killed with -9 at every place of every step and undo of the product's operations, and messages that come too often."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pytest

from compute.models import Vm
from portal.jobs.engine import advance
from portal.jobs.models import Job
from portal.jobs.operation import Operation
from portal.jobs.states import JobStatus
from portal.jobs.tasks import run_job
from tenants import quota
from tenants.models.quota import Dimension
from tests.doubles.hypervisor_state import Fault
from tests.flows.killing import Killing
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import until
from tests.flows.place import Place
from tests.flows.scenarios import SCENARIOS, name_of, operations, passed_points, undone_operations
from tests.jobs.conftest import hurry, run
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers
from tests.lab.turns import every_other

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

CHANGES = ("create_disk", "create_first_boot", "create_vm", "run_vm", "stop_vm", "shut_down_vm", "reboot_vm", "delete_vm",
           "delete_disk", "delete_first_boot", "create_network", "upload_disk")  # fmt: skip
PASSED: dict[tuple[str, str], list[str]] = {}  # the code does not change during a run: each way is gone once
OPERATIONS = {operation.name: operation for operation in operations()}
# Where every step, and every undo, can be killed; steps have places of their own besides.
FORWARD, BACKWARD = ("before", "after", "saved"), ("undo_before", "undo_after", "undo_saved")


@dataclass(kw_only=True)
class Killer(Killing):
    """Starts an operation, has its worker killed at a point, and lets another worker take over."""

    place: Place
    count: int = 0

    def start(self, operation: type[Operation]) -> Job:
        """The operation on an object of its own."""
        self.count += 1
        return SCENARIOS[operation.name].start(self.place, f"m-{self.count}")

    def points(self, operation: type[Operation]) -> list[str]:
        """Where a worker can die while the operation goes well, found by letting it."""
        return self._found(operation, "forward", lambda: assert_finished(run(self.start(operation))))

    def points_back(self, operation: type[Operation]) -> list[str]:
        """Where a worker can die while the operation is undone as a whole."""

        def fails() -> None:
            job = self.start(operation)
            self.plant(f"{operation.name}.on_finished", "fail")
            assert run(job).status == JobStatus.FAILED

        forward = self.points(operation)
        return [name for name in self._found(operation, "back", fails) if name not in forward]

    def _found(self, operation: type[Operation], way: str, work: Callable[[], object]) -> list[str]:
        """The places of its steps; those of what prepares it, and of its ends, are none."""
        key = (operation.name, way)
        if key not in PASSED:
            passed = passed_points(self.monkeypatch, work)
            PASSED[key] = [name for name in passed if name.rpartition(".")[0].rpartition(".")[0] == operation.name]
        return PASSED[key]

    def changes(self, work: Callable[[Job], object], operation: type[Operation]) -> list[str]:
        """Which changes the hypervisor was asked for by an operation that is worked on in this way."""
        job = self.start(operation)
        self.place.double.forget_calls()
        work(job)
        job.refresh_from_db()
        assert_finished(job)
        return [call.method for call in self.place.double.calls(*CHANGES)]


@pytest.fixture
def killer(
    place: Place, plant: Plant, workers: Workers, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> Killer:
    for dimension in (Dimension.MACHINES, Dimension.VCPUS_RUNNING):
        quota.set_limits(place.centers["physics"], {dimension: None})
    return Killer(place=place, plant=plant, workers=workers, monkeypatch=monkeypatch, config=pytestconfig)


def assert_finished(job: Job) -> None:
    if job.status == JobStatus.FAILED:
        assert job.error["code"] == SCENARIOS[job.operation].uncertain, job.error
    else:
        assert job.status == JobStatus.FINISHED, job.error
    wanted = SCENARIOS[job.operation].leads_to
    there = Vm.objects.filter(pk=job.target_uid).values_list("status", flat=True)
    assert set(there) <= wanted
    assert bool(wanted) == bool(there)


def assert_undone(job: Job) -> None:
    assert job.status == JobStatus.FAILED, job.error
    assert not Vm.objects.filter(pk=job.target_uid).exists()


def test_every_operation_of_the_product_has_a_scenario():
    assert sorted(operation.name for operation in operations()) == sorted(SCENARIOS)


@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_tf01_a_worker_killed_anywhere_in_any_step_loses_nothing_and_makes_nothing_twice(
    killer: Killer, operation: type[Operation]
):
    points = killer.points(operation)
    assert {f"{operation.name}.{step.name}.{place}" for step in operation.steps for place in FORWARD} <= set(points)
    for point in every_other(points, killer.config):
        job = killer.start(operation)
        killer.kill_at(point, job)
        assert_finished(killer.take_over(job))
        assert_nothing_lost(killer.place)


def test_tf01_a_guest_is_not_asked_to_reboot_a_second_time_by_another_worker(killer: Killer):
    operation = OPERATIONS["compute.reboot_vm"]
    for place in ("asked", "after"):
        job = killer.start(operation)
        killer.place.double.forget_calls()
        killer.kill_at(f"compute.reboot_vm.ask.{place}", job)
        time.sleep(0.1)  # by now the double has rebooted, and would take a second request
        assert killer.take_over(job).error["code"] == "reboot_uncertain"
        assert len(killer.place.double.calls("reboot_vm")) == 1
        assert_nothing_lost(killer.place)


@pytest.mark.turns
@pytest.mark.parametrize("operation", undone_operations(), ids=name_of)
def test_tf01_what_a_killed_worker_made_is_removed_when_the_job_then_fails(killer: Killer, operation: type[Operation]):
    undoable = {step.name for step in operation.steps if step.undo is not None}
    points = [point.split(".") for point in killer.points(operation)]
    made = [
        (step, place)
        for _app, _operation, step, place in points
        if step in undoable and place not in {"before", "saved"}
    ]
    for step, place in every_other(made, killer.config):
        job = killer.start(operation)
        killer.kill_at(f"{operation.name}.{step}.{place}", job)
        killer.plant(f"{operation.name}.{step}.before", "fail")
        assert_undone(killer.take_over(job))
        assert_nothing_lost(killer.place)


@pytest.mark.parametrize("operation", undone_operations(), ids=name_of)
def test_tf02_a_worker_killed_anywhere_in_any_undo_completes_it_on_restart(killer: Killer, operation: type[Operation]):
    points = killer.points_back(operation)
    undoable = [step.name for step in operation.steps if step.undo is not None]
    assert {f"{operation.name}.{step}.{place}" for step in undoable for place in BACKWARD} <= set(points)
    for point in every_other(points, killer.config):
        job = killer.start(operation)
        killer.plant(f"{operation.name}.on_finished", "fail")
        killer.kill_at(point, job)
        assert_undone(killer.take_over(job))
        assert_nothing_lost(killer.place)


@pytest.mark.turns
@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_tf01_a_worker_killed_at_the_very_end_ends_the_job_once(killer: Killer, operation: type[Operation]):
    job = killer.start(operation)
    killer.kill_at(f"{operation.name}.on_finished", job)
    assert_nothing_lost(killer.place, waiting=[job])
    assert_finished(killer.take_over(job))

    job = killer.start(operation)
    killer.plant(f"{operation.name}.{operation.steps[0].name}.before", "fail")
    killer.kill_at(f"{operation.name}.on_failed", job)
    assert_nothing_lost(killer.place, waiting=[job])
    assert killer.take_over(job).status == JobStatus.FAILED
    assert_nothing_lost(killer.place)


# That each step alone can be done twice, TF01 has shown for every operation.
@pytest.mark.parametrize("operation", [OPERATIONS["compute.create_vm"], OPERATIONS["compute.delete_vm"]], ids=name_of)
def test_tf03_every_step_twice_ends_as_once(killer: Killer, operation: type[Operation]):
    job = killer.start(operation)
    for step in operation.steps:
        killer.kill_at(f"{operation.name}.{step.name}.after", job)
        hurry(job)

    assert_finished(killer.take_over(job))

    assert {step.attempts for step in job.steps.all()} == {2}
    assert_nothing_lost(killer.place)


@pytest.mark.turns
@pytest.mark.parametrize("operation", undone_operations(), ids=name_of)
def test_tf03_every_step_and_every_undo_twice_ends_as_once(killer: Killer, operation: type[Operation]):
    job = killer.start(operation)
    for step in operation.steps:
        killer.kill_at(f"{operation.name}.{step.name}.after", job)
        hurry(job)
    killer.plant(f"{operation.name}.on_finished", "fail")
    for step in reversed(operation.steps):
        if step.undo is not None:
            killer.kill_at(f"{operation.name}.{step.name}.undo_after", job)
            hurry(job)

    assert_undone(killer.take_over(job))

    assert {step.undo_attempts for step in job.steps.all()} <= {0, 2}
    assert_nothing_lost(killer.place)


@pytest.mark.turns
@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_tf04_five_deliveries_in_parallel_have_one_executor(killer: Killer, operation: type[Operation]):
    alone = killer.changes(lambda job: killer.workers.run(job.uid), operation)

    def together(job: Job) -> None:
        pids = [killer.workers.spawn(job.uid) for _ in range(5)]
        assert [killer.workers.wait(pid) for pid in pids] == [0] * 5

    assert killer.changes(together, operation) == alone
    assert_nothing_lost(killer.place)


def lease(job: Job) -> datetime:
    """Until when its worker has it, which each beat of the worker's heart puts off."""
    until = Job.objects.values_list("lease_until", flat=True).get(uid=job.uid)
    assert until is not None
    return until


def test_tf04_tf05_a_delivery_in_the_midst_and_one_after_the_end_change_nothing(killer: Killer):
    double = killer.place.double
    double.fail("create_disk", Fault.HANG)
    job = killer.start(OPERATIONS["compute.create_vm"])
    slow = killer.workers.spawn(job.uid, heartbeat=0.3)
    until(lambda: bool(double.calls("create_disk")))

    for _ in range(3):
        before = lease(job)
        until(lambda before=before: lease(job) > before)
        assert advance(job.uid) is None
    double.heal()
    assert killer.workers.wait(slow) == 0
    job.refresh_from_db()
    assert_finished(job)
    assert len(double.calls("create_disk")) == 1

    double.forget_calls()
    for _ in range(5):
        run_job(str(job.uid))
    assert double.calls() == []
    assert_nothing_lost(killer.place)
