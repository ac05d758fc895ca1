"""The hallway of jobs."""

from __future__ import annotations

from uuid import UUID

from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotPermitted
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.jobs.control import cancel_job as ask_to_stop
from portal.jobs.models import Job
from tenants import bounds, policy, selectors
from tenants.models import DataCenter
from tenants.permits import Permit


def cancel_job(actor: Actor, uid: UUID) -> Job:
    """Ask a job to stop and undo what it did. For whoever started it, and where one holds JOB_CANCEL.

    ``NotFound`` when it may not be seen, ``Conflict`` when it has ended or is past its point of no return.
    """
    with attempt(actor, "JOB_CANCEL", Subject("job", uid)) as trial:
        job = selectors.get_job(actor, uid)
        trial.subject = Subject("job", uid, job.target_name, job.data_center_uid)
        trial.correlation_id = uid
        trial.outcome = Outcome.REQUESTED
        _authorize(actor, job)
        return ask_to_stop(uid)


def _authorize(actor: Actor, job: Job) -> None:
    if actor.scope != "write":
        raise NotPermitted(_("A token that may only read cannot cancel jobs."))
    if actor.is_system or (job.actor_uid == actor.uid and bounds.may_stop_own(actor, job.permit)):
        return
    center = DataCenter.objects.filter(pk=job.data_center_uid).first() if job.data_center_uid else None
    policy.authorize(actor, Permit.JOB_CANCEL, center or policy.system())
