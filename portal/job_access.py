"""One job, and how many run: what pages and sockets ask for alike."""

from __future__ import annotations

from portal.common.actor import Actor
from portal.jobs.models import Job
from portal.jobs.states import RUNNABLE
from tenants.selectors import get_job, stuck_jobs

__all__ = ["get_job", "open_jobs_count", "stuck_jobs_count"]


def open_jobs_count(actor: Actor) -> int:
    """How many of a person's own jobs run now."""
    return Job.objects.filter(actor_uid=actor.uid, status__in=RUNNABLE).count()


def stuck_jobs_count(actor: Actor) -> int:
    """How many jobs are stuck and wait for this person to end them; of nobody else's concern."""
    return stuck_jobs(actor).count()
