"""What watchers see of a job, and telling them that there is something to see. The rows are the truth."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from portal.common.phrases import said
from portal.jobs.failure import text_of
from portal.jobs.models import Job, Step
from portal.jobs.operation import Operation, operation_named, step_named, title_of
from portal.jobs.rest import Rest
from portal.jobs.states import RUNNABLE, JobStatus, StepStatus

log = logging.getLogger(__name__)

PUSH_SECONDS = 2.0
# Long enough that a frozen Redis does not slow every step, short enough that pages are live again at once.
_layer_rest = Rest(5.0)


def job_group(job_uid: UUID) -> str:
    """The channel-layer group of one job."""
    return f"job.{job_uid.hex}"


def target_group(target_uid: UUID) -> str:
    """The channel-layer group of whatever happens to one object."""
    return f"target.{target_uid.hex}"


def user_group(user_uid: UUID) -> str:
    """The channel-layer group of the jobs that one user started."""
    return f"user.{user_uid.hex}"


def announce(job: Job) -> None:
    """Push ``{"type": "job.changed", "job", "target"}`` to the three groups once the transaction has committed.

    Never raises and takes 2 s at most, once in a while: a page that missed a push sees the rows at its next look.
    """
    groups = [job_group(job.uid), target_group(job.target_uid)]
    if job.actor_uid:
        groups.insert(0, user_group(job.actor_uid))  # whoever asked waits for it
    message = {"type": "job.changed", "job": str(job.uid), "target": str(job.target_uid)}
    transaction.on_commit(partial(_push, groups, message), robust=True)


def _push(groups: list[str], message: dict[str, str]) -> None:
    layer = get_channel_layer()
    if layer is None or _layer_rest.is_on:
        return
    try:
        async_to_sync(_send)(layer, groups, message)
    except Exception:
        log.warning("could not push a change of job %s", message["job"], exc_info=True)
        _layer_rest.begin()


async def _send(layer: Any, groups: list[str], message: dict[str, str]) -> None:
    async with asyncio.timeout(PUSH_SECONDS):
        for group in groups:
            await layer.group_send(group, message)


def job_json(job: Job) -> dict[str, Any]:
    """The job as the API and the websockets show it, titles in the reader's language. Prefetch ``steps`` for lists."""
    steps = list(job.steps.all())
    return {
        "id": str(job.uid),
        "operation": job.operation,
        "title": str(title_of(job.operation)),
        "status": str(job.status),
        "progress": _progress(job, steps),
        "steps": [_step_json(job, step) for step in steps],
        "error": _error_json(job) if job.error else None,
        "closed_reason": job.closed_reason,
        "next_try_at": _time(job.not_before) if _is_failing(job, steps) else None,
        "actor": job.actor_name,
        "target": {"kind": job.target_kind, "id": str(job.target_uid), "name": _target_name(job)},
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
    }


def _target_name(job: Job) -> str:
    """A thing's own name as it is; what the whole system's jobs are about is a kept phrase."""
    return said(job.target_name) if job.target_kind == "system" else job.target_name


def _step_json(job: Job, step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "title": str(_step_title(job, step)),
        "status": str(step.status),
        "progress": step.progress,
        "message": text_of(job.error) if step.message == job.error.get("text", "-") else said(step.message),
        "started_at": _time(step.started_at),
        "ended_at": _time(step.ended_at),
        # A look that found "not yet" is no attempt and is not counted; the one that is under way is.
        "attempts": max(step.attempts, 1) if step.started_at else 0,
    }


def _step_title(job: Job, step: Step) -> Any:
    try:
        operation: type[Operation] = operation_named(job.operation)
        return step_named(operation, step.name).title
    except LookupError:
        return step.name


def _progress(job: Job, steps: list[Step]) -> int:
    if job.status == JobStatus.FINISHED:
        return 100
    running = sum(step.progress for step in steps if step.status == StepStatus.RUNNING)
    done = sum(100 for step in steps if step.status in {StepStatus.DONE, StepStatus.SKIPPED})
    return (running + done) // max(1, len(steps))


def _is_failing(job: Job, steps: list[Step]) -> bool:
    """Whether the job rests because a step could not be done, or undone, just now, and will be tried again by itself."""
    forward = any(step.status == StepStatus.RUNNING and step.failing_since for step in steps)
    backward = any(step.status == StepStatus.UNDOING and step.message for step in steps)
    return job.status in RUNNABLE and job.lease_until is None and (forward or backward)


def _error_json(job: Job) -> dict[str, Any]:
    """In the reader's language, with what follows from it for the user."""
    error = {name: value for name, value in job.error.items() if name not in {"pattern", "kept"}}
    if stuck := job.error.get("stuck"):
        error["stuck"] = stuck | {"text": text_of(stuck)}
    return error | {"text": text_of(job.error), "consequence": str(_consequence(job))}


def _consequence(job: Job) -> Any:
    try:
        operation = operation_named(job.operation)
    except KeyError:
        return ""
    if job.status == JobStatus.UNWINDING:
        return operation.while_undone
    return operation.when_failed if job.status in {JobStatus.FAILED, JobStatus.ABORTED} else ""


def _time(value: Any) -> str | None:
    return value.isoformat() if value else None
