"""The gate: whoever may no longer do what he asked for gets nothing more done. The policy registers itself here."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from portal.common.actor import Actor
from portal.jobs.context import actor_of_job
from portal.jobs.models import Job

# (actor, permit, kind, uid): raises a ``PortalError`` for a no. The actor's user is a ``NamedUser``, or None for the
# portal itself; the gate loads the user anew.
GateCheck = Callable[[Actor, str, str, UUID], None]

_GATES: list[GateCheck] = []


def register_gate(check: GateCheck) -> None:
    """Make ``check`` the gate of every job. Called once, in ``AppConfig.ready()``; the same again is harmless."""
    if check not in _GATES:
        _GATES.append(check)


def unregister_gate(check: GateCheck) -> None:
    """Take a gate away again (tests)."""
    _GATES.remove(check)


def pass_gate(job: Job) -> None:
    """Raise when the job's actor may no longer do it. A job with a permit and no gate to ask is a fault of set-up."""
    if job.permit and job.permit_uid is not None:
        ask_gate(actor_of_job(job), job.permit, job.permit_kind, job.permit_uid)


def ask_gate(actor: Actor, permit: str, kind: str, uid: UUID) -> None:
    """Raise when a job's actor does not hold the permit on an object any more: for what a step needs besides the job's own."""
    if not _GATES:
        raise RuntimeError("no gate is registered: jobs with a permit cannot run")
    for check in _GATES:
        check(actor, permit, kind, uid)
