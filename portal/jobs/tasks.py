"""What Celery carries: a job's id, and the ticks of the sweeps."""

from __future__ import annotations

import time
from uuid import UUID

from celery import shared_task

from portal.common.idempotency import purge_keys
from portal.jobs.claim import overdue
from portal.jobs.engine import advance
from portal.jobs.publish import RUN_JOB, send

# So long a job may lie about before the sweep sends it again, and so long such a message is worth anything: with all
# workers busy, sweeps would otherwise pile up messages for the same jobs.
OVERDUE_SECONDS = 5.0
SWEPT_EXPIRES_SECONDS = 30.0
# Steps that are quick follow each other at once; after so long a job makes room for the next in the queue.
TURN_SECONDS = 0.25


@shared_task(name=RUN_JOB)  # type: ignore[untyped-decorator,unused-ignore]
def run_job(job_id: str) -> None:
    """Work on a job for a step, or for several that are quick, and pass it on."""
    uid, turn_ends = UUID(job_id), time.monotonic() + TURN_SECONDS
    pause = advance(uid)
    while pause == 0 and time.monotonic() < turn_ends:
        pause = advance(uid)
    if pause is not None:
        send(uid, countdown=pause)


@shared_task(name="portal.jobs.tasks.sweep")  # type: ignore[untyped-decorator,unused-ignore]
def sweep() -> int:
    """Send the jobs whose message or worker was lost; how many were sent. Two sweeps at once are harmless."""
    sent = 0
    for uid in overdue(OVERDUE_SECONDS):
        if not send(uid, expires=SWEPT_EXPIRES_SECONDS):
            break  # the broker is away: each further try would only cost a time-out
        sent += 1
    return sent


@shared_task(name="portal.jobs.tasks.forget_keys")  # type: ignore[untyped-decorator,unused-ignore]
def forget_keys() -> int:
    """Remove the idempotency keys of more than a day ago; how many. Two at once are harmless."""
    return purge_keys()
