"""Making a job final: in one transaction its hook runs, its locks go, and the audit log says how it ended."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from portal.common.actor import Actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.jobs.claim import RELEASED, Claim
from portal.jobs.context import JobContext, actor_of_job
from portal.jobs.faults import fault_point
from portal.jobs.feed import announce
from portal.jobs.models import Job, JobLock
from portal.jobs.operation import Operation
from portal.jobs.states import JobStatus


def finish(claim: Claim, operation: type[Operation]) -> bool:
    """All steps are done. False when the job was cancelled meanwhile."""
    values = RELEASED | {"status": JobStatus.FINISHED, "position": len(claim.steps), "ended_at": Now(), "error": {}}
    with transaction.atomic():
        if not claim.change(values, only_if=Q(cancel_requested_at__isnull=True)):
            return False
        fault_point(f"{claim.job.operation}.on_finished")
        if operation.on_finished is not None:
            operation.on_finished(JobContext(claim))
        _settle(claim.job, actor_of_job(claim.job), outcome=Outcome.DONE)
    return True


def end_failed(claim: Claim, operation: type[Operation] | None) -> None:
    """Everything is undone."""
    status = JobStatus.ABORTED if claim.job.cancelled else JobStatus.FAILED
    with transaction.atomic():
        claim.change(RELEASED | {"status": status, "position": 0, "ended_at": Now()})
        fault_point(f"{claim.job.operation}.on_failed")
        if operation is not None and operation.on_failed is not None:
            operation.on_failed(JobContext(claim))
        _settle(claim.job, actor_of_job(claim.job), outcome=Outcome.FAILED)


def stick(claim: Claim, *, code: str, text: str, step: str) -> None:
    """An undo cannot succeed: the job keeps its locks until an administrator retries or closes it."""
    job = claim.job
    error = job.error | {"stuck": {"code": code, "text": text, "step": step}}
    with transaction.atomic():
        claim.change(RELEASED | {"status": JobStatus.STUCK, "error": error})
        record(
            actor_of_job(job),
            "JOB_STUCK",
            outcome=Outcome.NOTED,
            subject=_subject(job),
            correlation_id=job.uid,
            severity=Severity.ALERT,
            message=text,
            data={"operation": job.operation, "code": code, "step": step},
        )
        announce(job)


def settle_closed(job: Job, actor: Actor) -> None:
    """The end of a stuck job that an administrator closed; in the caller's transaction."""
    _settle(job, actor, outcome=Outcome.FAILED)


def _settle(job: Job, actor: Actor, *, outcome: Outcome) -> None:
    JobLock.objects.filter(job=job).delete()
    if job.audit_verb:
        _record_outcome(job, actor, outcome)
    announce(job)


def _record_outcome(job: Job, actor: Actor, outcome: Outcome) -> None:
    error: dict[str, Any] = job.error if outcome is Outcome.FAILED else {}
    wanted = outcome is Outcome.DONE or job.cancelled
    record(
        actor,
        job.audit_verb,
        outcome=outcome,
        subject=_subject(job),
        correlation_id=job.uid,
        severity=Severity.NORMAL if wanted else Severity.ERROR,
        message=str(error.get("text", "")),
        data={key: error[key] for key in ("code", "step", "reasons") if key in error},
    )


def _subject(job: Job) -> Subject:
    return Subject(job.target_kind, job.target_uid, job.target_name, job.data_center_uid)
