"""What the engine does with disks: make, attach, detach, remove."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.doubles.ovirt_engine import jobs, rights
from tests.doubles.ovirt_engine.asked import Answer, Asked, Given, Refused, no_such, not_allowed
from tests.doubles.ovirt_engine.backing import BackingFailed, Disk
from tests.doubles.ovirt_engine.bodies import body, storage
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

GIB = 1024**3
COW_OVERHEAD = 1.1


def volume(record: Record) -> Disk:
    """A disk as the backing knows it."""
    return Disk(
        record["id"], record["provisioned_size"], record["format"], record["sparse"], record["alias"], record["holds"]
    )


def new_disk(
    world: World, *, key: str = "", image: str = "", alias: str, size: int, domain: str, **more: object
) -> Record:
    """The record of a disk that is being made."""
    return {
        "id": key or str(uuid4()), "image_id": image or str(uuid4()), "alias": alias, "description": "", "comment": "",
        "format": "cow", "sparse": True, "provisioned_size": size, "actual_size": 0, "status": "locked",
        "content_type": "data", "shareable": False, "wipe_after_delete": False, "storage_domains": [domain],
        "disk_profile": (world.find("storagedomains", domain) or {}).get("disk_profile", domain), "quota": "", "base": "", "holds": "",
        "created": world.now(), **more,
    }  # fmt: skip


def domain_for(world: World, given: Given, default: str = "") -> Record:
    """The storage domain that a disk is to be in. Raises ``Refused``."""
    key = given.key("storage_domains/storage_domain") or given.key("storage_domain")
    name = given.text("storage_domains/storage_domain/name") or ""
    named = [one["id"] for one in world.all("storagedomains") if name and one["name"] == name]
    key = key or (named[0] if named else default)
    if not key:
        raise Refused(400, "Disk [storageDomains.storageDomain[0].id|name] required for add", "Incomplete parameters")
    found = world.find("storagedomains", key)
    if found is None:
        raise no_such(key)
    return found


def check_room(world: World, domain: Record, needed: int, what: str) -> None:
    """Raises the engine's refusal where a storage domain is not there for disks, or full."""
    if domain["type"] != "data":
        raise not_allowed(f"Cannot {what}. The relevant Storage Domain is not a Data Domain.")
    if domain["status"] != "active":
        raise not_allowed(
            f"Cannot {what}. The relevant Storage Domain is inaccessible.\n-Please handle Storage Domain issues and retry the operation."
        )
    free = domain["total"] - domain["base_used"] - storage.used(world, domain)
    if domain.get("full") or free - needed < domain["critical_gib"] * GIB:
        raise not_allowed(f"Cannot {what}. Low disk space on Storage Domain {domain['name']}.")


def users_of(world: World, key: str) -> list[Record]:
    """The VMs that have a disk."""
    return [vm for vm in world.all("vms") if any(one["disk"] == key for one in vm["attachments"])]


def add(world: World, asked: Asked) -> Answer:
    """``POST /disks``: a disk of its own, which takes ``id`` and ``image_id`` as given."""
    record = build(world, asked, asked.given, "add Virtual Disk")
    job = jobs.begin(world, asked, f"Creating Disk {record['alias']}", doing="Creating Volume")
    world.store.put("disks", record)
    world.event(
        2021, f"Add-Disk operation of '{record['alias']}' was initiated by {who(world, asked)}.",
        correlation=job["correlation_id"], storage_domain=record["storage_domains"][0], user=asked.user,
    )  # fmt: skip
    world.later(world.settings.disk_seconds, "disk_made", disk=record["id"], job=job["id"], why=world.take_failure())
    return Answer(202, one=body(world, "disks", record))


def build(world: World, asked: Asked, given: Given, what: str) -> Record:
    """The record of a disk that a request describes. Raises ``Refused``."""
    size = given.number("provisioned_size")
    if not size or size < 0:
        raise Refused(400, "Disk [provisionedSize] required for add", "Incomplete parameters")
    if given.text("format") not in ("cow", "raw"):
        raise Refused(400, "Disk [format] required for add", "Incomplete parameters")
    domain = domain_for(world, given)
    rights.require(world, asked, "create_disk", domain["id"], domain["data_center"])
    key, image = (given.element.get("id", "") if given.element is not None else ""), given.text("image_id") or ""
    for one in (key, image):
        check_id(one)
    same = [one for one in world.all("disks") if (key and one["id"] == key) or (image and one["image_id"] == image)]
    if same:
        raise not_allowed(f"Cannot {what}. Disk with the same identifier already exists.")
    sparse = given.flag("sparse", default=given.text("format") == "cow")
    check_room(world, domain, 0 if sparse else size, what)
    alias = given.text("alias") or given.text("name") or f"disk-{uuid4().hex[:8]}"
    return new_disk(
        world, key=key, image=image, alias=alias, size=size, domain=domain["id"], format=given.text("format"),
        sparse=sparse, description=given.text("description") or "",
    )  # fmt: skip


def check_id(text: str) -> None:
    if not text:
        return
    try:
        UUID(text)
    except ValueError:
        raise Refused(400, f"Invalid UUID string: {text}", "Malformed value") from None


def made(world: World, disk: str, job: str, why: str = "") -> None:
    """The hosts are done with a new disk."""
    record = world.find("disks", disk)
    if record is None:
        return jobs.finish(world, job, failed=True)
    try:
        if not why:
            world.backing.create_disk(volume(record), base=record["base"])
    except BackingFailed as error:
        why = str(error)
    correlation = (world.find("jobs", job) or {}).get("correlation_id", "")
    if why:
        world.store.drop("disks", disk)
        drop_from_machines(world, disk)
        world.event(2022, f"Add-Disk operation failed to complete. {why}", severity="error", correlation=correlation)
    else:
        settle(world, record)
        world.event(2020, f"The disk '{record['alias']}' was successfully added.", correlation=correlation,
                    storage_domain=record["storage_domains"][0])  # fmt: skip
    jobs.finish(world, job, failed=bool(why))
    return None


def settle(world: World, record: Record) -> None:
    """A disk is whole: unlocked, with the size it takes."""
    size = world.backing.actual_size(record["id"])
    if size is None:
        size = record["provisioned_size"] if not record["sparse"] else 200704
    world.save("disks", record, status="ok", actual_size=size)


def drop_from_machines(world: World, disk: str) -> None:
    for vm in users_of(world, disk):
        world.save("vms", vm, attachments=[one for one in vm["attachments"] if one["disk"] != disk])


def update(world: World, asked: Asked) -> Answer:
    """``PUT /disks/{id}``."""
    return Answer(one=body(world, "disks", change(world, asked, asked.given)))


def change(world: World, asked: Asked, given: Given) -> Record:
    """Change a disk's alias, description or size, which only grows. Raises ``Refused``."""
    record = world.find("disks", asked.names["disk"])
    if record is None:
        raise Refused(404)
    rights.require(world, asked, "edit_disk_properties", record["id"], *record["storage_domains"])
    if record["status"] == "locked":
        raise not_allowed(
            f"Cannot edit Virtual Disk: The following disks are locked: {record['alias']}. Please try again in a few minutes."
        )
    size = given.number("provisioned_size") or record["provisioned_size"]
    if size < record["provisioned_size"]:
        raise not_allowed("Cannot edit Virtual Disk. New disk size must be larger than the current disk size.")
    return world.save(
        "disks", record, provisioned_size=size, alias=given.text("alias") or given.text("name") or record["alias"],
        description=given.text("description") if given.text("description") is not None else record["description"],
    )  # fmt: skip


def remove(world: World, asked: Asked) -> Answer:
    """``DELETE /disks/{id}``: also from the machines that have it, if they are down."""
    record = world.find("disks", asked.names["disk"])
    if record is None:
        raise Refused(404)
    owners = users_of(world, record["id"])
    rights.require(world, asked, "delete_disk", record["id"], *record["storage_domains"], *(vm["id"] for vm in owners))
    if record["status"] == "locked":
        raise not_allowed(
            f"Cannot remove Virtual Disk: The following disks are locked: {record['alias']}. Please try again in a few minutes."
        )
    if any(one["disk"] == record["id"] for template in world.all("templates") for one in template["attachments"]):
        raise not_allowed("Cannot remove Virtual Disk: The disk is used by a Template.")
    if any(vm["status"] != "down" for vm in owners):
        raise not_allowed("Cannot remove Virtual Disk. At least one of the VMs is not down.")
    job = jobs.begin(world, asked, f"Removing Disk {record['alias']}", doing="Removing Volume")
    going(world, record, job)
    return Answer()


def going(world: World, record: Record, job: Record, *, vm: str = "") -> None:
    """The hosts begin to remove a disk; ``vm``: the name of the machine that is removed with it."""
    world.save("disks", record, status="locked")
    world.later(world.settings.remove_seconds, "disk_gone", disk=record["id"], job=job["id"], vm=vm,
                fails=world.take_removal_failure())  # fmt: skip


def _stays(world: World, record: Record, job: str, vm: str) -> None:
    """The hosts could not remove a disk, which is of no use any more."""
    world.save("disks", record, status="illegal")
    domain = (world.find("storagedomains", record["storage_domains"][0]) or {}).get("name", "")
    text = f"Failed to remove disk {record['alias']} from storage domain {domain}."
    if vm:
        text = (
            f"VM {vm} has been removed, but the following disks could not be removed: {record['alias']}. "
            "These disks will appear in the main disks tab in illegal state, please remove manually when possible."
        )
    correlation = (world.find("jobs", job) or {}).get("correlation_id", "")
    world.event(172 if vm else 2015, text, severity="warning", correlation=correlation)
    jobs.finish(world, job, failed=True)


def gone(world: World, disk: str, job: str, vm: str = "", *, fails: bool = False) -> None:
    if fails and (there := world.find("disks", disk)):
        return _stays(world, there, job, vm)
    record = world.store.drop("disks", disk)
    drop_from_machines(world, disk)
    world.backing.remove_disk(disk)
    if record:
        world.event(2014, f"Disk {record['alias']} was successfully removed from domain.",
                    correlation=(world.find("jobs", job) or {}).get("correlation_id", ""),
                    storage_domain=record["storage_domains"][0])  # fmt: skip
    return jobs.finish(world, job)


def who(world: World, asked: Asked) -> str:
    user = world.find("users", asked.user)
    return f"{user['name']}@{user['profile']}-authz" if user else "unknown"
