"""The institute that every fresh double has: the same things with the same ids each time."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tests.doubles.ovirt_engine import disks, making
from tests.doubles.ovirt_engine.backing import Disk
from tests.doubles.ovirt_engine.making import BLANK
from tests.doubles.ovirt_engine.power import as_machine
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

GIB = 1024**3
MIB = 1024**2
BIRTH = 1_700_000_000.0
USER, VIEWER = "portal@internal", "viewer@internal"
TEMPLATE_DISK_BYTES = 1 * GIB
# All 97 permits of the SuperUser are more than anybody asks for: those of machines, disks, networks and the system.
MACHINE_PERMITS = (
    "create_vm", "delete_vm", "edit_vm_properties", "vm_basic_operations", "change_vm_cd", "migrate_vm",
    "connect_to_vm", "import_export_vm", "configure_vm_network", "configure_vm_storage", "move_vm",
    "manipulate_vm_snapshots", "reboot_vm", "stop_vm", "shut_down_vm", "hibernate_vm", "run_vm", "reset_vm",
    "reconnect_to_vm", "edit_admin_vm_properties", "change_vm_custom_properties",
)  # fmt: skip
OTHER_PERMITS = (
    "create_disk", "attach_disk", "edit_disk_properties", "configure_disk_storage", "delete_disk",
    "access_image_storage", "create_template", "edit_template_properties", "delete_template", "copy_template",
    "create_host", "edit_host_configuration", "manipulate_host", "create_cluster", "edit_cluster_configuration",
    "create_storage_pool", "edit_storage_pool_configuration", "create_storage_domain", "manipulate_storage_domain",
    "configure_vm_network", "assign_cluster_network", "create_network_vnic_profile", "login", "tag_management",
    "audit_log_management", "configure_engine", "manipulate_roles", "manipulate_permissions", "manipulate_users",
    "configure_quota", "consume_quota", "inject_external_events", "inject_external_tasks", "vm_pool_basic_operations",
)  # fmt: skip
USER_PERMITS = (
    "change_vm_cd", "connect_to_vm", "reboot_vm", "stop_vm", "shut_down_vm", "hibernate_vm", "run_vm", "reset_vm",
    "vm_pool_basic_operations", "access_image_storage", "login",
)  # fmt: skip


def key(*names: str) -> str:
    """The id of one of the institute's things: the same each time."""
    return str(uuid5(NAMESPACE_URL, "https://engine.example/" + "/".join(names)))


def found(world: World) -> None:
    """Put the institute into an empty world."""
    _accounts(world)
    for name in ("Institute", "Laboratory"):
        _zone(world, name)
    _hosts(world)
    _storage(world)
    _templates(world)
    _strangers(world)
    world.event(1, "oVirt Engine was started.", severity="normal")


def _put(world: World, kind: str, name: str, **more: Any) -> Record:
    record = {"id": key(kind, name), "name": name, "description": "", "comment": "", **more}
    return world.store.put(kind, record)


def _accounts(world: World) -> None:
    numbers = {name: number for number, name in enumerate(sorted({*MACHINE_PERMITS, *OTHER_PERMITS}), 1)}
    roles = {
        "SuperUser": (sorted(numbers), True, "Roles management administrator"),
        "ReadOnlyAdmin": (["login"], True, "Read Only Administrator Role"),
        "UserRole": (sorted(USER_PERMITS), False, "Standard User Role"),
    }
    for name, (permits, administrative, text) in roles.items():
        _put(world, "roles", name, description=text, permits=permits, administrative=administrative, mutable=False,
             numbers={one: numbers[one] for one in permits})  # fmt: skip
        world.store.of("roles")[key("roles", name)]["description"] = text
    for account in ("admin", "portal", "viewer"):
        _put(world, "users", account, entry=key("entry", account), profile="internal", domain=key("domain", "internal"))
    grant(world, "admin", "SuperUser")
    grant(world, "portal", "SuperUser")
    grant(world, "viewer", "ReadOnlyAdmin")
    _put(world, "tags", "root", parent="", description="root")


def grant(world: World, account: str, role: str, **target: str) -> Record:
    """A permission: an account's role on an object, or on the whole system."""
    name = "/".join((account, role, *target.values()))
    record = {"id": key("permissions", name), "user": key("users", account), "role": key("roles", role), **target}
    return world.store.put("permissions", record)


def _zone(world: World, name: str) -> None:
    zone = _put(world, "datacenters", name, status="up", version="4.7", mac_pool=key("macpools", "Default"),
                quota=key("quotas", name))  # fmt: skip
    cluster = _put(
        world, "clusters", {"Institute": "main", "Laboratory": "lab"}[name], data_center=zone["id"], version="4.7",
        architecture="x86_64", cpu_type="Secure Intel Skylake Server Family", overcommit=200,
        mac_pool=zone["mac_pool"], scheduling_policy=key("policies", "none"), cpu_profile=key("cpuprofiles", name),
    )  # fmt: skip
    world.store.put("quotas", {"id": zone["quota"], "name": "Default", "description": "Default unlimited quota",
                               "comment": "", "data_center": zone["id"], "cluster_hard": 20, "cluster_soft": 80,
                               "storage_hard": 20, "storage_soft": 80})  # fmt: skip
    vlans = {"ovirtmgmt": 0, "students": 110, "staff": 120} if name == "Institute" else {"ovirtmgmt": 0}
    for network, vlan in vlans.items():
        record = {
            "id": key("networks", name, network), "name": network, "description": "", "comment": "", "mtu": 1500,
            "management": not vlan, "required": True, "status": "operational", "vlan": vlan,
            "data_center": zone["id"], "clusters": [cluster["id"]],
        }  # fmt: skip
        world.store.put("networks", record)
        profile = {
            "id": key("vnicprofiles", name, network), "name": network, "description": "", "comment": "",
            "network": record["id"], "network_filter": key("filters", "vdsm-no-mac-spoofing"),
        }  # fmt: skip
        world.store.put("vnicprofiles", profile)


def _hosts(world: World) -> None:
    for number, cluster in enumerate(("main", "main", "lab"), 1):
        name = f"node{number}"
        _put(world, "hosts", name, cluster=key("clusters", cluster), address=f"{name}.institute.example", status="up",
             memory=256 * GIB, sockets=2, cores=16, threads=2, spm=number != 2, boot_time=BIRTH)  # fmt: skip


def _storage(world: World) -> None:
    shapes = (
        ("vmstore", "Institute", "data", "nfs", "/exports/vmstore", 4096, True),
        ("fast", "Institute", "data", "iscsi", "iqn.2003-01.org.linux-iscsi:fast", 1024, False),
        ("iso", "Institute", "iso", "nfs", "/exports/iso", 100, False),
        ("exports", "Institute", "export", "nfs", "/exports/export", 500, False),
        ("labstore", "Laboratory", "data", "nfs", "/exports/labstore", 1024, True),
    )
    for name, zone, kind, storage, path, gib, master in shapes:
        _put(
            world, "storagedomains", name, data_center=key("datacenters", zone), type=kind, storage_type=storage,
            path=path, address="storage.institute.example", total=gib * GIB, base_used=10 * GIB, master=master,
            status="active", storage_format="v1" if kind != "data" else "v5", critical_gib=5, full=False,
            lun=f"3600140{key('lun', name).replace('-', '')[:26]}", volume_group=key("vg", name),
            disk_profile=key("diskprofiles", name), files=["tiny.iso", "debian-12.iso"] if kind == "iso" else [],
        )  # fmt: skip


def _base(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "description": "", "comment": "", "status": "ok", "version_name": "", "version_number": 1,
        "cluster": "", "creation_time": BIRTH, "delete_protected": False, "memory": 512 * MIB,
        "memory_max": 2048 * MIB, "memory_guaranteed": 256 * MIB, "cores": 1, "sockets": 1, "threads": 1,
        "architecture": "x86_64", "os_type": "other_linux", "type": "server", "large_icon": key("icons", "large"),
        "small_icon": key("icons", "small"), "attachments": [], "nics": [], "initialization": None, **more,
    }  # fmt: skip


def _templates(world: World) -> None:
    blank = _base("Blank", description="Blank template", version_number=1, os_type="other", type="desktop",
                  memory=1024 * MIB, memory_max=4096 * MIB, memory_guaranteed=1024 * MIB)  # fmt: skip
    world.store.put("templates", {"id": BLANK, "base": BLANK, **blank})
    first = key("templates", "Tiny Linux", "1")
    for number, (name, version) in enumerate((("Tiny Linux", "base version"), ("Tiny Linux", "with tools")), 1):
        template_id = key("templates", name, str(number))
        disk = _template_disk(world, f"tiny-linux-{number}")
        card = {"id": key("nics", name, str(number)), "name": "nic1", "mac": "", "interface": "virtio", "linked": True,
                "plugged": True, "profile": ""}  # fmt: skip
        record = _base(
            name, description="A guest that boots within a second", version_name=version, version_number=number,
            cluster=key("clusters", "main"), cpu_profile=key("cpuprofiles", "Institute"), attachments=[disk],
            nics=[card] if number == 1 else [], initialization={"host_name": "", "regenerate_ssh_keys": False},
        )  # fmt: skip
        world.store.put("templates", {"id": template_id, "base": first, **record})
    for number, (name, gib, cores) in enumerate(
        (("Tiny", 0.5, 1), ("Small", 2, 1), ("Medium", 4, 2), ("Large", 8, 2)), 3
    ):
        size = int(gib * GIB)
        record = _base(name, memory=size, memory_max=4 * size, memory_guaranteed=size, sockets=cores,
                       description=f"{name} instance type", architecture="undefined")  # fmt: skip
        world.store.put(
            "instancetypes",
            {"id": f"0000000{number}-000{number}-000{number}-000{number}-00000000000{number}", **record},
        )


def _template_disk(world: World, alias: str) -> dict[str, Any]:
    record = disks.new_disk(
        world, key=key("disks", alias), image=key("images", alias), alias=alias, size=TEMPLATE_DISK_BYTES,
        domain=key("storagedomains", "vmstore"), status="ok", holds="tiny-linux",
    )  # fmt: skip
    world.backing.create_disk(disks.volume(record))
    disks.settle(world, world.store.put("disks", record))
    return {"disk": record["id"], "bootable": True, "active": True, "interface": "virtio", "read_only": False}


def _strangers(world: World) -> None:
    plant(world, "stranger-up", vm_id=key("vms", "stranger-up"), status="up")
    plant(world, "stranger-down", vm_id=key("vms", "stranger-down"), comment="made by hand")


def plant(world: World, name: str, *, disks_of: int = 1, vm_id: str = "", **fields: Any) -> Record:
    """A machine that somebody made in the engine itself. ``fields`` of its record; ``disks_of``: how many disks."""
    cluster = fields.pop("cluster", key("clusters", "main"))
    status = fields.pop("status", "down")
    template = world.store.of("templates")[fields.pop("template", BLANK)]
    vm = making.new_machine(world, name=name, cluster=cluster, template=template)
    vm["id"] = vm_id or vm["id"]
    network = fields.pop("profile", key("vnicprofiles", "Institute", "students"))
    number = len(world.store.of("vms"))
    mac = f"00:1a:4a:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    vm["nics"] = [{"id": key("nics", vm["id"]), "name": "nic1", "mac": fields.pop("mac", mac), "profile": network,
                   "interface": "virtio", "linked": True, "plugged": True}]  # fmt: skip
    for index in range(disks_of):
        vm["attachments"].append(_planted_disk(world, vm, index, fields.pop("disk_bytes", 10 * GIB)))
    vm.update(fields)
    world.store.put("vms", vm)
    if status != "down":
        switch_on(world, vm, status)
    return vm


def plant_pool(world: World, name: str) -> Record:
    """A pool of one machine, ``<name>-1``, of the first Tiny Linux. Its machine is given away and taken back by the engine."""
    template, cluster = key("templates", "Tiny Linux", "1"), key("clusters", "main")
    pool = _put(world, "vmpools", name, size=1, cluster=cluster, template=template)
    plant(world, f"{name}-1", template=template, pool=pool["id"])
    return pool


def _planted_disk(world: World, vm: Record, index: int, size: int) -> dict[str, Any]:
    domain = (
        key("storagedomains", "vmstore")
        if vm["cluster"] == key("clusters", "main")
        else key("storagedomains", "labstore")
    )
    record = disks.new_disk(
        world, key=key("disks", vm["id"], str(index)), image=key("images", vm["id"], str(index)),
        alias=f"{vm['name']}_Disk{index + 1}", size=size, domain=domain, status="ok",
    )  # fmt: skip
    world.backing.create_disk(Disk(record["id"], size, name=record["alias"]))
    disks.settle(world, world.store.put("disks", record))
    return {"disk": record["id"], "bootable": not index, "active": True, "interface": "virtio", "read_only": False}


def switch_on(world: World, vm: Record, status: str) -> None:
    """Let a planted machine run, in this status."""
    host = next(one for one in world.all("hosts") if one["cluster"] == vm["cluster"])
    world.backing.start(as_machine(world, vm, None))
    world.save("vms", vm, status=status, host=host["id"], start_time=world.now())
