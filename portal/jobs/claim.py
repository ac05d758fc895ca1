"""Who may work on a job: a lease in database time, and a number (the fence) that goes up with every claim.

Everything a worker writes names the fence it holds. A worker that was too slow, and whose job somebody else has taken,
changes no row and learns of it by ``LeaseLost``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q
from django.db.models.functions import Coalesce, Now

from portal.jobs.feed import announce
from portal.jobs.models import Job, Step
from portal.jobs.states import RUNNABLE, JobStatus, StepStatus

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 10.0
# Clocks of workers differ a little: a message may come in before its time by the database's clock.
EARLY_SECONDS = 0.5

FREE = Q(lease_until__isnull=True) | Q(lease_until__lte=Now())


class LeaseLost(Exception):
    """Somebody else has claimed the job meanwhile: stop, and write nothing."""


def in_future(seconds: float) -> ExpressionWrapper:
    """A time from now by the database's clock, the only one that all workers share."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


@dataclass(slots=True)
class Claim:
    """A job that this worker holds, as it was when it was claimed (``now``, by the database's clock)."""

    job: Job
    steps: list[Step]
    now: datetime

    def step_at(self, position: int) -> Step | None:
        """The step at that place; None past the last."""
        return self.steps[position] if position < len(self.steps) else None

    def change(self, values: dict[str, Any], *, only_if: Q | None = None) -> bool:
        """Update the job's row. False when ``only_if`` does not hold; ``LeaseLost`` when the fence is another's."""
        mine = Job.objects.filter(uid=self.job.uid, fence=self.job.fence)
        if mine.filter(only_if or Q()).update(changed_at=Now(), **values):
            return True
        if not mine.exists():
            raise LeaseLost(str(self.job.uid))
        return False

    def save(self, values: dict[str, Any], *, step: Step | None = None, step_values: dict[str, Any]) -> None:
        """Update the job's row and one step's, both or neither, and tell the watchers."""
        with transaction.atomic():
            self.change(values)
            if step is not None:
                Step.objects.filter(pk=step.pk).update(**step_values)
            announce(self.job)

    def turn_round(self, values: dict[str, Any], *, step: Step | None, step_values: dict[str, Any]) -> None:
        """The same when the job fails: what has not begun never will."""
        with transaction.atomic():
            self.save(values, step=step, step_values=step_values)
            pending = Step.objects.filter(job=self.job, status=StepStatus.PENDING)
            pending.update(status=StepStatus.SKIPPED)

    def begin(self, step: Step) -> bool:
        """Write that the step's ``do`` starts. False when the job was cancelled meanwhile: then it must not start."""
        started = {"status": JobStatus.STARTED, "started_at": Coalesce("started_at", Now())}
        with transaction.atomic():
            if not self.change(started, only_if=Q(cancel_requested_at__isnull=True)):
                return False
            Step.objects.filter(pk=step.pk).update(
                status=StepStatus.RUNNING,
                attempts=F("attempts") + 1,
                first_tried_at=Coalesce("first_tried_at", Now()),
                started_at=Coalesce("started_at", Now()),
                ended_at=None,
            )
            announce(self.job)
        return True

    def begin_undo(self, step: Step) -> None:
        """Write that the step's ``undo`` starts. What made its ``do`` fail is over at the first one."""
        first = {"failing_since": None} if step.undo_first_tried_at is None else {}
        if first:
            step.failing_since = None
        self.save(
            {"position": step.position},
            step=step,
            step_values={
                "status": StepStatus.UNDOING,
                "undo_attempts": F("undo_attempts") + 1,
                "undo_first_tried_at": Coalesce("undo_first_tried_at", Now()),
                "ended_at": None,
            }
            | first,
        )


RELEASED: dict[str, Any] = {"lease_until": None, "not_before": None}


def released(seconds: float = 0.0) -> dict[str, Any]:
    """The values by which a worker lets go of a job that is due again in ``seconds``."""
    return RELEASED | ({"not_before": in_future(seconds)} if seconds else {})


def claim_job(job_uid: UUID) -> Claim | None:
    """Take a job that is due and that nobody works on; None when there is no such job."""
    due = Q(not_before__isnull=True) | Q(not_before__lte=in_future(EARLY_SECONDS))
    with transaction.atomic():
        taken = Job.objects.filter(FREE & due, uid=job_uid, status__in=RUNNABLE).update(
            fence=F("fence") + 1, lease_until=in_future(LEASE_SECONDS), changed_at=Now()
        )
        if not taken:
            return None
        job = Job.objects.annotate(db_now=Now()).get(uid=job_uid)
        return Claim(job=job, steps=list(job.steps.all()), now=job.db_now)


def overdue(seconds: float) -> list[UUID]:
    """Jobs that should be worked on and are not, since ``seconds`` or more; the oldest first, some at a time."""
    late = in_future(-seconds)
    due = Q(not_before__isnull=True) | Q(not_before__lte=late)
    waiting = Job.objects.filter(FREE & due, status__in=RUNNABLE, changed_at__lte=late)
    return list(waiting.order_by("changed_at").values_list("uid", flat=True)[:500])


def seconds_until_due(job_uid: UUID) -> float | None:
    """How long nobody needs to look at a job; None when nobody needs to look at all (final, stuck, unknown)."""
    job = Job.objects.annotate(db_now=Now()).filter(uid=job_uid, status__in=RUNNABLE).first()
    if job is None:
        return None
    if job.not_before is None:
        return 0.0
    return max(0.0, float((job.not_before - job.db_now).total_seconds()))


@contextmanager
def beating(claim: Claim) -> Iterator[None]:
    """Renew the lease from a thread of its own for as long as the step runs."""
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(claim.job.uid, claim.job.fence, over), name="lease", daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()


def _beat(job_uid: UUID, fence: int, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_SECONDS):
        try:
            _renew(job_uid, fence)
        except DatabaseError:
            log.warning("the lease of job %s could not be renewed", job_uid, exc_info=True)
        finally:
            connection.close()


def _renew(job_uid: UUID, fence: int) -> None:
    # Only a lease that is still held: the worker may have let go of the job just now.
    held = Job.objects.filter(uid=job_uid, fence=fence, lease_until__isnull=False, status__in=RUNNABLE)
    held.update(lease_until=in_future(LEASE_SECONDS), changed_at=Now())
