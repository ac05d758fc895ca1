"""How each kind of thing is written: functions from a record to a tree, by the name of its collection."""

from __future__ import annotations

from collections.abc import Callable

from tests.doubles.ovirt_engine.bodies import accounts, machines, past, places, storage
from tests.doubles.ovirt_engine.shape import Item, Ref, Tree
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

Body = Callable[[World, Record], Tree]

# By the name of the collection: the element of one, the element of several, how one is written.
KINDS: dict[str, tuple[str, str, Body]] = {
    "datacenters": ("data_center", "data_centers", places.data_center),
    "clusters": ("cluster", "clusters", places.cluster),
    "hosts": ("host", "hosts", places.host),
    "networks": ("network", "networks", places.network),
    "vnicprofiles": ("vnic_profile", "vnic_profiles", places.vnic_profile),
    "storagedomains": ("storage_domain", "storage_domains", storage.storage_domain),
    "disks": ("disk", "disks", storage.disk),
    "templates": ("template", "templates", machines.template),
    "instancetypes": ("instance_type", "instance_types", machines.instance_type),
    "vms": ("vm", "vms", machines.vm),
    "vmpools": ("vm_pool", "vm_pools", machines.pool),
    "events": ("event", "events", past.event),
    "jobs": ("job", "jobs", past.job),
    "users": ("user", "users", accounts.user),
    "roles": ("role", "roles", accounts.role),
    "permissions": ("permission", "permissions", accounts.permission),
    "tags": ("tag", "tags", accounts.tag),
}


def body(world: World, kind: str, record: Record) -> Item:
    """One thing: the name of its element, and its tree."""
    tag, _, write = KINDS[kind]
    return tag, write(world, record)


def resolve(world: World, ref: Ref) -> Tree | None:
    """The body of what is referred to, for ``follow``."""
    if ref.kind not in KINDS:
        return None
    record = world.find(ref.kind, ref.id)
    return KINDS[ref.kind][2](world, record) if record else None
