"""Handing a job to the workers. A message that is not sent costs seconds, never the job: the sweep finds the row."""

from __future__ import annotations

import logging
from functools import partial
from uuid import UUID

from celery import current_app
from django.db import transaction

from portal.jobs.faults import fault_point
from portal.jobs.rest import Rest

log = logging.getLogger(__name__)

RUN_JOB = "portal.jobs.tasks.run_job"
# A worker holds a message until its time has come; one that must wait for longer is left to the sweep.
LONGEST_COUNTDOWN = 60.0
# A broker that accepts and is silent costs its time-outs (about 2 s); one request pays them, not each of the next.
_broker_rest = Rest(5.0)


def send(job_uid: UUID, *, countdown: float = 0.0, expires: float | None = None) -> bool:
    """Send the job's id to the workers. False, and a line in the log, when the broker does not take it."""
    if countdown > LONGEST_COUNTDOWN:
        return True
    try:
        current_app.send_task(RUN_JOB, (str(job_uid),), countdown=countdown or None, expires=expires, retry=False)
    except Exception:
        log.warning("job %s was not sent; the sweep will find it", job_uid, exc_info=True)
        _broker_rest.begin()
        return False
    _broker_rest.end()
    return True


def send_on_commit(job_uid: UUID, *, operation: str) -> None:
    """Send the job once the present transaction has committed. Nothing that goes wrong there reaches the request."""
    transaction.on_commit(partial(_send_started, job_uid, operation), robust=True)


def _send_started(job_uid: UUID, operation: str) -> None:
    fault_point(f"{operation}.publish")
    if not _broker_rest.is_on:
        send(job_uid)
