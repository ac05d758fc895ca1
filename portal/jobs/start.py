"""Starting a job, inside the caller's transaction: rows, locks, and a message after the commit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.transaction import TransactionManagementError
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Busy
from portal.jobs.feed import announce
from portal.jobs.models import Job, JobLock, Step
from portal.jobs.operation import Operation, title_of
from portal.jobs.publish import send_on_commit
from portal.jobs.states import JobStatus


@dataclass(frozen=True, slots=True)
class Target:
    """What a job is about."""

    kind: str
    uid: UUID
    name: str = ""
    data_center_uid: UUID | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """What a job holds while it runs."""

    kind: str
    uid: UUID
    exclusive: bool = True


@dataclass(frozen=True, slots=True)
class Gate:
    """The permit the actor must still hold when the job runs, and on what."""

    permit: str
    kind: str
    uid: UUID


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Everything that a job starts with. ``params`` is small JSON without secrets."""

    operation: type[Operation]
    target: Target
    gate: Gate | None
    locks: tuple[Lock, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)


def start_job(actor: Actor, request: JobRequest) -> Job:
    """Write the job, its steps and its locks (taken in sorted order), and send it once the transaction commits.

    Raises ``portal.common.errors.Busy`` naming the job that holds a lock. Must run inside a transaction.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("start_job must run in the transaction of its service")
    locks = _sorted(request.locks)
    refuse_if_held(locks)
    job = _new_job(actor, request)
    Step.objects.bulk_create(
        Step(job=job, position=position, name=step.name) for position, step in enumerate(request.operation.steps)
    )
    JobLock.objects.bulk_create(JobLock(job=job, kind=x.kind, uid=x.uid, exclusive=x.exclusive) for x in locks)
    announce(job)  # first: whoever asked for it sees that it was taken, while it goes to the workers
    send_on_commit(job.uid, operation=job.operation)
    return job


def _new_job(actor: Actor, request: JobRequest) -> Job:
    target, gate = request.target, request.gate
    return Job.objects.create(
        operation=request.operation.name,
        version=request.operation.version,
        params=request.params,
        actor_uid=actor.uid,
        actor_name=actor.name,
        request_id=actor.request_id,
        client_address=actor.client_address,
        permit=gate.permit if gate else "",
        permit_kind=gate.kind if gate else "",
        permit_uid=gate.uid if gate else None,
        target_kind=target.kind,
        target_uid=target.uid,
        target_name=target.name[:150],
        data_center_uid=target.data_center_uid,
        audit_verb=request.operation.audit_verb,
    )


def _sorted(locks: tuple[Lock, ...]) -> list[Lock]:
    """Each object once (exclusive wins), in one order for everybody, so that two requests cannot hold each other up."""
    strongest: dict[tuple[str, UUID], Lock] = {}
    for lock in locks:
        key = (lock.kind, lock.uid)
        if lock.exclusive or key not in strongest:
            strongest[key] = lock
    return [strongest[key] for key in sorted(strongest)]


def refuse_if_held(locks: list[Lock]) -> None:
    """Raise ``Busy`` naming the job that stands in the way of such locks; none comes before the transaction ends."""
    _queue_up(locks)
    in_the_way = [Q(kind=x.kind, uid=x.uid, **({} if x.exclusive else {"exclusive": True})) for x in locks]
    held = JobLock.objects.filter(reduce(or_, in_the_way, Q(pk__in=[])))
    first = held.order_by("kind", "uid", "-exclusive", "pk").values_list("job", flat=True).first()
    if first is not None:
        raise _busy(Job.objects.get(pk=first))


def _queue_up(locks: list[Lock]) -> None:
    """One request at a time per object until its transaction ends, so that what is read next stays true.

    An exclusive and a shared lock can be told apart by no unique index. PostgreSQL reads at READ COMMITTED, hence an
    advisory lock (in its 64 bits two objects may meet: they wait a little, no more). SQLite's transactions are
    IMMEDIATE, so that there is one writer anyway.
    """
    if connection.vendor != "postgresql":
        return
    digests = [hashlib.sha256(f"{lock.kind}:{lock.uid}".encode()).digest() for lock in locks]
    with connection.cursor() as cursor:
        for digest in digests:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(digest[:8], signed=True)])


def _busy(job: Job) -> Busy:
    title = str(title_of(job.operation))
    if job.status == JobStatus.STUCK:
        text = _("A job is stuck on this (%(title)s). An administrator must retry or close it.") % {"title": title}
    else:
        text = _("Another job is at work on this (%(title)s). Wait until it has ended.") % {"title": title}
    return Busy(
        text,
        data={"job": {"id": str(job.uid), "operation": job.operation, "title": title, "status": str(job.status)}},
    )
