"""Cancelling a job, the gate, and what becomes of a job whose undo cannot succeed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from portal.common.actor import Actor
from portal.common.errors import Busy, Conflict, NotFound, NotPermitted
from portal.events.models import Event
from portal.jobs.control import cancel_job, close_job, retry_job
from portal.jobs.engine import advance
from portal.jobs.gate import register_gate, unregister_gate
from portal.jobs.models import Job, JobLock
from portal.jobs.start import Gate
from portal.jobs.states import JobStatus
from tests.jobs.conftest import Start, hurry, run
from tests.jobs.fixtures import Plant
from tests.jobs.toy import Irreversible, Toy, Waiting
from tests.jobs.world import World

pytestmark = pytest.mark.django_db


class Porter:
    """A gate that notes who is asked about what, and may be told to say no."""

    def __init__(self) -> None:
        self.asked: list[tuple[Actor, str, str, UUID]] = []
        self.is_open = True

    def __call__(self, actor: Actor, permit: str, kind: str, uid: UUID) -> None:
        self.asked.append((actor, permit, kind, uid))
        if not self.is_open:
            raise NotPermitted("You may no longer do that.")


@pytest.fixture
def porter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Porter]:
    monkeypatch.setattr("portal.jobs.gate._GATES", [])
    gate = Porter()
    register_gate(gate)
    yield gate
    unregister_gate(gate)


@pytest.fixture
def permit() -> Gate:
    return Gate("THING_MAKE", "data_center", uuid4())


# --- the gate


def test_the_gate_is_asked_before_the_first_step_with_who_asked(
    start: Start, actor: Actor, porter: Porter, permit: Gate
):
    job = start(gate=permit)
    advance(job.uid)
    advance(job.uid)

    [(asked, *what)] = porter.asked
    assert what == ["THING_MAKE", "data_center", permit.uid]
    assert (asked.uid, asked.name, asked.is_system) == (actor.uid, "alice", False)


def test_who_lost_the_permit_gets_nothing_made(start: Start, world: World, porter: Porter, permit: Gate):
    porter.is_open = False

    job = run(start(gate=permit))

    assert job.status == JobStatus.FAILED
    assert (job.error["code"], job.error["text"]) == ("not_permitted", "You may no longer do that.")
    assert world.journal() == ["failed"]
    assert not JobLock.objects.exists()


def test_the_gate_is_asked_again_before_a_destructive_step_and_never_before_an_undo(
    start: Start, world: World, porter: Porter, permit: Gate
):
    job = start(Irreversible, gate=permit)
    advance(job.uid)
    porter.is_open = False

    run(job)

    assert job.status == JobStatus.FAILED
    assert world.journal() == ["made mark", "removed mark"]
    assert len(porter.asked) == 2


def test_a_permit_without_a_gate_to_ask_fails_closed(
    start: Start, world: World, permit: Gate, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("portal.jobs.gate._GATES", [])

    assert run(start(gate=permit)).status == JobStatus.FAILED
    assert world.journal() == ["failed"]


# --- cancel


def test_a_job_cancelled_before_it_starts_does_nothing(start: Start, world: World):
    job = start()
    cancel_job(job.uid)

    assert run(job).status == JobStatus.ABORTED
    assert [step.status for step in job.steps.all()] == ["skipped"] * 3
    assert world.things() == []
    assert not JobLock.objects.exists()


def test_a_cancelled_job_undoes_what_it_did(start: Start, world: World):
    job = start(Waiting)
    advance(job.uid)
    advance(job.uid)
    cancel_job(job.uid)

    assert advance(job.uid) == 0, "a cancel does not wait for the pause to end"
    run(job)

    assert job.status == JobStatus.ABORTED
    assert (job.error["code"], job.error["undone"]) == ("cancelled", ["disk"])
    assert world.things() == []


def test_a_cancel_during_the_last_step_still_counts(start: Start, world: World, monkeypatch: pytest.MonkeyPatch):
    job, make = start(), World.make

    def cancelled_while_making(self: World, name: str) -> None:
        if name == "vm":
            cancel_job(job.uid)
        make(self, name)

    monkeypatch.setattr(World, "make", cancelled_while_making)

    assert run(job).status == JobStatus.ABORTED
    assert world.things() == []


def test_a_cancelled_jobs_event_says_so(start: Start):
    job = start()
    cancel_job(job.uid)
    run(job)

    event = Event.objects.get()
    assert (event.code, event.severity, event.data["code"]) == ("TOY_MAKE_FAILED", "normal", "cancelled")


def test_past_the_point_of_no_return_nothing_is_cancelled(start: Start, world: World):
    job = start(Irreversible)
    advance(job.uid)
    advance(job.uid)

    with pytest.raises(Conflict) as refused:
        cancel_job(job.uid)
    assert refused.value.data["job"]["id"] == str(job.uid)
    assert run(job).status == JobStatus.FINISHED


def test_just_before_the_point_of_no_return_it_is(start: Start, world: World):
    job = start(Irreversible)
    advance(job.uid)
    cancel_job(job.uid)

    assert run(job).status == JobStatus.ABORTED
    assert world.journal() == ["made mark", "removed mark"]


def test_a_job_that_has_ended_or_never_was_cannot_be_cancelled(start: Start):
    job = run(start())
    with pytest.raises(Conflict):
        cancel_job(job.uid)
    with pytest.raises(NotFound):
        cancel_job(uuid4())


# --- stuck


@pytest.fixture
def stuck(start: Start, plant: Plant) -> Job:
    plant("toy.make.vm.before", "fail")
    job = start()
    while job.status != JobStatus.UNWINDING:
        advance(job.uid)
        job.refresh_from_db()
    for _attempt in range(3):
        plant("toy.make.nic.undo_before", "fail")
        hurry(job)
        while job.status == JobStatus.UNWINDING and advance(job.uid) == 0:
            job.refresh_from_db()
    job.refresh_from_db()
    return job


def test_an_undo_that_cannot_succeed_leaves_the_job_stuck_with_its_locks(stuck: Job, start: Start, world: World):
    assert stuck.status == JobStatus.STUCK
    assert stuck.error["stuck"] == {"code": "planted", "text": "A planted fault.", "step": "nic"}
    assert stuck.error["undone"] == ["vm"]
    assert advance(stuck.uid) is None
    with pytest.raises(Busy):
        start(target=stuck.target_uid)
    event = Event.objects.get()
    assert (event.code, event.severity, event.correlation_id) == ("JOB_STUCK", "alert", stuck.uid)


def test_a_stuck_job_retried_undoes_the_rest(stuck: Job, world: World):
    retry_job(stuck.uid)

    assert run(stuck).status == JobStatus.FAILED
    assert world.things() == []
    assert stuck.error["undone"] == ["vm", "nic", "disk"]
    assert "stuck" not in stuck.error
    assert not JobLock.objects.exists()


def test_a_stuck_job_closed_releases_its_locks_and_says_why(stuck: Job, actor: Actor, world: World):
    close_job(actor, stuck.uid, reason="Removed by hand.")

    stuck.refresh_from_db()
    assert (stuck.status, stuck.closed_reason) == (JobStatus.CLOSED, "Removed by hand.")
    assert not JobLock.objects.exists()
    assert world.journal()[-1] == "failed"
    assert Event.objects.filter(code="TOY_MAKE_FAILED").count() == 1


def test_only_a_stuck_job_can_be_retried_or_closed(start: Start, actor: Actor):
    job = start()
    with pytest.raises(Conflict):
        retry_job(job.uid)
    with pytest.raises(Conflict):
        close_job(actor, job.uid, reason="because")


def test_a_failure_hook_that_cannot_succeed_sticks_and_can_still_be_closed(
    start: Start, actor: Actor, plant: Plant, monkeypatch: pytest.MonkeyPatch
):
    def explodes(_context: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Toy, "on_failed", staticmethod(explodes))
    plant("toy.make.vm.before", "fail")

    job = run(start())
    assert job.status == JobStatus.STUCK
    close_job(actor, job.uid, reason="a bug")
    assert not JobLock.objects.exists()


def test_an_undo_whose_hypervisor_is_away_is_tried_for_long(start: Start, world: World, plant: Plant):
    plant("toy.make.vm.before", "fail")
    plant("toy.make.disk.undo_before", "retry:100")

    assert run(start()).status == JobStatus.FAILED
    assert world.things() == []


# --- the patience of an undo


def test_an_undo_that_waited_for_hours_is_not_stuck_at_its_first_error(start: Start, plant: Plant):
    """The hour counts since the last time that it went well, not since it was first tried."""
    plant("toy.make.disk.made", "fail")
    plant("toy.make.disk.undo_before", "retry:2")
    job, hours = start(), timezone.now() - timedelta(hours=3)
    advance(job.uid)
    job.steps.filter(name="disk").update(undo_first_tried_at=hours)
    hurry(job)
    advance(job.uid)
    job.refresh_from_db()
    assert job.status == JobStatus.UNWINDING
    job.steps.filter(name="disk").update(failing_since=hours)
    hurry(job)
    advance(job.uid)
    job.refresh_from_db()
    assert job.status == JobStatus.STUCK


def test_what_a_step_suffered_before_it_failed_does_not_count_against_its_undo(start: Start, plant: Plant):
    plant("toy.make.disk.made", "fail")
    plant("toy.make.disk.undo_before", "retry:1")
    job = start()
    advance(job.uid)
    job.steps.filter(name="disk").update(failing_since=timezone.now() - timedelta(hours=3))
    assert run(job).status == JobStatus.FAILED
