"""Reading jobs. Who may see them is the caller's matter: the floor knows no policy."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from portal.jobs.models import Job
from portal.jobs.states import FINAL


def jobs() -> QuerySet[Job]:
    """All jobs, newest first, with their steps."""
    return Job.objects.prefetch_related("steps")


def job_with_uid(job_uid: UUID) -> Job | None:
    """The job of that uid, with its steps."""
    return jobs().filter(uid=job_uid).first()


def jobs_of_target(target_uid: UUID) -> QuerySet[Job]:
    """The jobs about one object, newest first, with their steps."""
    return jobs().filter(target_uid=target_uid)


def latest_job(target_uid: UUID) -> Job | None:
    """The newest job about an object."""
    return jobs_of_target(target_uid).first()


def open_job(target_uid: UUID) -> Job | None:
    """The newest job about an object that is not final (a stuck one included)."""
    return jobs_of_target(target_uid).exclude(status__in=FINAL).first()
