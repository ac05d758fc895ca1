"""What the engine does with a machine's disks and cards."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from tests.doubles.ovirt_engine import disks, jobs, rights
from tests.doubles.ovirt_engine.asked import Answer, Asked, Given, Refused, no_such, not_allowed
from tests.doubles.ovirt_engine.bodies import machines, storage
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
CARDS_MAY_CHANGE = ("down", "up", "image_locked")
ADD_CARD = "Cannot add Interface"


def machine(world: World, asked: Asked) -> Record:
    """The VM that a path names. Raises ``Refused`` where it is not there."""
    found = world.find("vms", asked.names["vm"])
    if found is None:
        raise Refused(404)
    return found


# -- disks


def attach(world: World, asked: Asked) -> Answer:
    """``POST /vms/{id}/diskattachments``: a disk that there is, or one that is made with it."""
    vm, given = machine(world, asked), asked.given
    rights.require(world, asked, "configure_vm_storage", *rights.around(world, vm))
    if vm["status"] not in ("down", "up", "paused"):
        raise not_allowed(f"Cannot attach Virtual Disk: VM is in {vm['status']} status.")
    disk = given.one("disk")
    if disk is None:
        raise Refused(400, "DiskAttachment [disk] required for add", "Incomplete parameters")
    if given.text("interface") not in ("virtio", "virtio_scsi", "sata", "ide"):
        raise Refused(400, "DiskAttachment [interface] required for add", "Incomplete parameters")
    key = given.key("disk")
    record = _existing(world, vm, key) if key and not disk.text("provisioned_size") else _fresh(world, asked, vm, disk)
    flags = {
        name: given.flag(name, default=default)
        for name, default in (("active", True), ("bootable", False), ("read_only", False))
    }
    if flags["bootable"] and any(one["bootable"] for one in vm["attachments"]):
        raise not_allowed(f"Cannot attach Virtual Disk. The VM {vm['name']} already has a bootable disk.")
    attachment = {"disk": record["id"], "interface": given.text("interface"), **flags}
    world.save("vms", vm, attachments=[*vm["attachments"], attachment])
    return Answer(201, one=("disk_attachment", storage.attachment(vm["id"], "vms", attachment)))


def _existing(world: World, vm: Record, key: str) -> Record:
    record = world.find("disks", key)
    if record is None:
        raise no_such(key)
    if record["status"] == "locked":
        raise not_allowed(
            f"Cannot attach Virtual Disk: The following disks are locked: {record['alias']}. Please try again in a few minutes."
        )
    if any(one["disk"] == key for one in vm["attachments"]):
        raise not_allowed("Cannot attach Virtual Disk. The disk is already attached to the VM.")
    if disks.users_of(world, key) and not record["shareable"]:
        raise not_allowed("Cannot attach Virtual Disk. The disk is not shareable and is already attached to a VM.")
    domain = world.find("storagedomains", record["storage_domains"][0]) or {}
    cluster = world.find("clusters", vm["cluster"]) or {}
    if domain.get("data_center") != cluster.get("data_center"):
        raise not_allowed(
            "Cannot attach Virtual Disk. The disk's Storage Domain is in another Data Center than the VM."
        )
    return record


def _fresh(world: World, asked: Asked, vm: Record, given: Given) -> Record:
    record = disks.build(world, asked, given, "add Virtual Disk")
    job = jobs.begin(world, asked, f"Adding Disk {record['alias']} to VM {vm['name']}", doing="Creating Volume")
    world.store.put("disks", record)
    world.later(world.settings.disk_seconds, "disk_made", disk=record["id"], job=job["id"], why=world.take_failure())
    return record


def update_attachment(world: World, asked: Asked) -> Answer:
    """``PUT /vms/{id}/diskattachments/{id}``: bootable, active, interface; alias and size of the disk itself."""
    vm, given = machine(world, asked), asked.given
    rights.require(world, asked, "configure_vm_storage", *rights.around(world, vm))
    attachment = next((one for one in vm["attachments"] if one["disk"] == asked.names["disk"]), None)
    if attachment is None:
        raise Refused(404)
    for name in ("bootable", "active"):
        attachment[name] = given.flag(name, default=attachment[name])
    attachment["interface"] = given.text("interface") or attachment["interface"]
    if disk := given.one("disk"):
        disks.change(world, asked, disk)
    world.save("vms", vm)
    return Answer(one=("disk_attachment", storage.attachment(vm["id"], "vms", attachment)))


def detach(world: World, asked: Asked) -> Answer:
    """``DELETE /vms/{id}/diskattachments/{id}``: the disk stays unless ``detach_only=false``."""
    vm, key = machine(world, asked), asked.names["disk"]
    rights.require(world, asked, "configure_vm_storage", *rights.around(world, vm))
    attachment = next((one for one in vm["attachments"] if one["disk"] == key), None)
    if attachment is None:
        raise Refused(404)
    if vm["status"] != "down" and attachment["active"]:
        raise not_allowed("Cannot detach Virtual Disk from VM. The disk is active.")
    if "detach_only" in asked.query and not asked.flag("detach_only"):
        asked.names["disk"] = key
        return disks.remove(world, asked)
    world.save("vms", vm, attachments=[one for one in vm["attachments"] if one["disk"] != key])
    return Answer()


# -- cards


def add_card(world: World, asked: Asked) -> Answer:
    """``POST /vms/{id}/nics``; also while the machine's disks are locked."""
    vm, given = machine(world, asked), asked.given
    rights.require(world, asked, "configure_vm_network", *rights.around(world, vm))
    if vm["status"] not in CARDS_MAY_CHANGE:
        raise not_allowed(f"{ADD_CARD}. VM must be in status Down, Up or Image Locked.")
    name = given.text("name")
    if not name:
        raise Refused(400, "Nic [name] required for add", "Incomplete parameters")
    if any(one["name"] == name for one in vm["nics"]):
        raise not_allowed(
            f"{ADD_CARD}. The Network Interface name is already in use, please choose a unique name and try again."
        )
    record = card(world, vm["cluster"], given)
    world.save("vms", vm, nics=[*vm["nics"], record])
    world.event(932, f"Interface {name} (VirtIO) was added to VM {vm['name']}. (User: {disks.who(world, asked)})",
                correlation=asked.correlation, vm=vm["id"], user=asked.user)  # fmt: skip
    return Answer(201, one=("nic", machines.nic(vm["id"], "vms", record)))


def card(world: World, cluster: str, given: Given) -> dict[str, Any]:
    """The record of a card that a request describes. Raises ``Refused``."""
    profile = given.key("vnic_profile")
    if profile:
        _check_profile(world, cluster, profile)
    mac = (given.text("mac/address") or "").lower() or free_mac(world)
    if not MAC.fullmatch(mac):
        raise not_allowed(f"Invalid MAC address {mac}")
    if mac in macs(world):
        raise not_allowed(f"{ADD_CARD}. MAC Address {mac} is already in use.")
    return {
        "id": str(uuid4()), "name": given.text("name") or "nic1", "mac": mac, "profile": profile,
        "interface": given.text("interface") or "virtio", "linked": given.flag("linked", default=True),
        "plugged": given.flag("plugged", default=True),
    }  # fmt: skip


def _check_profile(world: World, cluster: str, profile: str) -> None:
    found = world.find("vnicprofiles", profile)
    if found is None:
        raise not_allowed("The specified VM network interface profile doesn't exist.")
    network = world.find("networks", found["network"]) or {}
    if cluster not in network.get("clusters", ()):
        raise not_allowed(f"{ADD_CARD}. The network {network.get('name')} is not attached to the VM's cluster.")


def macs(world: World) -> set[str]:
    return {one["mac"] for vm in world.store.of("vms").values() for one in vm["nics"]}


def free_mac(world: World) -> str:
    """The next address of the engine's pool."""
    taken = macs(world)
    for number in range(256**3):
        found = f"56:6f:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:00"
        if found not in taken:
            return found
    raise not_allowed("Not enough MAC addresses left in MAC Address Pool.")


def update_card(world: World, asked: Asked) -> Answer:
    """``PUT /vms/{id}/nics/{id}``: its profile, link and plug."""
    vm, given = machine(world, asked), asked.given
    rights.require(world, asked, "configure_vm_network", *rights.around(world, vm))
    record = next((one for one in vm["nics"] if one["id"] == asked.names["nic"]), None)
    if record is None:
        raise Refused(404)
    if profile := given.key("vnic_profile"):
        _check_profile(world, vm["cluster"], profile)
        record["profile"] = profile
    for name in ("linked", "plugged"):
        record[name] = given.flag(name, default=record[name])
    world.save("vms", vm)
    return Answer(one=("nic", machines.nic(vm["id"], "vms", record)))


def remove_card(world: World, asked: Asked) -> Answer:
    vm = machine(world, asked)
    rights.require(world, asked, "configure_vm_network", *rights.around(world, vm))
    record = next((one for one in vm["nics"] if one["id"] == asked.names["nic"]), None)
    if record is None:
        raise Refused(404)
    if vm["status"] not in CARDS_MAY_CHANGE:
        raise not_allowed("Cannot remove Interface. VM must be in status Down, Up or Image Locked.")
    if vm["status"] == "up" and record["plugged"]:
        raise not_allowed("Cannot remove active device. Please deactivate it first.")
    world.save("vms", vm, nics=[one for one in vm["nics"] if one["id"] != asked.names["nic"]])
    return Answer()
