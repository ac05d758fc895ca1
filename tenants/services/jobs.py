"""The hallway of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import override

from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotPermitted, Reason
from portal.events.codes import Outcome
from portal.events.record import Attempt, Subject, attempt
from portal.jobs import control
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from portal.jobs.undoing import Leftover, leftovers
from tenants import bounds, policy, selectors
from tenants.models import DataCenter, System
from tenants.permits import Permit
from tenants.verbs import Verb

LONGEST_REASON = 300


def cancel_job(actor: Actor, uid: UUID) -> Job:
    """Ask a job to stop and undo what it did. For whoever started it, and where one holds JOB_CANCEL.

    ``NotFound`` when it may not be seen, ``Conflict`` when it has ended or is past its point of no return.
    """
    with _attempt(actor, "JOB_CANCEL", uid) as (job, trial):
        trial.outcome = Outcome.REQUESTED
        if not _is_own(actor, job):
            policy.authorize(actor, Permit.JOB_CANCEL, place_of(job))
        return control.cancel_job(uid)


def retry_job(actor: Actor, uid: UUID) -> Job:
    """Have the undo of a stuck job tried again. For whoever holds JOB_MANAGE in its data center.

    ``NotFound`` when it may not be seen, ``Conflict`` when it is not stuck.
    """
    with _attempt(actor, "JOB_RETRY", uid) as (job, trial):
        trial.outcome = Outcome.REQUESTED
        policy.authorize(actor, Permit.JOB_MANAGE, place_of(job))
        return control.retry_job(uid)


def close_job(actor: Actor, uid: UUID, *, reason: str, confirm: str) -> Job:
    """End a stuck job that cannot be undone, whatever it leaves behind: its locks go, and its quota comes back.

    For super-admins, who type what ``typed_for`` says. The log keeps the reason and where to look for what is left.
    ``NotFound`` when it may not be seen, ``Conflict`` when it is not stuck, ``Invalid`` without reason or confirmation.
    """
    with _attempt(actor, "JOB_CLOSE", uid) as (job, trial):
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        _refuse_unless_stuck(job)
        if reasons := _missing(job, reason=reason.strip(), confirm=confirm):
            raise Invalid(_("The job was not closed."), reasons=tuple(reasons))
        with override("en"):  # as rows keep sentences
            left = [one.as_json() for one in leftovers(job)]
        trial.data = {"reason": reason.strip(), "left": left}
        return control.close_job(actor, uid, reason=reason.strip())


def _is_own(actor: Actor, job: Job) -> bool:
    return actor.is_system or (job.actor_uid == actor.uid and bounds.may_stop_own(actor, job.permit))


@contextmanager
def _attempt(actor: Actor, verb: str, uid: UUID) -> Iterator[tuple[Job, Attempt]]:
    """The record of it around a job that the actor may see, for whoever may change anything at all."""
    with attempt(actor, verb, Subject("job", uid)) as trial:
        job = selectors.get_job(actor, uid)
        trial.subject = Subject("job", uid, job.target_name, job.data_center_uid)
        trial.correlation_id = uid
        if actor.scope != "write":
            raise NotPermitted(_("A token that may only read changes no jobs."))
        yield job, trial


def place_of(job: Job) -> DataCenter | System:
    """Where one must hold a permit over a job: its data center; the whole system where it has none (any more)."""
    center = DataCenter.objects.filter(pk=job.data_center_uid).first() if job.data_center_uid else None
    return center or policy.system()


def typed_for(job: Job) -> str:
    """What is typed to close a job: the name of what it is about, or where that has none the first part of its id."""
    return job.target_name if job.target_name and job.target_kind != "system" else str(job.pk).partition("-")[0]


def _refuse_unless_stuck(job: Job) -> None:
    if job.status != JobStatus.STUCK:
        named = {"id": str(job.pk), "operation": job.operation, "status": str(job.status)}
        raise Conflict(_("The job is not stuck."), data={"job": named})


def _missing(job: Job, *, reason: str, confirm: str) -> list[Reason]:
    found = []
    if not reason:
        found.append(Reason("reason_missing", _("Say why, and what was done about what is left."), "reason"))
    if len(reason) > LONGEST_REASON:
        text = _("At most %(count)d characters.") % {"count": LONGEST_REASON}
        found.append(Reason("reason_too_long", text, "reason"))
    if confirm != typed_for(job):
        text = _("Type %(name)s to confirm.") % {"name": typed_for(job)}
        found.append(Reason("confirmation_missing", text, "confirm"))
    return found


@dataclass(frozen=True, slots=True)
class WayOut:
    """What can be done about a job, greyed where an actor may not: stop one that runs, or end one that is stuck.

    ``stopping``: it was asked to stop.
    """

    cancel: Verb | None = None
    stopping: bool = False
    retry: Verb | None = None
    close: Verb | None = None


def way_out(actor: Actor, job: Job) -> WayOut:
    """Which of them a page offers. The doors decide for themselves."""
    if job.status == JobStatus.STUCK:
        retry = Verb("retry", _("Undo it again"), "rotate", reverse("job-retry", args=[job.pk]))
        close = Verb("close", _("Close the job"), "ban", reverse("job-close", args=[job.pk]))
        return WayOut(
            retry=_over(actor, job, retry, Permit.JOB_MANAGE), close=close.asking_above(actor, Permit.SYSTEM_MANAGE)
        )
    if control.can_be_cancelled(job):
        cancel = Verb("cancel", _("Cancel the job"), "ban", reverse("job-cancel", args=[job.pk]))
        return WayOut(cancel=cancel if _is_own(actor, job) else _over(actor, job, cancel, Permit.JOB_CANCEL))
    return WayOut(stopping=job.status in control.FORWARD and job.cancel_requested_at is not None)


def _over(actor: Actor, job: Job, verb: Verb, permit: Permit) -> Verb:
    """A verb that asks for a permit where the job is at work; who sees nothing of that place gets the reason alone."""
    place = place_of(job)
    held = policy.permits_on(actor, [place])[place.pk]
    told = verb.asking(permit, place, held)
    is_seen = isinstance(place, System) or Permit.DATA_CENTER_VIEW in held
    return told if is_seen else told.leading("")


def closing(actor: Actor, uid: UUID) -> tuple[Job, list[Leftover]]:
    """A stuck job and what it may leave behind, for whoever may close it. Raises as ``close_job`` does."""
    job = selectors.get_job(actor, uid)
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
    _refuse_unless_stuck(job)
    return job, leftovers(job)
