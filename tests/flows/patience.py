"""Jobs run to their end under faults, past all pauses: the clock is turned, not waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.db.models import F

from portal.hypervisors import connect
from portal.jobs.engine import advance
from portal.jobs.models import Job, Step
from portal.jobs.states import RUNNABLE, JobStatus
from tests.flows.place import Site
from tests.jobs.conftest import hurry


def step_on(place: Site, job: Job, *, later: float = 0.0) -> None:
    """One more look at a job, ``later`` seconds after the last: leases, pauses and the provider's rest are over then."""
    if later:
        turn_clock(job, later)
    hurry(job)
    if job.status == JobStatus.UNWINDING or job.steps.filter(failing_since__isnull=False).exists():
        connect.forget(place.provider.uid)  # a call failed, perhaps: the rest that the provider is given then is over
    advance(job.uid)
    job.refresh_from_db()


def run_through(place: Site, job: Job, *, later: float = 5.0, most: int = 900) -> Job:
    """Until the job is final or stuck."""
    for _ in range(most):
        step_on(place, job, later=later)
        if job.status not in RUNNABLE:
            return job
    raise AssertionError(f"{job} goes round in circles: {job.error}")


def turn_clock(job: Job, seconds: float) -> None:
    """Everything the job remembers a time of was so much earlier."""
    earlier = timedelta(seconds=seconds)
    Step.objects.filter(job=job).update(
        failing_since=F("failing_since") - earlier,
        first_tried_at=F("first_tried_at") - earlier,
        undo_first_tried_at=F("undo_first_tried_at") - earlier,
    )


def until(is_so: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait until it is so, which it must be before long."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)
