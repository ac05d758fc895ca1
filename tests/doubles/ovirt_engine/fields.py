"""What can be searched for, by collection: the names that the engine's search knows, and where a record has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.doubles.ovirt_engine.asked import Asked, Misused
from tests.doubles.ovirt_engine.search import PAGE, Query, Value
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

Look = Callable[[World, Record], Any]


def _of(name: str) -> Look:
    return lambda world, record: record.get(name)


def _named(kind: str, key: str) -> Look:
    """The name of what a record refers to."""
    return lambda world, record: (world.find(kind, record.get(key) or "") or {}).get("name")


def _linked(kind: str, link: str, name: str = "name") -> Look:
    return lambda world, record: (world.find(kind, record.get("links", {}).get(link, "")) or {}).get(name)


def _zone(world: World, record: Record) -> Any:
    cluster = world.find("clusters", record.get("cluster") or "") or {}
    return (world.find("datacenters", cluster.get("data_center", "")) or {}).get("name")


def _vms_of_disk(world: World, record: Record) -> list[str]:
    return [vm["name"] for vm in world.all("vms") if any(one["disk"] == record.get("id") for one in vm["attachments"])]


def _domains(world: World, record: Record) -> list[str]:
    found = (world.find("storagedomains", key) for key in record.get("storage_domains", ()))
    return [one["name"] for one in found if one]


COMMON = {name: _of(name) for name in ("name", "comment", "description")}
MACHINE = {
    **COMMON, "status": _of("status"), "os": _of("os_type"), "cluster": _named("clusters", "cluster"),
    "datacenter": _zone, "creationdate": _of("creation_time"), "architecture": _of("architecture"),
}  # fmt: skip
FIELDS: dict[str, dict[str, Look]] = {
    "datacenters": {**COMMON, "status": _of("status")},
    "clusters": {**COMMON, "datacenter.name": _named("datacenters", "data_center")},
    "hosts": {**COMMON, "status": _of("status"), "address": _of("address"), "cluster": _named("clusters", "cluster")},
    "networks": {**COMMON, "datacenter": _named("datacenters", "data_center"), "vlanid": _of("vlan"), "mtu": _of("mtu")},
    "vnicprofiles": {"name": _of("name")},
    "storagedomains": {**COMMON, "status": _of("status"), "type": _of("storage_type"),
                       "datacenter": _named("datacenters", "data_center")},
    "disks": {"id": _of("id"), "name": _of("alias"), "alias": _of("alias"), "description": _of("description"),
              "status": _of("status"), "disk_type": lambda world, record: "image", "storage.name": _domains,
              "disk_content_type": _of("content_type"), "provisioned_size": _of("provisioned_size"),
              "size": _of("provisioned_size"), "actual_size": _of("actual_size"), "vm_names": _vms_of_disk,
              "vm.name": _vms_of_disk, "number_of_vms": lambda world, record: len(_vms_of_disk(world, record)),
              "shareable": _of("shareable"), "creation_date": _of("created")},
    "templates": {**MACHINE, "_vmt_id": _of("id"), "version_name": _of("version_name"),
                  "mem": lambda world, record: record.get("memory", 0) // 1024**2},
    "instancetypes": {**COMMON, "_vmt_id": _of("id")},
    "vms": {**MACHINE, "id": _of("id"), "type": _of("type"), "on_host": _named("hosts", "host"),
            "host.name": _named("hosts", "host"), "template.name": _named("templates", "template"),
            "memory": lambda world, record: record.get("memory", 0) // 1024**2},
    "vmpools": {**COMMON, "cluster": _named("clusters", "cluster")},
    "events": {"type": _of("code"), "severity": _of("severity"), "message": _of("description"),
               "correlation_id": _of("correlation_id"), "time": _of("time"), "event_vm": _linked("vms", "vm"),
               "_event_vm_id": _linked("vms", "vm", "id"), "vm.name": _linked("vms", "vm"),
               "event_host": _linked("hosts", "host")},
    "jobs": {"correlation_id": _of("correlation_id")},
    "users": {"name": _of("name"), "usrname": lambda world, record: f"{record.get('name')}@{record.get('profile')}",
              "directory": _of("profile")},
}  # fmt: skip


def lookup(world: World, kind: str) -> Callable[[str, Record], list[Value]]:
    """How a search finds the values of a field in the records of a collection."""
    known = FIELDS.get(kind, {})

    def values(field: str, record: Record) -> list[Value]:
        if field and field not in known:
            raise Misused(f"search of {kind}: no such field: {field}; there are {', '.join(sorted(known))}")
        if not record:
            return []
        looks = (
            [known[field]] if field else [known[name] for name in ("name", "description", "comment") if name in known]
        )
        found = [look(world, record) for look in looks]
        return [one for value in found for one in (value if isinstance(value, list) else [value])]

    return values


def select(world: World, kind: str, records: list[Record], asked: Asked) -> list[Record]:
    """What a list of a collection has, as its ``search``, ``case_sensitive`` and ``max`` ask."""
    most = asked.count("max")
    case = asked.query.get("case_sensitive", "true").lower() != "false"
    query = Query(asked.query.get("search", ""), lookup(world, kind), case_sensitive=case)
    if not query.order and kind != "events" and "search" in asked.query:
        records = sorted(records, key=lambda one: str(one.get("name", one.get("alias", ""))))
    found = query(records)
    if query.page is not None:
        size = most if most and most > 0 else PAGE
        return found[(query.page - 1) * size : query.page * size]
    return found if most is None or most < 0 else found[:most]
