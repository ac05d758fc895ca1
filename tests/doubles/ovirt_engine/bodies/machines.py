"""How machines, templates, instance types and what belongs to them are written."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_OID, uuid5

from tests.doubles.ovirt_engine.bodies import storage
from tests.doubles.ovirt_engine.shape import BASE, Item, Many, Ref, Sub, Tree, stamp
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

VM_ACTIONS = (
    "autopincpuandnumanodes", "cancelmigration", "clone", "commitsnapshot", "detach", "export", "freezefilesystems",
    "logon", "maintenance", "migrate", "previewsnapshot", "reboot", "reordermacaddresses", "reset", "screenshot",
    "shutdown", "start", "stop", "suspend", "thawfilesystems", "ticket", "undosnapshot",
)  # fmt: skip
NO_SECRETS = (
    "authorized_ssh_keys", "custom_script", "dns_search", "dns_servers", "domain", "host_name",
    "regenerate_ssh_keys", "timezone", "user_name",
)  # fmt: skip
BOOTED = ("up", "reboot_in_progress", "powering_down")


def _attachments(kind: str) -> Any:
    return lambda world, owner: storage.attachments(world, kind, owner)


def _nics(kind: str) -> Any:
    return lambda world, owner: nics(world, kind, owner)


VM_ATTACHMENTS, TEMPLATE_ATTACHMENTS = (Sub("diskattachments", _attachments(kind)) for kind in ("vms", "templates"))
VM_NICS, TEMPLATE_NICS = (Sub("nics", _nics(kind)) for kind in ("vms", "templates"))


def base(world: World, record: Record, kind: str, actions: tuple[str, ...]) -> Tree:
    """What machines, templates and instance types have in common."""
    return {
        "@href": f"{BASE}/{kind}/{record['id']}",
        "@id": record["id"],
        "@actions": actions,
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "auto_pinning_policy": "disabled" if world.settings.version >= "4.5" else None,
        "bios": {
            "boot_menu": {"enabled": False},
            "type": "q35_sea_bios" if world.settings.version >= "4.4" else "i440fx_sea_bios",
        },
        "cpu": {
            "architecture": record["architecture"],
            "topology": {"cores": record["cores"], "sockets": record["sockets"], "threads": record["threads"]},
        },
        "cpu_shares": 0,
        "creation_time": stamp(record["creation_time"]),
        "delete_protected": record["delete_protected"],
        "display": {
            "allow_override": False, "copy_paste_enabled": True, "disconnect_action": "LOCK_SCREEN",
            "file_transfer_enabled": True, "monitors": 1, "smartcard_enabled": False, "type": "vnc",
        },
        "high_availability": {"enabled": False, "priority": 1},
        "initialization": _initialization(record.get("initialization")),
        "io": {"threads": 1},
        "large_icon": Ref("icons", record["large_icon"]),
        "memory": record["memory"],
        "memory_policy": {
            "ballooning": True, "guaranteed": record["memory_guaranteed"], "max": record["memory_max"],
        },
        "migration": {"auto_converge": "inherit", "compressed": "inherit"},
        "migration_downtime": -1,
        "multi_queues_enabled": True,
        "origin": "ovirt",
        "os": {"boot": {"devices": Many("device", ["hd"])}, "type": record["os_type"]},
        "placement_policy": {"affinity": "migratable"},
        "small_icon": Ref("icons", record["small_icon"]),
        "soundcard_enabled": False,
        "sso": {"methods": Many("method", [{"@id": "guest_agent"}])},
        "start_paused": False,
        "stateless": False,
        "storage_error_resume_behaviour": "auto_resume",
        "time_zone": {"name": "Etc/GMT"},
        "type": record["type"],
        "usb": {"enabled": False},
        "virtio_scsi": {"enabled": True},
        "cluster": Ref("clusters", record["cluster"]) if record["cluster"] else None,
        "cpu_profile": Ref("cpuprofiles", record["cpu_profile"]) if record.get("cpu_profile") else None,
        "quota": {"@id": record["quota"]} if record.get("quota") else None,
    }  # fmt: skip


def _initialization(given: dict[str, Any] | None) -> Tree | None:
    """What was given for cloud-init, its password never."""
    if given is None:
        return None
    tree: Tree = {name: given[name] for name in NO_SECRETS if given.get(name) not in (None, "")}
    tree["nic_configurations"] = Many("nic_configuration", [])
    return {name: tree[name] for name in sorted(tree)}


def vm(world: World, record: Record) -> Tree:
    tree = base(world, record, "vms", VM_ACTIONS)
    runs = record["host"] is not None
    agent = runs and world.settings.guest_agent and record["status"] in BOOTED
    return {
        **tree,
        "fqdn": record["name"] if agent else None,
        "guest_operating_system": _guest_system() if agent else None,
        "guest_time_zone": {"name": "UTC", "utc_offset": "+00:00"} if agent else None,
        "has_illegal_images": False,
        "next_run_configuration_exists": bool(record["next_run"]),
        "numa_tune_mode": "interleave",
        "run_once": record["run_once"],
        "start_time": stamp(record["start_time"]) if runs else None,
        "status": record["status"],
        "status_detail": record["status_detail"] or None,
        "stop_reason": record["stop_reason"] or None,
        "stop_time": stamp(record["stop_time"]),
        "affinity_labels": Sub("affinitylabels"),
        "applications": Sub("applications", lambda *_: []),
        "cdroms": Sub("cdroms", cdroms),
        "disk_attachments": VM_ATTACHMENTS,
        "graphics_consoles": Sub("graphicsconsoles", consoles),
        "host": Ref("hosts", record["host"]) if record["host"] else None,
        "host_devices": Sub("hostdevices"),
        "instance_type": Ref("instancetypes", record["instance_type"]) if record.get("instance_type") else None,
        "katello_errata": Sub("katelloerrata"),
        "mediated_devices": Sub("mediateddevices"),
        "nics": VM_NICS,
        "host_numa_nodes": Sub("numanodes"),
        "original_template": Ref("templates", record["original_template"]),
        "permissions": Sub("permissions"),
        "reported_devices": Sub("reporteddevices", reported_devices),
        "sessions": Sub("sessions", lambda *_: []),
        "snapshots": Sub("snapshots", snapshots),
        "statistics": Sub("statistics"),
        "tags": Sub("tags", lambda *_: []),
        "template": Ref("templates", record["template"]),
        "vm_pool": Ref("vmpools", record["pool"]) if record.get("pool") else None,
        "watchdogs": Sub("watchdogs"),
    }


def _guest_system() -> Tree:
    number = {"full_version": "6.1.0", "major": 6, "minor": 1}
    return {
        "architecture": "x86_64", "codename": "", "distribution": "Tiny Linux", "family": "Linux",
        "kernel": {"version": number}, "version": {"full_version": "1", "major": 1},
    }  # fmt: skip


def template(world: World, record: Record) -> Tree:
    return {
        **base(world, record, "templates", ("export",)),
        "status": record["status"],
        "version": {
            "version_name": record["version_name"],
            "version_number": record["version_number"],
            "base_template": Ref("templates", record["base"]),
        },
        "cdroms": Sub("cdroms"),
        "disk_attachments": TEMPLATE_ATTACHMENTS,
        "graphics_consoles": Sub("graphicsconsoles"),
        "mediated_devices": Sub("mediateddevices"),
        "nics": TEMPLATE_NICS,
        "permissions": Sub("permissions"),
        "tags": Sub("tags", lambda *_: []),
        "watchdogs": Sub("watchdogs"),
    }


def instance_type(world: World, record: Record) -> Tree:
    return {
        **base(world, record, "instancetypes", ()),
        "status": "ok",
        "graphics_consoles": Sub("graphicsconsoles"),
        "nics": Sub("nics"),
        "watchdogs": Sub("watchdogs"),
    }


def pool(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/vmpools/{record['id']}",
        "@id": record["id"],
        "@actions": ("allocatevm",),
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "max_user_vms": 1,
        "prestarted_vms": 0,
        "size": record["size"],
        "stateful": False,
        "type": "automatic",
        "use_latest_template_version": False,
        "cluster": Ref("clusters", record["cluster"]),
        "permissions": Sub("permissions"),
        "template": Ref("templates", record["template"]),
    }


def nic(owner: str, kind: str, record: Record) -> Tree:
    """A card of a VM or of a template (``kind``)."""
    return {
        "@href": f"{BASE}/{kind}/{owner}/nics/{record['id']}",
        "@id": record["id"],
        "@actions": ("activate", "deactivate") if kind == "vms" else None,
        "name": record["name"],
        "template": Ref("templates", owner) if kind == "templates" else None,
        "vm": Ref("vms", owner) if kind == "vms" else None,
        "interface": record["interface"],
        "linked": record["linked"],
        "mac": {"address": record["mac"]} if record["mac"] else None,
        "plugged": record["plugged"],
        "synced": True if kind == "vms" else None,
        "network_filter_parameters": Sub("networkfilterparameters") if kind == "vms" else None,
        "reported_devices": Sub("reporteddevices") if kind == "vms" else None,
        "statistics": Sub("statistics"),
        "vnic_profile": Ref("vnicprofiles", record["profile"]) if record["profile"] else None,
    }


def nics(world: World, kind: str, owner: str) -> list[Item]:
    record = world.find(kind, owner)
    return [("nic", nic(owner, kind, one)) for one in record["nics"]] if record else []


def reported_devices(world: World, owner: str) -> list[Item]:
    """What the guest's agent says of its network."""
    record = world.find("vms", owner)
    if not record or not record["nics"] or record["status"] not in BOOTED or not world.settings.guest_agent:
        return []
    found = record.get("ips") or world.backing.addresses(owner)
    if not found:
        return []
    mac = record["nics"][0]["mac"]
    key = str(uuid5(NAMESPACE_OID, f"eth0 {mac}"))
    tree = {
        "@href": f"{BASE}/vms/{owner}/reporteddevices/{key}",
        "@id": key,
        "name": "eth0",
        "description": "guest reported data",
        "ips": Many("ip", [{"address": one, "version": "v6" if ":" in one else "v4"} for one in found]),
        "mac": {"address": mac},
        "type": "network",
        "vm": Ref("vms", owner),
    }
    return [("reported_device", tree)]


def snapshots(world: World, owner: str) -> list[Item]:
    record = world.find("vms", owner)
    if record is None:
        return []
    tree = {
        "@href": f"{BASE}/vms/{owner}/snapshots/{record['snapshot']}",
        "@id": record["snapshot"],
        "@actions": ("restore",),
        "description": "Active VM",
        "date": stamp(record["creation_time"]),
        "persist_memorystate": False,
        "snapshot_status": "ok",
        "snapshot_type": "active",
        "vm": Ref("vms", owner),
    }
    return [("snapshot", tree)]


def cdroms(world: World, owner: str) -> list[Item]:
    record = world.find("vms", owner)
    if record is None:
        return []
    tree = {"@href": f"{BASE}/vms/{owner}/cdroms/{record['cdrom']}", "@id": record["cdrom"], "vm": Ref("vms", owner)}
    return [("cdrom", tree)]


def consoles(world: World, owner: str, *, current: bool = False) -> list[Item]:
    """The graphics consoles of a VM; ``current``: as they are now, with address and port while it runs."""
    record = world.find("vms", owner)
    if record is None:
        return []
    door = world.backing.display(owner) if current and record["host"] else None
    if door:
        door = (world.settings.display_address or door[0], world.settings.display_port or door[1])
    tree = {
        "@href": f"{BASE}/vms/{owner}/graphicsconsoles/{record['console']}",
        "@id": record["console"],
        "@actions": ("remoteviewerconnectionfile", "proxyticket", "ticket"),
        "address": door[0] if door else None,
        "port": door[1] if door else None,
        "protocol": "vnc",
        "vm": Ref("vms", owner),
    }
    return [("graphics_console", tree)]
