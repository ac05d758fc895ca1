"""One job, and how many run: what pages and sockets ask for alike."""

from __future__ import annotations

from uuid import UUID

from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotFound
from portal.jobs.models import Job
from portal.jobs.states import RUNNABLE
from tenants.selectors import jobs


def get_job(actor: Actor, uid: UUID) -> Job:
    """One job. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    job = jobs(actor).filter(pk=uid).first()
    if job is None:
        raise NotFound(_("There is no such job, or you may not see it."))
    return job


def open_jobs_count(actor: Actor) -> int:
    """How many of a person's own jobs run now."""
    return Job.objects.filter(actor_uid=actor.uid, status__in=RUNNABLE).count()
