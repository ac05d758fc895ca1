"""Operations on an engine, through the SDK over HTTPS, whose workers are killed with -9, and the engine with them: each thing
is there once or not at all.

A run tries a share of the points at which a worker can die, another each day; with ``--full`` all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from compute.models import Vm
from compute.operations.vms import CreateVm, DeleteVm
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants.models import QuotaCharge
from tests.flows.killing import Killing
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.ovirt_place import EnginePlace
from tests.flows.patience import run_through, step_on
from tests.flows.scenarios import passed_points
from tests.jobs.conftest import hurry
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers
from tests.lab.turns import todays

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.django_db(transaction=True)]

DAYS = 3
CREATE, DELETE = CreateVm.name, DeleteVm.name
PASSED: dict[str, list[str]] = {}  # the code does not change during a run: each way is gone once


@dataclass(kw_only=True)
class Killer(Killing):
    """Has workers killed at a point, and lets others take over."""

    place: EnginePlace

    def create(self, name: str, *, failing: bool = False, **wish: bool) -> Job:
        """``failing``: when its last step is done it is undone."""
        _vm, job = self.place.create(name, **wish)
        if failing:
            self.plant(f"{CREATE}.on_finished", "fail")
        return job

    def delete(self, name: str) -> Job:
        """Of a machine that was made for it, and is off."""
        self.place.finish(self.create(name, run=False))
        return self.place.do("delete", Vm.objects.get(name=name))

    def share_of(self, way: str, start: Callable[[], Job], *, but: tuple[str, ...] = ()) -> list[str]:
        """Today's points at which a worker can die while such a job runs, but for those of its other ways."""
        if way not in PASSED:
            job = start()
            passed = passed_points(self.monkeypatch, lambda: run_through(self.place, job, later=0.5))
            steps = [name for name in passed if name.count(".") == 3]
            PASSED[way] = [name for name in steps if name not in {point for other in but for point in PASSED[other]}]
        return list(todays(PASSED[way], self.config, days=DAYS))


@pytest.fixture
def killer(
    engine_place: EnginePlace,
    plant: Plant,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> Killer:
    return Killer(place=engine_place, plant=plant, workers=workers, monkeypatch=monkeypatch, config=pytestconfig)


def test_a_worker_killed_anywhere_makes_each_thing_once_and_then_none(killer: Killer) -> None:
    points = killer.share_of("create", lambda: killer.create("first"))
    assert {"place.saved", "define.made", "start.after", "read_back.before"} <= short(PASSED["create"])
    for number, point in enumerate(points):
        job = killer.create(f"m-{number}", clone=bool(number % 2))
        killer.kill_at(point, job)
        assert killer.take_over(job).status == JobStatus.FINISHED, (point, job.error)
        assert job.target_uid in killer.place.running()
        assert_nothing_lost(killer.place)
    there = Vm.objects.count()
    points = killer.share_of("delete", lambda: killer.delete("second"))
    assert {"power_off.before", "undefine.after", "delete_disks.removed"} <= short(PASSED["delete"])
    for number, point in enumerate(points):
        job = killer.delete(f"gone-{number}")
        killer.kill_at(point, job)
        assert killer.take_over(job).status == JobStatus.FINISHED, (point, job.error)
        assert_nothing_lost(killer.place)
    assert Vm.objects.count() == there


def test_a_worker_killed_anywhere_in_an_undo_leaves_nothing(killer: Killer) -> None:
    killer.share_of("create", lambda: killer.create("first"))
    there = set(Vm.objects.values_list("pk", flat=True))
    points = killer.share_of("undo", lambda: killer.create("second", failing=True), but=("create",))
    assert {"define.stopped", "define.undo_after", "make_disks.removed"} <= short(PASSED["undo"])
    for number, point in enumerate(points):
        job = killer.create(f"m-{number}", failing=True)
        killer.kill_at(point, job)
        assert killer.take_over(job).status == JobStatus.FAILED, (point, job.error)
        assert_nothing_lost(killer.place)
    assert set(Vm.objects.values_list("pk", flat=True)) == there
    assert set(QuotaCharge.objects.filter(consumer_kind="vm").values_list("consumer_uid", flat=True)) == there


def short(points: list[str]) -> set[str]:
    """Step and place of each."""
    return {point.partition(".")[2].partition(".")[2] for point in points}


def test_tf03_every_step_and_every_undo_twice_ends_as_once(killer: Killer) -> None:
    job = killer.create("m-1")
    assert twice(killer, job).status == JobStatus.FINISHED, job.error
    vm = Vm.objects.get(pk=job.target_uid)
    assert vm.pk in killer.place.running()
    assert_nothing_lost(killer.place)
    killer.place.finish(killer.place.do("stop", vm))
    job = killer.place.do("delete", vm)
    assert twice(killer, job).status == JobStatus.FINISHED, job.error
    assert_nothing_lost(killer.place)
    job = killer.create("m-2", failing=True, clone=True)
    assert twice(killer, job, undo=True).status == JobStatus.FAILED
    assert_nothing_lost(killer.place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def twice(killer: Killer, job: Job, *, undo: bool = False) -> Job:
    """Each of its steps is done, and done again by another worker; and so is each undo."""
    names = list(job.steps.exclude(status="skipped").order_by("position").values_list("name", flat=True))
    for name in names:
        killer.kill_at(f"{job.operation}.{name}.after", job)
        hurry(job)
    undone = [step.name for step in reversed(CreateVm.steps) if undo and step.undo is not None]
    for name in undone:
        killer.kill_at(f"{job.operation}.{name}.undo_after", job)
        hurry(job)
    killer.take_over(job)
    assert {step.attempts for step in job.steps.filter(name__in=names)} == {2}
    assert {step.undo_attempts for step in job.steps.filter(name__in=undone)} <= {2}
    return job


def test_an_engine_that_is_killed_in_the_midst_and_comes_back_makes_the_machine_once(engine_place: EnginePlace) -> None:
    place = engine_place
    place.double.configure(thin_seconds=1.5)
    vm, job = place.create("m-1")
    for _ in range(4):  # as far as the engine's own work
        step_on(place, job)
    assert [step.status for step in job.steps.filter(name="define")] == ["running"]
    place.double.kill()
    for _ in range(3):
        step_on(place, job, later=1)
        assert job.status == JobStatus.STARTED
    place.double.start()
    place.finish(job)
    assert vm.pk in place.running()
    assert_nothing_lost(place)
