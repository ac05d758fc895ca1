"""What people may do to a job from outside: cancel it, and retry or close a stuck one. Who may is the services' matter."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Conflict, NotFound
from portal.jobs.claim import RELEASED, Claim
from portal.jobs.context import JobContext
from portal.jobs.ending import settle_closed
from portal.jobs.feed import announce
from portal.jobs.models import Job, Step
from portal.jobs.operation import operation_named
from portal.jobs.publish import send_on_commit
from portal.jobs.states import JobStatus, StepStatus

log = logging.getLogger(__name__)

FORWARD = frozenset({JobStatus.QUEUED, JobStatus.STARTED})


def cancel_job(job_uid: UUID) -> Job:
    """Ask a job to stop and undo what it did. ``Conflict`` past its point of no return, or when it has ended."""
    with transaction.atomic():
        job = _locked(job_uid)
        if job.status not in FORWARD:
            raise Conflict(_("The job has already ended or is being undone."), data=_named(job))
        if _is_past_no_return(job):
            raise Conflict(_("The job can no longer be cancelled: wait until it has ended."), data=_named(job))
        if job.cancel_requested_at is None:
            Job.objects.filter(uid=job.uid).update(cancel_requested_at=Now(), not_before=None, changed_at=Now())
        announce(job)
        send_on_commit(job.uid, operation=job.operation)
    job.refresh_from_db()
    return job


def retry_job(job_uid: UUID) -> Job:
    """Try the undo of a stuck job again. ``Conflict`` when it is not stuck."""
    with transaction.atomic():
        job = _locked(job_uid, status=JobStatus.STUCK)
        error = {key: value for key, value in job.error.items() if key != "stuck"}
        Job.objects.filter(uid=job.uid).update(**RELEASED, status=JobStatus.UNWINDING, error=error, changed_at=Now())
        Step.objects.filter(job=job).update(undo_attempts=0, undo_first_tried_at=None)
        announce(job)
        send_on_commit(job.uid, operation=job.operation)
    job.refresh_from_db()
    return job


def close_job(actor: Actor, job_uid: UUID, *, reason: str) -> Job:
    """End a stuck job whose leftovers a person has seen to: its failure hook runs and its locks go."""
    with transaction.atomic():
        job = _locked(job_uid, status=JobStatus.STUCK)
        Job.objects.filter(uid=job.uid).update(
            status=JobStatus.CLOSED, closed_reason=reason[:300], ended_at=Now(), changed_at=Now()
        )
        _run_failure_hook(job)
        settle_closed(job, actor)
    job.refresh_from_db()
    return job


def _run_failure_hook(job: Job) -> None:
    try:
        hook = operation_named(job.operation).on_failed
        with transaction.atomic():
            if hook is not None:
                hook(JobContext(Claim(job=job, steps=list(job.steps.all()), now=job.changed_at)))
    except Exception:
        # It may be the very reason why the job is stuck; a person has decided to end it all the same.
        log.exception("the failure hook of job %s failed while it was closed", job.uid)


def _locked(job_uid: UUID, *, status: JobStatus | None = None) -> Job:
    """The row, held until the transaction ends, so that no worker begins a step meanwhile."""
    job = Job.objects.select_for_update().filter(uid=job_uid).first()
    if job is None:
        raise NotFound(_("There is no such job."))
    if status is not None and job.status != status:
        raise Conflict(_("The job is not stuck."), data=_named(job))
    return job


def can_be_cancelled(job: Job) -> bool:
    """Whether ``cancel_job`` would take it now, and it was not asked before."""
    return job.status in FORWARD and job.cancel_requested_at is None and not _is_past_no_return(job)


def _is_past_no_return(job: Job) -> bool:
    try:
        name = operation_named(job.operation).point_of_no_return
    except KeyError:
        return True
    # Started or not, not its place: the step's row says whether it has begun, which one that only waited for its turn has not.
    waits = Q(status=StepStatus.RUNNING, first_tried_at__isnull=True)
    begun = job.steps.filter(name=name).exclude(Q(status=StepStatus.PENDING) | waits)
    return bool(name) and begun.exists()


def _named(job: Job) -> dict[str, dict[str, str]]:
    return {"job": {"id": str(job.uid), "operation": job.operation, "status": str(job.status)}}
