"""A job runs its steps in order and ends; on failure it is undone in reverse order and says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from portal.events.models import Event
from portal.jobs.engine import advance, run_to_end
from portal.jobs.models import Job, JobLock
from portal.jobs.operation import StepFailed
from portal.jobs.states import JobStatus, StepStatus
from tests.jobs.conftest import Start, hurry, run
from tests.jobs.fixtures import Plant
from tests.jobs.toy import Toy, Waiting
from tests.jobs.world import World

pytestmark = pytest.mark.django_db


def statuses(job: Job) -> list[str]:
    return [str(step.status) for step in job.steps.all()]


def test_a_job_runs_its_steps_in_order_and_finishes(start: Start, world: World):
    job = run_to_end(start().uid)

    assert job.status == JobStatus.FINISHED
    assert statuses(job) == ["done", "done", "done"]
    assert world.journal() == ["made disk", "made nic", "made vm", "finished"]
    assert job.started_at is not None
    assert job.ended_at is not None
    assert (job.error, job.lease_until, job.not_before) == ({}, None, None)
    assert [step.progress for step in job.steps.all()] == [100, 100, 100]
    assert [step.attempts for step in job.steps.all()] == [1, 1, 1]
    assert not JobLock.objects.exists()


def test_each_advance_does_one_step(start: Start, world: World):
    job = start()

    assert advance(job.uid) == 0
    assert world.things() == ["disk"]
    assert advance(job.uid) == 0
    assert world.things() == ["disk", "nic"]
    assert advance(job.uid) is None
    assert advance(job.uid) is None
    assert world.journal() == ["made disk", "made nic", "made vm", "finished"]


def test_the_end_is_audited_once_with_the_job_as_correlation(start: Start):
    job = run_to_end(start().uid)

    event = Event.objects.get()
    assert (event.code, event.outcome, event.correlation_id) == ("TOY_MAKE_DONE", "done", job.uid)
    assert (event.actor_uid, event.actor_name, event.door) == (job.actor_uid, "alice", "job")
    assert (event.request_id, event.client_address, event.object_name) == ("request-1", "192.0.2.7", "a thing")


def test_a_failed_step_undoes_what_was_made_in_reverse_order(start: Start, world: World, plant: Plant):
    plant("toy.make.vm.made", "fail")

    job = run(start())

    assert job.status == JobStatus.FAILED
    assert statuses(job) == ["undone", "undone", "failed"]
    made = ["made disk", "made nic", "made vm"]
    assert world.journal() == [*made, "removed vm", "removed nic", "removed disk", "failed"]
    assert job.error == {
        "code": "planted",
        "text": "A planted fault.",
        "step": "vm",
        "request_id": "request-1",
        "undone": ["vm", "nic", "disk"],
    }
    assert not JobLock.objects.exists()
    event = Event.objects.get()
    assert (event.code, event.severity, event.message) == ("TOY_MAKE_FAILED", "error", "A planted fault.")


def test_steps_after_the_failed_one_are_skipped(start: Start, world: World, plant: Plant):
    plant("toy.make.nic.before", "fail")

    job = run(start())

    assert statuses(job) == ["undone", "failed", "skipped"]
    assert "made nic" not in world.journal()


def test_an_error_that_may_pass_is_tried_again_with_growing_pauses(start: Start, world: World, plant: Plant):
    plant("toy.make.disk.before", "retry:4")
    job, pauses = start(), []
    for _ in range(4):
        hurry(job)
        pauses.append(advance(job.uid) or 0.0)

    assert [round(pause / base, 1) for pause, base in zip(pauses, (1, 2, 4, 8), strict=True)] == pytest.approx(
        [1, 1, 1, 1], abs=0.21
    )
    step = job.steps.get(name="disk")
    assert (step.status, step.message, step.attempts) == (StepStatus.RUNNING, "A planted fault; it passes.", 4)
    assert run(job).status == JobStatus.FINISHED
    assert job.steps.get(name="disk").attempts == 5


def test_a_hypervisor_that_is_away_for_long_is_not_taken_for_a_lost_worker(start: Start, plant: Plant):
    plant("toy.make.disk.before", "retry:60")

    assert run(start()).status == JobStatus.FINISHED


def test_retrying_ends_after_the_steps_own_time(start: Start, plant: Plant):
    plant("toy.make.disk.before", "retry:1000")
    job = start()
    advance(job.uid)
    job.steps.filter(name="disk").update(failing_since=timezone.now() - timedelta(seconds=121))

    assert run(job, most=4).status == JobStatus.FAILED
    assert job.error["code"] == "planted"


def test_what_is_waited_for_is_looked_at_soon_and_then_after_a_third_of_the_time_it_has_taken(start: Start):
    job = start(Waiting)
    advance(job.uid)

    assert advance(job.uid) == 0.1
    job.steps.filter(name="wait").update(first_tried_at=timezone.now() - timedelta(seconds=3))
    assert advance(job.uid) == pytest.approx(1, abs=0.3)


def test_a_step_that_waits_holds_no_worker_and_is_looked_at_again(start: Start, world: World):
    job = start(Waiting)
    advance(job.uid)
    advance(job.uid)
    job.steps.filter(name="wait").update(first_tried_at=timezone.now() - timedelta(minutes=1))

    assert advance(job.uid) == 2
    assert advance(job.uid) is None, "before its time nobody looks"
    job.refresh_from_db()
    step = job.steps.get(name="wait")
    assert (step.status, step.message, step.progress) == (StepStatus.RUNNING, "Waiting for the word.", 40)
    assert job.lease_until is None

    (world.folder / "go").touch()
    assert run(job).status == JobStatus.FINISHED
    assert job.steps.get(name="wait").attempts == 1
    assert world.journal() == ["made disk", "saw disk"]


def test_waiting_ends_after_its_own_time(start: Start, world: World):
    job = start(Waiting)
    advance(job.uid)
    advance(job.uid)
    job.steps.filter(name="wait").update(first_tried_at=timezone.now() - timedelta(seconds=601))

    assert run(job, most=5).status == JobStatus.FAILED
    assert (job.error["code"], job.error["step"]) == ("timed_out", "wait")
    assert world.things() == []


def test_an_unforeseen_error_tells_users_nothing_and_the_log_everything(
    start: Start, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def explodes(self: World, name: str) -> None:
        raise ValueError("password=hunter2 on host 10.0.0.1")

    monkeypatch.setattr(World, "make", explodes)

    job = run(start())

    assert job.status == JobStatus.FAILED
    assert job.error["code"] == "internal_error"
    assert "hunter2" not in str(job.error) + str(list(job.steps.values("message", "output")))
    assert "hunter2" not in str(list(Event.objects.values()))
    assert "hunter2" in caplog.text


class DriverError(Exception):
    """As drivers raise them: known to the engine by their attributes alone."""

    public, detail, code, can_retry = "The hypervisor is full.", "pool /secret/path", "hypervisor_no_capacity", False


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DriverError(), "hypervisor_no_capacity", "The hypervisor is full."),
        (StepFailed("No address is free.", code="no_address", detail="x"), "no_address", "No address is free."),
    ],
)
def test_errors_carry_their_public_sentence_and_code(
    start: Start, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, text: str
):
    def refuses(self: World, name: str) -> None:
        raise error

    monkeypatch.setattr(World, "make", refuses)

    job = run(start())

    assert (job.error["code"], job.error["text"]) == (code, text)
    assert "secret" not in str(job.error)


@pytest.mark.parametrize("hook", ["on_finished", "on_failed"])
def test_a_hook_that_meets_a_busy_database_is_tried_again(start: Start, world: World, plant: Plant, hook: str):
    plant(f"toy.make.{hook}", "retry:2")
    if hook == "on_failed":
        plant("toy.make.vm.before", "fail")

    job = run(start())

    assert job.status == (JobStatus.FAILED if hook == "on_failed" else JobStatus.FINISHED)
    assert world.journal()[-1] == ("failed" if hook == "on_failed" else "finished")
    assert Event.objects.count() == 1


def test_a_failing_finish_hook_undoes_the_job(start: Start, world: World, plant: Plant):
    plant("toy.make.on_finished", "fail")

    job = run(start())

    assert job.status == JobStatus.FAILED
    assert world.things() == []


def test_a_step_during_which_workers_die_again_and_again_fails(start: Start):
    job = start()
    job.steps.filter(name="disk").update(attempts=50)

    assert run(job).status == JobStatus.FAILED
    assert job.error["code"] == "worker_lost"


def test_a_worker_that_does_not_know_the_operation_leaves_it_to_another(start: Start, world: World):
    job = start()
    Job.objects.filter(uid=job.uid).update(operation="toy.of_the_next_version")

    assert advance(job.uid) == 30
    job.refresh_from_db()
    assert (job.status, job.lease_until) == (JobStatus.QUEUED, None)
    Job.objects.filter(uid=job.uid).update(operation=Toy.name)
    assert run(job).status == JobStatus.FINISHED


def test_a_database_error_in_a_step_is_tried_again(start: Start, monkeypatch: pytest.MonkeyPatch):
    failures: list[Any] = [OperationalError("database is locked")]
    make = World.make

    def locked_once(self: World, name: str) -> None:
        if failures:
            raise failures.pop()
        make(self, name)

    monkeypatch.setattr(World, "make", locked_once)

    assert run(start()).status == JobStatus.FINISHED


def test_run_to_end_gives_up_after_its_time(start: Start):
    with pytest.raises(TimeoutError):
        run_to_end(start(Waiting).uid, timeout=1)
