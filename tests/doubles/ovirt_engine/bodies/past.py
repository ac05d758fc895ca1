"""How events, jobs and their steps are written."""

from __future__ import annotations

from tests.doubles.ovirt_engine.shape import BASE, Item, Ref, Sub, Tree, stamp
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

LINKS = {
    "cluster": "clusters", "data_center": "datacenters", "host": "hosts", "storage_domain": "storagedomains",
    "template": "templates", "user": "users", "vm": "vms",
}  # fmt: skip


def event(world: World, record: Record) -> Tree:
    links = {name: Ref(kind, record["links"][name]) for name, kind in LINKS.items() if name in record["links"]}
    return {
        "@href": f"{BASE}/events/{record['id']}",
        "@id": record["id"],
        "description": record["description"],
        "code": record["code"],
        "correlation_id": record["correlation_id"] or None,
        "custom_id": -1,
        "flood_rate": 30,
        "index": record["index"],
        "origin": "oVirt",
        "severity": record["severity"],
        "time": stamp(record["time"]),
        **links,
    }


def job(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/jobs/{record['id']}",
        "@id": record["id"],
        "@actions": ("clear", "end"),
        "description": record["description"],
        "auto_cleared": True,
        "end_time": stamp(record["end_time"]),
        "external": False,
        "last_updated": stamp(record["last_updated"]),
        "start_time": stamp(record["start_time"]),
        "status": record["status"],
        "owner": Ref("users", record["owner"]) if record["owner"] else None,
        "steps": Sub("steps", steps_of),
    }


def steps_of(world: World, key: str) -> list[Item]:
    record = world.find("jobs", key)
    return [("step", step(record, one)) for one in record["steps"]] if record else []


def step(owner: Record, record: Record) -> Tree:
    """A step of a job."""
    here = f"{BASE}/jobs/{owner['id']}"
    parent = record["parent"]
    return {
        "@href": f"{here}/steps/{record['id']}",
        "@id": record["id"],
        "@actions": ("end",),
        "description": record["description"],
        "end_time": stamp(record["end_time"]),
        "external": False,
        "external_type": "vdsm" if record["type"] == "unknown" else None,
        "number": record["number"],
        "progress": record.get("progress"),
        "start_time": stamp(record["start_time"]),
        "status": record["status"],
        "type": record["type"],
        "job": Ref("jobs", owner["id"]),
        "parent_step": {"@href": f"{here}/steps/{parent}", "@id": parent} if parent else None,
        "statistics": Sub("statistics"),
    }
