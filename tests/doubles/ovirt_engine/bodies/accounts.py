"""How users, roles, permits, permissions and tags are written."""

from __future__ import annotations

from tests.doubles.ovirt_engine.shape import BASE, Item, Ref, Sub, Tree
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

# What a permission may be on, by the key in its record: the name of the collection.
TARGETS = {
    "cluster": "clusters", "data_center": "datacenters", "disk": "disks", "host": "hosts",
    "storage_domain": "storagedomains", "template": "templates", "vm": "vms", "vm_pool": "vmpools",
}  # fmt: skip


def permissions_of(world: World, user: str) -> list[Item]:
    found = [record for record in world.all("permissions") if record["user"] == user]
    return [("permission", permission(world, record)) for record in found]


def permits_of(world: World, role_id: str) -> list[Item]:
    record = world.find("roles", role_id)
    return [("permit", permit(record, name)) for name in record["permits"]] if record else []


def user(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/users/{record['id']}",
        "@id": record["id"],
        "name": record["name"],
        "description": "",
        "department": "",
        "domain_entry_id": record["entry"],
        "email": "",
        "last_name": "",
        "namespace": "*",
        "principal": record["name"],
        "user_name": f"{record['name']}@{record['profile']}-authz",
        "domain": {"@href": f"{BASE}/domains/{record['domain']}", "@id": record["domain"], "name": f"{record['profile']}-authz"},
        "event_subscriptions": Sub("eventsubscriptions"),
        "permissions": Sub("permissions", permissions_of),
        "roles": Sub("roles"),
        "ssh_public_keys": Sub("sshpublickeys"),
        "tags": Sub("tags"),
    }  # fmt: skip


def role(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/roles/{record['id']}",
        "@id": record["id"],
        "name": record["name"],
        "description": record["description"],
        "administrative": record["administrative"],
        "mutable": record["mutable"],
        "permits": Sub("permits", permits_of),
    }


def permit(owner: Record, name: str) -> Tree:
    """A permit of a role."""
    number = str(owner["numbers"][name])
    return {
        "@href": f"{BASE}/roles/{owner['id']}/permits/{number}",
        "@id": number,
        "name": name,
        "administrative": owner["administrative"],
        "role": Ref("roles", owner["id"]),
    }


def permission(world: World, record: Record) -> Tree:
    tree: Tree = {"@href": f"{BASE}/permissions/{record['id']}", "@id": record["id"]}
    owner = record["user"]
    if owner:
        tree["@href"] = f"{BASE}/users/{owner}/permissions/{record['id']}"
    targets = {name: Ref(kind, record[name]) for name, kind in TARGETS.items() if record.get(name)}
    for name in ("cluster", "data_center", "disk", "host"):
        if name in targets:
            tree[name] = targets[name]
    tree["role"] = Ref("roles", record["role"])
    for name in ("storage_domain", "template"):
        if name in targets:
            tree[name] = targets[name]
    tree["user"] = Ref("users", owner) if owner else None
    for name in ("vm", "vm_pool"):
        if name in targets:
            tree[name] = targets[name]
    return tree


def tag(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/tags/{record['id']}",
        "@id": record["id"],
        "name": record["name"],
        "description": record["description"],
        "parent": Ref("tags", record["parent"]) if record["parent"] else None,
    }
