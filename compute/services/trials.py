"""Trying a hypervisor's connection, on record: an outward call to an address that somebody named."""

from __future__ import annotations

from typing import Any

from compute.diagnosis import Told, told
from compute.services.twins import twin_told
from portal.common.actor import Actor
from portal.events.codes import Outcome
from portal.events.record import Subject, record
from portal.hypervisors.diagnosis import diagnose
from portal.hypervisors.specs import Connection

IMAGE_FOLDER = "/var/lib/libvirt/images"


def where_of(connection: Connection) -> dict[str, Any]:
    """What the log of events says of where a connection leads, without any secret."""
    return {"kind": connection.kind, "address": connection.address, "username": connection.username}


def diagnosed(actor: Actor, about: Subject, connection: Connection, *, pool: str) -> tuple[Told, ...]:
    """How far one gets with it, and a record of that. ``pool``: what our storage is called there."""
    steps = _diagnosis(connection, pool)
    last = steps[-1]
    came = {"reached": last.status != "failed", "step": str(last.step), "code": last.code}
    data = where_of(connection) | came
    record(actor, "PROVIDER_TESTED", outcome=Outcome.NOTED, subject=about, data=data)
    return steps


def _diagnosis(connection: Connection, pool: str) -> tuple[Told, ...]:
    found = diagnose(connection, storage_domain=pool, path=f"{IMAGE_FOLDER}/{pool}")
    steps = told(found, connection.kind)
    return steps if steps[-1].status == "failed" else (*steps, *twin_told(connection, steps))
