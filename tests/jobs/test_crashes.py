"""Workers killed with -9 at every place, messages that come too often or too late: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from portal.events.models import Event
from portal.jobs import claim as claims
from portal.jobs.claim import LeaseLost, claim_job, released
from portal.jobs.context import JobContext
from portal.jobs.engine import advance
from portal.jobs.models import Job, JobLock
from portal.jobs.states import JobStatus
from portal.jobs.tasks import run_job, sweep
from tests.jobs.conftest import Start, hurry, run
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers
from tests.jobs.world import World

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

STEPS = ("disk", "nic", "vm")
MADE = ["made disk", "made nic", "made vm"]
REMOVED = ["removed vm", "removed nic", "removed disk"]


@pytest.fixture
def recover(workers: Workers) -> Callable[[Job], Job]:
    """What happens after a kill: the lease runs out (the clock is not waited for) and another worker takes over."""

    def recovers(job: Job) -> Job:
        job.refresh_from_db()
        assert job.lease_until is not None, "a killed worker leaves its lease behind"
        hurry(job)
        assert workers.run(job.uid) == 0
        job.refresh_from_db()
        return job

    return recovers


def assert_whole(job: Job, world: World) -> None:
    """Everything made once, nothing removed, one outcome, no lock left."""
    assert job.status == JobStatus.FINISHED
    assert world.things() == ["disk", "nic", "vm"]
    assert world.journal() == [*MADE, "finished"]
    assert not JobLock.objects.exists()
    assert list(Event.objects.values_list("code", flat=True)) == ["TOY_MAKE_DONE"]


def assert_gone(job: Job, world: World) -> None:
    """Everything made was removed, once; one outcome, no lock left."""
    assert job.status == JobStatus.FAILED
    assert world.things() == []
    journal = world.journal()
    assert [line for line in journal if line.startswith("made")] == MADE
    assert [line for line in journal if line.startswith("removed")] == REMOVED
    assert job.error["undone"] == ["vm", "nic", "disk"]
    assert not JobLock.objects.exists()
    assert list(Event.objects.values_list("code", flat=True)) == ["TOY_MAKE_FAILED"]


@pytest.mark.parametrize("place", ["before", "made", "after", "saved"])
@pytest.mark.parametrize("step", STEPS)
def test_tf01_a_worker_killed_at_a_step_loses_nothing_and_makes_nothing_twice(
    start: Start, world: World, plant: Plant, workers: Workers, recover: Callable[[Job], Job], step: str, place: str
):
    plant(f"toy.make.{step}.{place}", "kill")
    job = start()

    assert workers.run(job.uid) == -signal.SIGKILL
    if (step, place) in {("disk", "saved"), ("nic", "saved")}:
        # Between two steps nobody holds a lease: the sweep finds the job by its age alone.
        assert workers.run(job.uid) == 0
        job.refresh_from_db()
    else:
        recover(job)

    assert_whole(job, world)


@pytest.mark.parametrize("step", STEPS)
def test_tf01_a_worker_killed_at_a_step_whose_job_then_fails_leaves_nothing_behind(
    start: Start, world: World, plant: Plant, workers: Workers, recover: Callable[[Job], Job], step: str
):
    plant(f"toy.make.{step}.made", "kill")
    job = start()
    assert workers.run(job.uid) == -signal.SIGKILL
    plant("toy.make.vm.after", "fail")

    assert_gone(recover(job), world)


@pytest.mark.parametrize("place", ["undo_before", "removed", "undo_after", "undo_saved"])
@pytest.mark.parametrize("step", STEPS)
def test_tf02_a_worker_killed_at_an_undo_completes_it_on_restart(
    start: Start, world: World, plant: Plant, workers: Workers, step: str, place: str
):
    plant("toy.make.vm.after", "fail")
    plant(f"toy.make.{step}.{place}", "kill")
    job = start()

    assert workers.run(job.uid) == -signal.SIGKILL
    hurry(job)
    assert workers.run(job.uid) == 0
    job.refresh_from_db()

    assert_gone(job, world)


@pytest.mark.parametrize("hook", ["on_finished", "on_failed"])
def test_tf01_a_worker_killed_at_the_end_ends_the_job_once(
    start: Start, world: World, plant: Plant, workers: Workers, recover: Callable[[Job], Job], hook: str
):
    plant(f"toy.make.{hook}", "kill")
    if hook == "on_failed":
        plant("toy.make.vm.after", "fail")
    job = start()

    assert workers.run(job.uid) == -signal.SIGKILL
    assert JobLock.objects.count() == 1, "the job is not final yet"
    recover(job)

    (assert_gone if hook == "on_failed" else assert_whole)(job, world)


def test_tf03_every_step_twice_ends_as_once(start: Start, world: World, plant: Plant, workers: Workers):
    for step in STEPS:
        plant(f"toy.make.{step}.after", "kill")
    job = start()

    codes = [_run_past_lease(workers, job) for _ in range(4)]

    assert codes == [-signal.SIGKILL] * 3 + [0]
    job.refresh_from_db()
    assert [step.attempts for step in job.steps.all()] == [2, 2, 2]
    assert_whole(job, world)


def test_tf03_every_step_and_every_undo_twice_ends_as_once(start: Start, world: World, plant: Plant, workers: Workers):
    for step in STEPS:
        plant(f"toy.make.{step}.after", "kill")
        plant(f"toy.make.{step}.undo_after", "kill")
    plant("toy.make.on_finished", "fail")
    job = start()

    codes = [_run_past_lease(workers, job) for _ in range(7)]

    assert codes == [-signal.SIGKILL] * 6 + [0]
    job.refresh_from_db()
    assert [(step.attempts, step.undo_attempts) for step in job.steps.all()] == [(2, 2)] * 3
    assert_gone(job, world)


def test_tf04_five_deliveries_at_once_have_one_executor(start: Start, world: World, workers: Workers):
    for _round in range(4):
        job = start()
        world.forget()
        pids = [workers.spawn(job.uid) for _ in range(5)]
        assert [workers.wait(pid) for pid in pids] == [0] * 5
        job.refresh_from_db()
        assert job.status == JobStatus.FINISHED
        assert world.calls() == ["do disk", "do nic", "do vm"]
        assert [step.attempts for step in job.steps.all()] == [1, 1, 1]
    assert Event.objects.count() == 4


def test_tf04_a_delivery_after_the_end_changes_nothing(start: Start, world: World):
    job = run(start())
    before = Job.objects.values().get()

    for _ in range(5):
        run_job(str(job.uid))

    assert Job.objects.values().get() == before
    assert world.journal() == [*MADE, "finished"]


def test_tf05_a_step_longer_than_its_lease_keeps_it_and_a_redelivery_changes_nothing(
    start: Start, world: World, plant: Plant, workers: Workers, tmp_path: Path
):
    """Each beat of its heart renews the lease for as long again, however long the step lasts."""
    goes_on = tmp_path / "goes-on"
    plant("toy.make.disk.made", f"hold:{goes_on}")
    job = start()
    slow = workers.spawn(job.uid, heartbeat=0.3)
    _until(lambda: world.things() == ["disk"])

    for _ in range(3):
        before = _lease(job)
        _until(lambda before=before: _lease(job) > before)
        assert advance(job.uid) is None
    goes_on.touch()
    assert workers.wait(slow) == 0

    job.refresh_from_db()
    assert world.calls() == ["do disk", "do nic", "do vm"]
    assert_whole(job, world)


def test_tf05_a_worker_frozen_past_its_lease_is_fenced_off(start: Start, world: World, plant: Plant, workers: Workers):
    plant("toy.make.disk.made", "stop")
    job = start()
    frozen = workers.spawn(job.uid)
    _until(lambda: Path(f"/proc/{frozen}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    assert world.things() == ["disk"]
    try:
        hurry(job)
        assert workers.run(job.uid) == 0
        before = Job.objects.values().get()
    finally:
        os.kill(frozen, signal.SIGCONT)

    assert workers.wait(frozen) == 0
    assert Job.objects.values().get() == before
    job.refresh_from_db()
    assert_whole(job, world)


def test_a_worker_that_lost_its_lease_can_save_nothing(start: Start):
    job = start()
    slow = claim_job(job.uid)
    assert slow is not None
    assert claim_job(job.uid) is None, "the lease holds"
    hurry(job)
    assert claim_job(job.uid) is not None
    before = Job.objects.values().get()

    step = slow.steps[0]
    with pytest.raises(LeaseLost):
        slow.save(released(), step=step, step_values={"status": "done"})
    with pytest.raises(LeaseLost):
        slow.begin(step)
    with pytest.raises(LeaseLost):
        JobContext(slow, step).report("half way", progress=50)
    claims._renew(job.uid, slow.job.fence)

    assert Job.objects.values().get() == before
    assert set(job.steps.values_list("status", "message", "progress")) == {("pending", "", 0)}


def test_tf09_a_request_killed_between_its_commit_and_its_message_is_swept_up(
    world: World, plant: Plant, workers: Workers
):
    plant("toy.make.publish", "kill")

    assert workers.call("tests.jobs.toy:start_toy", world=str(world.folder)) == -signal.SIGKILL

    job = Job.objects.get()
    assert job.status == JobStatus.QUEUED
    assert sweep() == 0, "it may only just have been sent"
    _grow_old(job)
    assert sweep() == 1
    assert workers.run(job.uid) == 0
    job.refresh_from_db()
    assert_whole(job, world)


def test_tf09_a_worker_killed_between_an_effect_and_its_row_takes_what_is_there(
    start: Start, world: World, plant: Plant, workers: Workers, recover: Callable[[Job], Job]
):
    plant("toy.make.vm.made", "kill")
    job = start()

    assert workers.run(job.uid) == -signal.SIGKILL
    assert world.things() == ["disk", "nic", "vm"]
    assert job.steps.get(name="vm").output == {}
    recover(job)

    assert job.steps.get(name="vm").output == {"thing": "vm"}
    assert_whole(job, world)


def test_the_sweep_leaves_alone_what_is_held_waits_or_has_ended(start: Start, plant: Plant):
    held, waiting, ended, lost = start(), start(), run(start()), start()
    assert claim_job(held.uid) is not None
    for job in (held, waiting, ended, lost):
        _grow_old(job)
    Job.objects.filter(uid=waiting.uid).update(not_before=F("created_at") + timedelta(hours=1))

    assert claims.overdue(5) == [lost.uid]


def test_a_killed_workers_job_is_resumed_within_a_minute(settings: Any):
    """The lease runs out, a sweep comes by: both by the clock."""
    assert claims.LEASE_SECONDS + 2 * settings.JOBS_SWEEP_SECONDS < 60
    assert claims.HEARTBEAT_SECONDS * 2 < claims.LEASE_SECONDS


def _run_past_lease(workers: Workers, job: Job) -> int:
    hurry(job)
    return workers.run(job.uid)


def _grow_old(job: Job) -> None:
    Job.objects.filter(uid=job.uid).update(changed_at=F("changed_at") - timedelta(minutes=1))


def _lease(job: Job) -> datetime:
    """Until when its worker has it."""
    until = Job.objects.values_list("lease_until", flat=True).get(uid=job.uid)
    assert until is not None
    return until


def _until(is_so: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)
