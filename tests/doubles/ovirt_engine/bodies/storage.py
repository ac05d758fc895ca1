"""How disks, their attachments and storage domains are written."""

from __future__ import annotations

from tests.doubles.ovirt_engine.shape import BASE, Item, Many, Ref, Sub, Tree
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

DISK_ACTIONS = ("reduce", "move", "copy", "export", "refreshlun", "sparsify")
DOMAIN_ACTIONS = ("updateovfstore", "refreshluns", "isattached", "reduceluns")
GIB = 1024**3


def committed(world: World, domain: Record) -> int:
    """The bytes that disks of a storage domain promise in all."""
    disks = world.store.of("disks").values()
    return sum(disk["provisioned_size"] for disk in disks if domain["id"] in disk["storage_domains"])


def used(world: World, domain: Record) -> int:
    """The bytes that they take."""
    disks = world.store.of("disks").values()
    return sum(int(disk["actual_size"]) for disk in disks if domain["id"] in disk["storage_domains"])


def disk(world: World, record: Record, *, users: list[Ref] | None = None) -> Tree:
    """A disk; ``users``: the machines that have it, which are told with ``all_content`` alone."""
    new = world.settings.version >= "4.4"
    return {
        "@href": f"{BASE}/disks/{record['id']}",
        "@id": record["id"],
        "@actions": DISK_ACTIONS,
        "name": record["alias"],
        "description": record["description"],
        "vms": Many("vm", list(users)) if users else None,
        "actual_size": record["actual_size"],
        "alias": record["alias"],
        "backup": "none" if new else None,
        "content_type": record["content_type"],
        "format": record["format"],
        "image_id": record["image_id"],
        "propagate_errors": False,
        "provisioned_size": record["provisioned_size"],
        "qcow_version": "qcow2_v3" if record["format"] == "cow" else None,
        "shareable": record["shareable"],
        "sparse": record["sparse"],
        "status": record["status"],
        "storage_type": "image",
        "total_size": record["actual_size"] if new else None,
        "wipe_after_delete": record["wipe_after_delete"],
        "disk_profile": Ref("diskprofiles", record["disk_profile"]),
        "permissions": Sub("permissions"),
        "quota": {"@id": record["quota"]} if record.get("quota") else None,
        "statistics": Sub("statistics"),
        "storage_domains": Many("storage_domain", [Ref("storagedomains", key) for key in record["storage_domains"]]),
    }


def attachment(owner: str, kind: str, record: Record) -> Tree:
    """A disk of a VM or of a template (``kind``)."""
    return {
        "@href": f"{BASE}/{kind}/{owner}/diskattachments/{record['disk']}",
        "@id": record["disk"],
        "active": record["active"],
        "bootable": record["bootable"],
        "interface": record["interface"],
        "logical_name": record.get("logical_name"),
        "pass_discard": False,
        "read_only": record["read_only"],
        "uses_scsi_reservation": False,
        "disk": Ref("disks", record["disk"]),
        "template": Ref("templates", owner) if kind == "templates" else None,
        "vm": Ref("vms", owner),
    }


def attachments(world: World, kind: str, owner: str) -> list[Item]:
    record = world.find(kind, owner)
    found = record["attachments"] if record else []
    return [("disk_attachment", attachment(owner, kind, one)) for one in found]


def file(domain: Record, name: str) -> Tree:
    return {
        "@href": f"{BASE}/storagedomains/{domain['id']}/files/{name}",
        "@id": name,
        "name": name,
        "storage_domain": Ref("storagedomains", domain["id"]),
    }


def _storage(record: Record) -> Tree:
    if record["storage_type"] != "iscsi":
        return {
            "address": record["address"], "nfs_version": "auto", "path": record["path"], "type": record["storage_type"],
        }  # fmt: skip
    unit = {
        "@id": record["lun"],
        "address": record["address"],
        "discard_max_size": 0,
        "discard_zeroes_data": False,
        "lun_mapping": 1,
        "paths": 0,
        "port": 3260,
        "portal": f"{record['address']}:3260,1",
        "product_id": "disk",
        "serial": "SLIO-ORG_disk",
        "size": record["total"],
        "storage_domain_id": record["id"],
        "target": record["path"],
        "vendor_id": "LIO-ORG",
        "volume_group_id": record["volume_group"],
    }
    group = {"@id": record["volume_group"], "logical_units": Many("logical_unit", [unit])}
    return {"type": "iscsi", "volume_group": group}


def storage_domain(world: World, record: Record, *, zone: str = "") -> Tree:
    """A storage domain; ``zone``: as the data center of this id has it, with its status there.

    By itself it tells one only where it is attached to none, and then not how full it is.
    """
    attached = [Ref("datacenters", record["data_center"])] if record["data_center"] else []
    is_data = record["type"] == "data"
    used_bytes = used(world, record) + record["base_used"]
    here = f"{BASE}/datacenters/{zone}/storagedomains" if zone else f"{BASE}/storagedomains"
    return {
        "@href": f"{here}/{record['id']}",
        "@id": record["id"],
        "@actions": ("activate", "deactivate") if zone else DOMAIN_ACTIONS,
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "available": max(0, record["total"] - used_bytes) // GIB * GIB if attached else None,
        "backup": False,
        "block_size": 512,
        "committed": committed(world, record),
        "critical_space_action_blocker": record["critical_gib"],
        "discard_after_delete": False,
        "external_status": "ok",
        "master": record["master"],
        "status": record["status"] if zone else None if attached else "unattached",
        "storage": _storage(record),
        "storage_format": record["storage_format"],
        "supports_discard": False,
        "supports_discard_zeroes_data": False,
        "type": record["type"],
        "used": -(-used_bytes // GIB) * GIB if attached else None,
        "warning_low_space_indicator": 10,
        "wipe_after_delete": False,
        "data_centers": Many("data_center", attached) if attached else None,
        "disk_profiles": Sub("diskprofiles") if is_data else None,
        "disk_snapshots": Sub("disksnapshots") if is_data else None,
        "disks": Sub("disks") if is_data else None,
        "files": Sub("files") if record["type"] == "iso" else None,
        "permissions": Sub("permissions"),
        "storage_connections": Sub("storageconnections"),
        "templates": Sub("templates"),
        "vms": Sub("vms"),
    }
