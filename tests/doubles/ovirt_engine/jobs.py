"""Jobs of the engine and their steps: what a command leaves behind while it works and for a while after."""

from __future__ import annotations

from uuid import uuid4

from tests.doubles.ovirt_engine.asked import Asked
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World


def begin(world: World, asked: Asked, description: str, *, doing: str = "") -> Record:
    """A job that has begun: validated, executing; ``doing``: what the hosts do for it, a step of its own."""
    now = world.now()
    record = {
        "id": str(uuid4()), "description": description, "status": "started", "owner": asked.user,
        "correlation_id": asked.correlation or str(uuid4()), "start_time": now, "end_time": None, "last_updated": now,
        "steps": [],
    }  # fmt: skip
    _step(record, "validating", "Validating", now, over=True)
    executing = _step(record, "executing", "Executing", now)
    if doing:
        _step(record, "unknown", doing, now, parent=executing["id"])
    return world.store.put("jobs", record)


def _step(owner: Record, kind: str, text: str, now: float, *, parent: str = "", over: bool = False) -> Record:
    number = sum(1 for one in owner["steps"] if one["parent"] == parent)
    step = {
        "id": str(uuid4()), "type": kind, "description": text, "number": number, "parent": parent, "start_time": now,
        "status": "finished" if over else "started", "end_time": now if over else None,
    }  # fmt: skip
    owner["steps"].append(step)
    return step


def finish(world: World, key: str, *, failed: bool = False) -> None:
    """End a job; one that a restart left unknown stays so, and one that is gone is no matter."""
    record = world.find("jobs", key)
    if record is None or record["status"] != "started":
        return
    now = world.now()
    status = "failed" if failed else "finished"
    _end(record, status, now)
    _step(record, "finalizing", "Finalizing", now, over=True)
    world.store.put("jobs", record)
    kept = world.settings.failed_job_kept_seconds if failed else world.settings.job_kept_seconds
    world.later(kept, "clear_job", job=key)


def _end(record: Record, status: str, now: float) -> None:
    record.update(status=status, end_time=now, last_updated=now)
    for step in record["steps"]:
        if step["status"] == "started":
            step.update(status=status, end_time=now)


def quick(world: World, asked: Asked, description: str) -> Record:
    """A job that is over at once."""
    record = begin(world, asked, description)
    finish(world, record["id"])
    return record


def progress(world: World, job: str, percent: int) -> None:
    """Say how far the hosts are with a job."""
    record = world.find("jobs", job)
    if record is None or record["status"] != "started":
        return
    for step in record["steps"]:
        if step["type"] == "unknown":
            step["progress"] = percent
    world.save("jobs", record, last_updated=world.now())


def clear(world: World, job: str) -> None:
    world.store.drop("jobs", job)


def lose_track(world: World) -> None:
    """What a restart of the engine does: of jobs that ran it does not know what became."""
    for record in world.all("jobs"):
        if record["status"] == "started":
            _end(record, "unknown", world.now())
            world.store.put("jobs", record)
            world.later(world.settings.failed_job_kept_seconds, "clear_job", job=record["id"])
