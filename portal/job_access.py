"""One job, and how many run: what pages and sockets ask for alike."""

from __future__ import annotations

from portal.common.actor import Actor
from portal.jobs.models import Job
from portal.jobs.states import RUNNABLE
from tenants.selectors import get_job

__all__ = ["get_job", "open_jobs_count"]


def open_jobs_count(actor: Actor) -> int:
    """How many of a person's own jobs run now."""
    return Job.objects.filter(actor_uid=actor.uid, status__in=RUNNABLE).count()
