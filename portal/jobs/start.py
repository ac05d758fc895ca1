"""Starting a job, inside the caller's transaction: rows, locks, and a message after the commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from portal.common.actor import Actor
from portal.jobs.models import Job
from portal.jobs.operation import Operation


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
    raise NotImplementedError
