"""What the engine shows: its lists, and each thing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.doubles.ovirt_engine import rights
from tests.doubles.ovirt_engine.asked import Answer, Asked, Refused
from tests.doubles.ovirt_engine.bodies import KINDS, accounts, body, machines, past, places, storage
from tests.doubles.ovirt_engine.disks import users_of
from tests.doubles.ovirt_engine.fields import select
from tests.doubles.ovirt_engine.making import BLANK
from tests.doubles.ovirt_engine.shape import BASE, Item, Ref, stamp
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

Handler = Callable[[World, Asked], Answer]
BY_NAME = ("vms", "templates", "hosts", "clusters", "datacenters", "storagedomains")
LINKS = (
    "clusters", "datacenters", "disks", "domains", "events", "groups", "hosts", "instancetypes", "jobs", "macpools",
    "networkfilters", "networks", "permissions", "roles", "schedulingpolicies", "storageconnections",
    "storagedomains", "tags", "templates", "users", "vmpools", "vms", "vnicprofiles",
)  # fmt: skip


def allowed_to_look(world: World, asked: Asked) -> None:
    """Raises ``Refused`` for an account that is no administrator and does not say ``Filter: true``."""
    if not asked.filters and not rights.is_admin(world, asked.user):
        raise Refused(403, "query execution failed due to insufficient permissions.")


def _seen(world: World, asked: Asked, records: list[Record]) -> list[Record]:
    allowed_to_look(world, asked)
    return [one for one in records if rights.visible(world, asked.user, one["id"])] if asked.filters else records


def list_of(kind: str) -> Handler:
    """The list of a collection of the root."""

    def answer(world: World, asked: Asked) -> Answer:
        records = world.all(kind)
        if kind == "events":
            first = asked.count("from")
            records = [one for one in reversed(records) if first is None or one["index"] > first]
        elif kind in BY_NAME:
            records.sort(key=lambda one: one["name"])
        found = select(world, kind, _seen(world, asked, records), asked)
        return Answer(tag=KINDS[kind][1], items=[body(world, kind, one) for one in found])

    return answer


def one_of(kind: str) -> Handler:
    """One thing of a collection of the root."""

    def answer(world: World, asked: Asked) -> Answer:
        record = world.find(kind, asked.names["key"])
        if record is None or not _seen(world, asked, [record]):
            raise Refused(404)
        if kind == "vms" and asked.flag("next_run"):
            record = {**record, **record["next_run"]}
        if kind == "disks" and asked.flag("all_content"):
            users = [Ref("vms", vm["id"]) for vm in users_of(world, record["id"])]
            return Answer(one=("disk", storage.disk(world, record, users=users)))
        return Answer(one=body(world, kind, record))

    return answer


def _there(world: World, kind: str, asked: Asked, name: str = "key") -> Record:
    allowed_to_look(world, asked)
    record = world.find(kind, asked.names[name])
    if record is None:
        raise Refused(404)
    return record


def _chosen(asked: Asked, tag: str, items: list[Item], name: str) -> Answer:
    """All of a thing's own collection, or the one that the path names."""
    wanted = asked.names.get(name)
    if wanted is None:
        most = asked.count("max")
        return Answer(tag=tag, items=items if most is None or most < 0 else items[:most])
    for item in items:
        if item[1]["@id"] == wanted:
            return Answer(one=item)
    raise Refused(404)


def attachments(kind: str) -> Handler:
    def answer(world: World, asked: Asked) -> Answer:
        owner = _there(world, kind, asked, "vm")
        return _chosen(asked, "disk_attachments", storage.attachments(world, kind, owner["id"]), "disk")

    return answer


def cards_of(kind: str) -> Handler:
    def answer(world: World, asked: Asked) -> Answer:
        owner = _there(world, kind, asked, "vm")
        return _chosen(asked, "nics", machines.nics(world, kind, owner["id"]), "nic")

    return answer


def of_machine(tag: str) -> Handler:
    load: dict[str, Callable[[Any, str], list[Item]]] = {
        "reported_devices": machines.reported_devices, "snapshots": machines.snapshots, "cdroms": machines.cdroms,
    }  # fmt: skip

    def answer(world: World, asked: Asked) -> Answer:
        return _chosen(asked, tag, load[tag](world, _there(world, "vms", asked, "vm")["id"]), "")

    return answer


def permissions_on(kind: str) -> Handler:
    def answer(world: World, asked: Asked) -> Answer:
        owner = _there(world, kind, asked, "vm")
        found = [one for one in world.all("permissions") if owner["id"] in one.values()]
        return Answer(tag="permissions", items=[body(world, "permissions", one) for one in found])

    return answer


def cluster_networks(world: World, asked: Asked) -> Answer:
    cluster = _there(world, "clusters", asked)
    return _chosen(asked, "networks", places.cluster_networks(world, cluster["id"]), "")


def network_profiles(world: World, asked: Asked) -> Answer:
    return _chosen(asked, "vnic_profiles", places.profiles_of(world, _there(world, "networks", asked)["id"]), "")


def zone_list(kind: str) -> Handler:
    """What a data center has of a collection."""
    loads: dict[str, Callable[[Any, str], list[Item]]] = {
        "networks": places.networks_of, "storagedomains": places.domains_of, "quotas": places.quotas_of,
    }  # fmt: skip

    def answer(world: World, asked: Asked) -> Answer:
        zone = _there(world, "datacenters", asked)["id"]
        tag = "quotas" if kind == "quotas" else KINDS[kind][1]
        if kind == "clusters":
            records = [one for one in world.all(kind) if one["data_center"] == zone]
            return Answer(tag=tag, items=[body(world, kind, one) for one in select(world, kind, records, asked)])
        return _chosen(asked, tag, loads[kind](world, zone), "thing")

    return answer


def system_permissions(world: World, asked: Asked) -> Answer:
    """The permissions on the whole system."""
    allowed_to_look(world, asked)
    found = [one for one in world.all("permissions") if not set(one) - {"id", "user", "role"}]
    return Answer(tag="permissions", items=[body(world, "permissions", one) for one in found])


def statistics(world: World, asked: Asked) -> Answer:
    return _chosen(asked, "statistics", places.statistics_of(world, _there(world, "hosts", asked)["id"]), "")


def files(world: World, asked: Asked) -> Answer:
    domain = _there(world, "storagedomains", asked)
    return _chosen(asked, "files", [("file", storage.file(domain, name)) for name in domain["files"]], "")


def domain_disks(world: World, asked: Asked) -> Answer:
    domain = _there(world, "storagedomains", asked)["id"]
    found = [one for one in world.all("disks") if domain in one["storage_domains"]]
    return _chosen(asked, "disks", [body(world, "disks", one) for one in found], "")


def steps(world: World, asked: Asked) -> Answer:
    return _chosen(asked, "steps", past.steps_of(world, _there(world, "jobs", asked)["id"]), "")


def user_permissions(world: World, asked: Asked) -> Answer:
    return Answer(tag="permissions", items=accounts.permissions_of(world, _there(world, "users", asked)["id"]))


def permits(world: World, asked: Asked) -> Answer:
    return _chosen(asked, "permits", accounts.permits_of(world, _there(world, "roles", asked)["id"]), "")


def api(world: World, asked: Asked) -> Answer:
    """The entry point."""
    major, minor, build, revision = (*map(int, world.settings.version.split(".")), 0, 0, 0)[:4]
    running = sum(1 for vm in world.all("vms") if vm["host"])

    def count(total: int, active: int) -> dict[str, int]:
        return {"active": active, "total": total}

    domains, hosts, users = (len(world.store.of(kind)) for kind in ("storagedomains", "hosts", "users"))
    tree = {
        "@links": [(name, f"{BASE}/{name}") for name in LINKS],
        "product_info": {
            "instance_id": world.settings.instance, "name": "oVirt Engine", "vendor": "ovirt.org",
            "version": {
                "build": build, "full_version": f"{world.settings.version}-1.el8", "major": major,
                "minor": minor, "revision": revision,
            },
        },
        "special_objects": {"blank_template": Ref("templates", BLANK), "root_tag": Ref("tags", world.all("tags")[0]["id"])},
        "summary": {
            "hosts": count(hosts, hosts), "storage_domains": count(domains, domains), "users": count(users, 1),
            "vms": count(len(world.store.of("vms")), running),
        },
        "time": stamp(world.now()),
        "authenticated_user": Ref("users", asked.user),
        "effective_user": Ref("users", asked.user),
    }  # fmt: skip
    return Answer(one=("api", tree))
