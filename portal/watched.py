"""What a page may watch, and by which mark of a row it is seen that it changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from compute import selectors
from portal import page_parts
from portal.common.actor import Actor
from portal.jobs.feed import job_group, target_group
from portal.jobs.models import Job
from tenants.selectors import readable_jobs

MOST_WATCHED = 200
LONGEST_MESSAGE = 16 * 1024
# What changes in a machine by itself; what people change is told by a job or by their own page.
MARKS_OF_MACHINES = ("name", "status", "status_detail", "host_id", "memory_mib", "vcpus", "addresses")
OF_MACHINES = ("vm", "head", "card", "row", "console")  # kinds of parts that show a machine


def wanted(text: str | None) -> list[str] | None:
    """The items that a page asks for; None when it is no such message."""
    if not text or len(text) > LONGEST_MESSAGE:
        return None
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        items = json.loads(text)["watch"]
        if isinstance(items, list) and len(items) <= MOST_WATCHED and all(_well_formed(item) for item in items):
            return items
    return None


def _well_formed(item: Any) -> bool:
    if item == "jobs":
        return True
    if not isinstance(item, str):
        return False
    kind, _, uid = item.partition(":")
    return kind in page_parts.RENDERERS and str(UUID(uid)) == uid


def group_of(item: str) -> str:
    """The channel-layer group of a machine or a job."""
    kind, _, uid = item.partition(":")
    return job_group(UUID(uid)) if kind == "job" else target_group(UUID(uid))


def visible(actor: Actor, items: set[str]) -> dict[str, Any]:
    """Those of the items that this actor may see, machines by one query and jobs by another, each with a mark that is another
    when it changed.
    """
    machines = _seen(partial(_machines, actor), items, OF_MACHINES)
    return dict.fromkeys(items & {"jobs"}) | machines | _seen(partial(_jobs, actor), items, ("job",))


def _machines(actor: Actor, uids: set[UUID]) -> dict[UUID, Any]:
    rows = selectors.my_vms(actor).filter(pk__in=uids).values_list("pk", *MARKS_OF_MACHINES)
    return {uid: mark for uid, *mark in rows}


def _jobs(actor: Actor, uids: set[UUID]) -> dict[UUID, Any]:
    return dict(Job.objects.filter(pk__in=readable_jobs(actor, uids)).values_list("pk", "changed_at"))


def _seen(look: Callable[[set[UUID]], dict[UUID, Any]], items: set[str], kinds: tuple[str, ...]) -> dict[str, Any]:
    named = {item: UUID(item.partition(":")[2]) for item in items if item.partition(":")[0] in kinds}
    found = look(set(named.values())) if named else {}
    return {item: found[uid] for item, uid in named.items() if uid in found}
