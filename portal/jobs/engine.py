"""Running jobs: claim one, do or undo one step, save under the fence, say when to come back.

Steps run at least once: a worker may die between a step's effect and the row that tells of it, so the same step is then
run again, or undone although it never said that it was done.
"""

from __future__ import annotations

import logging
import time
from random import SystemRandom
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Coalesce, Now

from portal.jobs.claim import Claim, LeaseLost, beating, claim_job, released, seconds_until_due
from portal.jobs.context import LONGEST_MESSAGE, JobContext, fault_name, progress_of
from portal.jobs.control import cancel_job, close_job, retry_job
from portal.jobs.ending import end_failed, finish, stick
from portal.jobs.failure import Failure, describe, error_json, log_failure, own_failure
from portal.jobs.faults import fault_point
from portal.jobs.gate import pass_gate, register_gate
from portal.jobs.models import Job, Step
from portal.jobs.operation import Act, Done, Kept, Operation, Wait, operation_named, step_named
from portal.jobs.states import JobStatus, StepStatus
from portal.jobs.undoing import not_undone

__all__ = ["advance", "cancel_job", "close_job", "register_gate", "retry_job", "run_to_end"]

log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
FIRST_LOOK_SECONDS = 0.1  # after the first look that found something not over yet
# A step that takes its worker with it (out of memory, a crash in a C library) would otherwise come round for ever.
MOST_ATTEMPTS = 50
MOST_UNDO_ATTEMPTS = 200  # more than the patience below has room for
# An undo is worth patience: giving up leaves something behind that a person must clean up. Since its last success.
UNDO_SECONDS = 3600.0
UNDO_ATTEMPTS = 3  # for errors of which trying again promises nothing
UNKNOWN_OPERATION_PAUSE = 30.0
HOOK_PAUSE = 5.0
HOOK_SECONDS = 600.0

_random = SystemRandom()


def advance(job_uid: UUID) -> float | None:
    """Do one step of a job, or undo one. Seconds until the next; None when final, stuck, not due or somebody else's."""
    claim = claim_job(job_uid)
    if claim is None:
        return None
    try:
        with beating(claim):
            return _advance(claim)
    except LeaseLost:
        log.warning("job %s was taken over while this worker was at it", job_uid)
        return None


def run_to_end(job_uid: UUID, *, timeout: float = 120.0) -> Job:
    """Run a job here and now until it is final or stuck, for commands and tests. ``TimeoutError`` after ``timeout`` s."""
    end = time.monotonic() + timeout
    while True:
        if advance(job_uid) is None and seconds_until_due(job_uid) is None:
            return Job.objects.get(uid=job_uid)
        pause = seconds_until_due(job_uid) or 0.0
        if time.monotonic() + pause >= end:
            raise TimeoutError(f"job {job_uid} has not ended within {timeout:.0f} s")
        time.sleep(pause if pause else _idle(job_uid))


def _idle(job_uid: UUID) -> float:
    """A little rest while somebody else has the job."""
    return 0.1 if Job.objects.filter(uid=job_uid, lease_until__isnull=False).exists() else 0.0


def _advance(claim: Claim) -> float | None:
    operation = _operation_of(claim.job)
    if operation is None:
        claim.save(released(UNKNOWN_OPERATION_PAUSE), step_values={})
        return UNKNOWN_OPERATION_PAUSE
    if claim.job.status == JobStatus.UNWINDING:
        return _backward(claim, operation)
    return _forward(claim, operation)


def _operation_of(job: Job) -> type[Operation] | None:
    try:
        return operation_named(job.operation)
    except KeyError:
        # In the midst of an upgrade an old worker may get a new operation: another one will know it.
        log.error("job %s: this worker knows no operation %s", job.uid, job.operation)
        return None


# --- forward


def _forward(claim: Claim, operation: type[Operation]) -> float | None:
    if claim.job.cancel_requested_at is not None:
        return _fail(claim, None, own_failure("cancelled"))
    step = claim.step_at(claim.job.position)
    if step is None:
        return _finish(claim, operation)
    if step.attempts >= MOST_ATTEMPTS and step.failing_since is None:
        return _fail(claim, step, own_failure("worker_lost"))
    return _do(claim, operation, step)


def _do(claim: Claim, operation: type[Operation], step: Step) -> float | None:
    limit = 0.0
    try:
        definition = step_named(operation, step.name)
        limit = definition.give_up_after
        if step.position == 0 or definition.destructive:
            pass_gate(claim.job)
        if not claim.begin(step):
            return _let_go(claim)
        outcome = _act(claim, step, definition.do, before="before", after="after")
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001  whatever a step raises ends or delays its job, never its worker
        return _after_error(claim, step, describe(error), limit)
    if isinstance(outcome, Wait):
        return _wait(claim, step, outcome)
    return _step_done(claim, operation, step, outcome if isinstance(outcome, Done) else Done())


def _act(claim: Claim, step: Step, act: Act, *, before: str, after: str) -> Done | Wait | Kept | None:
    fault_point(fault_name(claim.job, step, before))
    outcome = act(JobContext(claim, step))
    fault_point(fault_name(claim.job, step, after))
    return outcome


def _step_done(claim: Claim, operation: type[Operation], step: Step, done: Done) -> float | None:
    is_last = step.position + 1 >= len(claim.steps)
    status = StepStatus.SKIPPED if done.skipped else StepStatus.DONE
    claim.save(
        {"position": step.position + 1} | ({} if is_last else released()),
        step=step,
        step_values={
            "status": status,
            "progress": 100,
            "message": "",
            "output": done.output,
            "failing_since": None,
            "ended_at": Now(),
        },
    )
    fault_point(fault_name(claim.job, step, "saved"))
    if not is_last:
        return 0.0
    step.status, step.output, claim.job.position = status, done.output, step.position + 1
    return _finish(claim, operation)


def _wait(claim: Claim, step: Step, wait: Wait) -> float | None:
    since = step.started_at if wait.is_before else step.first_tried_at
    if _seconds_since(claim, since) > wait.give_up_after:
        return _fail(claim, step, own_failure("timed_out"))
    pause = wait.seconds if wait.is_before else _until_next_look(wait, _seconds_since(claim, since))
    claim.save(
        released(pause),
        step=step,
        step_values={"message": wait.message[:LONGEST_MESSAGE], "attempts": F("attempts") - 1, "failing_since": None}
        | ({"first_tried_at": None} if wait.is_before else {})
        | progress_of(wait.progress),
    )
    return pause


def _after_error(claim: Claim, step: Step, failure: Failure, limit: float) -> float | None:
    log_failure(claim.job, step.name, failure)
    if not failure.can_retry or _seconds_since(claim, step.failing_since) > limit:
        return _fail(claim, step, failure)
    pause = _pause(step.attempts)
    told: dict[str, Any] = {
        "message": failure.text[:LONGEST_MESSAGE],
        "failing_since": Coalesce("failing_since", Now()),
    }
    claim.save(released(pause), step=step, step_values=told)
    return pause


def _finish(claim: Claim, operation: type[Operation]) -> float | None:
    try:
        return None if finish(claim, operation) else _let_go(claim)
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001  likewise
        failure = describe(error)
        log_failure(claim.job, "on_finished", failure)
    if failure.can_retry and _seconds_since(claim, _last_ended_at(claim)) < HOOK_SECONDS:
        claim.save(released(HOOK_PAUSE), step_values={})
        return HOOK_PAUSE
    return _fail(claim, None, failure)


def _fail(claim: Claim, step: Step | None, failure: Failure) -> float:
    """Turn round: from the next claim on the job goes backward."""
    job, is_cancel = claim.job, failure.code == "cancelled"
    error = error_json(failure, step=step.name if step else "", request_id=job.request_id, job_uid=job.uid)
    values = released() | {"status": JobStatus.UNWINDING, "error": error, "cancelled": is_cancel}
    told: dict[str, Any] = {
        "status": StepStatus.FAILED,
        "message": failure.text[:LONGEST_MESSAGE],
        "ended_at": Now(),
    }
    claim.turn_round(values, step=step, step_values=told)
    return 0.0


def _let_go(claim: Claim) -> float:
    claim.save(released(), step_values={})
    return 0.0


# --- backward


def _backward(claim: Claim, operation: type[Operation]) -> float | None:
    found = _next_undo(claim, operation)
    if found is None:
        return _end_failed(claim, operation)
    step, undo = found
    if step.undo_attempts >= MOST_UNDO_ATTEMPTS:
        return _stick(claim, own_failure("worker_lost"), step.name)
    try:
        claim.begin_undo(step)
        outcome = _act(claim, step, undo, before="undo_before", after="undo_after")
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001  likewise
        return _after_undo_error(claim, step, describe(error))
    if isinstance(outcome, Wait):
        return _wait_for_undo(claim, step, outcome)
    return _undone(claim, step, kept=isinstance(outcome, Kept))


def _next_undo(claim: Claim, operation: type[Operation]) -> tuple[Step, Act] | None:
    found = next(not_undone(claim.job, claim.steps, operation), None)
    return (found[0], found[2]) if found else None


def _undone(claim: Claim, step: Step, *, kept: bool) -> float:
    error, told = claim.job.error, "kept" if kept else "undone"
    has_failed = error.get("step") == step.name  # its mark stays, so that people see where it went wrong
    came_to = StepStatus.DONE if kept else StepStatus.UNDONE
    claim.save(
        released() | {"error": error | {told: [*error.get(told, []), step.name]}},
        step=step,
        step_values={
            "status": StepStatus.FAILED if has_failed else came_to,
            "progress": 100 if kept and not has_failed else 0,
            "ended_at": Now(),
        }
        | ({"message": error["text"][:LONGEST_MESSAGE]} if has_failed else {"message": ""}),
    )
    fault_point(fault_name(claim.job, step, "undo_saved"))
    return 0.0


def _wait_for_undo(claim: Claim, step: Step, wait: Wait) -> float | None:
    waited = _seconds_since(claim, step.undo_first_tried_at)
    if waited > max(wait.give_up_after, UNDO_SECONDS):
        return _stick(claim, own_failure("timed_out"), step.name)
    pause = _until_next_look(wait, waited)
    values: dict[str, Any] = {
        "message": wait.message[:LONGEST_MESSAGE],
        "undo_attempts": F("undo_attempts") - 1,
        "failing_since": None,
    }
    claim.save(released(pause), step=step, step_values=values)
    return pause


def _after_undo_error(claim: Claim, step: Step, failure: Failure) -> float | None:
    log_failure(claim.job, f"{step.name} (undo)", failure)
    is_hopeless = not failure.can_retry and step.undo_attempts + 1 >= UNDO_ATTEMPTS
    if is_hopeless or _seconds_since(claim, step.failing_since) > UNDO_SECONDS:
        return _stick(claim, failure, step.name)
    pause = _pause(step.undo_attempts)
    told: dict[str, Any] = {
        "message": failure.text[:LONGEST_MESSAGE],
        "failing_since": Coalesce("failing_since", Now()),
    }
    claim.save(released(pause), step=step, step_values=told)
    return pause


def _end_failed(claim: Claim, operation: type[Operation]) -> float | None:
    try:
        end_failed(claim, operation)
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001  likewise
        failure = describe(error)
        log_failure(claim.job, "on_failed", failure)
        if not failure.can_retry:
            return _stick(claim, failure, "")
        claim.save(released(HOOK_PAUSE), step_values={})
        return HOOK_PAUSE
    return None


def _stick(claim: Claim, failure: Failure, step: str) -> float | None:
    stick(claim, code=failure.code, text=failure.text, step=step)
    return None


# --- times


def _until_next_look(wait: Wait, waited: float) -> float:
    """Soon at first, then after a third of what it has taken so far: what was quick is seen to be over quickly."""
    return min(wait.seconds, max(FIRST_LOOK_SECONDS, waited / 3))


def _pause(attempts: int) -> float:
    """1, 2, 4 ... 30 s, give or take a fifth, so that many jobs do not knock at the same moment."""
    return min(LONGEST_PAUSE, float(2 ** min(attempts, 10))) * _random.uniform(0.8, 1.2)


def _seconds_since(claim: Claim, then: Any) -> float:
    """By the database's clock, as of the claim; 0 for what has not happened yet."""
    return 0.0 if then is None else float((claim.now - then).total_seconds())


def _last_ended_at(claim: Claim) -> Any:
    return max((step.ended_at for step in claim.steps if step.ended_at), default=None)
