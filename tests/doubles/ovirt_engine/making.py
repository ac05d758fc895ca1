"""How the engine makes, changes and removes machines."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from tests.doubles.ovirt_engine import cards, disks, jobs, rights
from tests.doubles.ovirt_engine.asked import Answer, Asked, Given, Misused, Refused, no_such, not_allowed
from tests.doubles.ovirt_engine.backing import BackingFailed
from tests.doubles.ovirt_engine.bodies import body
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

BLANK = "00000000-0000-0000-0000-000000000000"
NAME = re.compile(r"[\w.-]+")
LONGEST_NAME = 255
MIB = 1024**2
INITIAL = (
    "host_name", "user_name", "root_password", "authorized_ssh_keys", "custom_script", "domain", "timezone",
    "dns_servers", "dns_search",
)  # fmt: skip
FROM_TEMPLATE = (
    "memory", "memory_max", "memory_guaranteed", "cores", "sockets", "threads", "os_type", "type", "architecture",
    "large_icon", "small_icon", "initialization",
)  # fmt: skip


def named(world: World, kind: str, given: Given, path: str, *, needed: str = "") -> Record | None:
    """What an element refers to by id or name. Raises ``Refused`` where it is not there, or missing and ``needed``."""
    key, name = given.key(path), given.text(f"{path}/name")
    if key:
        found = world.find(kind, key)
    elif name:
        found = next((one for one in world.all(kind) if one["name"] == name), None)
    elif needed:
        raise Refused(400, f"{needed} required for add", "Incomplete parameters")
    else:
        return None
    if found is None:
        raise no_such(key or name or "")
    return found


def add(world: World, asked: Asked) -> Answer:
    """``POST /vms``, from a template or from Blank."""
    given = asked.given
    cluster = named(world, "clusters", given, "cluster", needed="Vm [cluster.id|name]")
    name = given.text("name")
    if not name:
        raise Refused(400, "Vm [name] required for add", "Incomplete parameters")
    template = named(world, "templates", given, "template", needed="Vm [template.id|name]")
    assert cluster is not None
    assert template is not None
    _check_use(given, template)
    _check(world, asked, name, cluster, template)
    clone = asked.flag("clone") and template["id"] != BLANK
    copies = _copies(world, asked, given, name, cluster, template, clone=clone)
    vm = new_machine(world, name=name, cluster=cluster["id"], template=template, clone=clone)
    _describe(vm, given)
    vm["initialization"] = initialization(given.one("initialization")) or vm["initialization"]
    vm["attachments"] = [attachment for attachment, _ in copies]
    vm["nics"] = [_copied_card(world, vm, one) for one in template["nics"]]
    return _accept(world, asked, vm, [disk for _, disk in copies], template, clone=clone)


def _check_use(given: Given, template: Record) -> None:
    """What an engine would leave out without a word is a mistake of whoever sends it."""
    if given.all("nics/nic"):
        raise Misused("POST /vms: an engine ignores nics here; they are added with POST /vms/{id}/nics")
    if template["id"] == BLANK and given.all("disk_attachments/disk_attachment"):
        raise Misused("POST /vms: an engine ignores disk_attachments with Blank; use POST /vms/{id}/diskattachments")


def _check(world: World, asked: Asked, name: str, cluster: Record, template: Record) -> None:
    rights.require(world, asked, "create_vm", cluster["id"], cluster["data_center"])
    zone = cluster["data_center"]
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise not_allowed('Cannot add VM. The VM name must be formed of alphanumeric characters, numbers or "-_.".')
    if taken(world, name, zone):
        raise not_allowed("Cannot add VM. The VM name is already in use, please choose a unique name and try again.")
    if template["status"] != "ok":
        raise not_allowed("Cannot add VM. Template's Image is locked (temporarily).")
    if template["cluster"]:
        home = world.find("clusters", template["cluster"]) or {}
        if home.get("data_center") != zone:
            raise not_allowed("Cannot add VM. The Template is not in the same Data Center as the Cluster.")


def taken(world: World, name: str, zone: str, *, but: str = "") -> bool:
    """Whether a VM of a data center has a name."""
    clusters = {one["id"] for one in world.all("clusters") if one["data_center"] == zone}
    machines = world.store.of("vms").values()
    return any(vm["name"] == name and vm["cluster"] in clusters and vm["id"] != but for vm in machines)


def _copies(
    world: World, asked: Asked, given: Given, name: str, cluster: Record, template: Record, *, clone: bool
) -> list[tuple[Record, Record]]:
    """The disks that a VM gets of its template's: each with its attachment. Raises ``Refused``."""
    wanted = {one.key("disk"): one.one("disk") for one in given.all("disk_attachments/disk_attachment")}
    known = {one["disk"] for one in template["attachments"]}
    if unknown := set(wanted) - known:
        raise Refused(404, f"Entity not found: Disk {', '.join(sorted(unknown))}")
    found = []
    for number, attachment in enumerate(template["attachments"], 1):
        source = world.find("disks", attachment["disk"])
        assert source is not None
        chosen = wanted.get(source["id"]) or Given(None)
        domain = disks.domain_for(world, chosen, source["storage_domains"][0])
        _check_domain(world, asked, domain, cluster, source, clone=clone)
        disk = disks.new_disk(
            world, alias=chosen.text("alias") or chosen.text("name") or f"{name}_Disk{number}",
            size=source["provisioned_size"], domain=domain["id"], base="" if clone else source["id"],
            format=(chosen.text("format") if clone else None) or "cow", description=source["description"],
            sparse=chosen.flag("sparse", default=True) if clone else True,
        )  # fmt: skip
        found.append(({**attachment, "disk": disk["id"]}, disk))
    return found


def _check_domain(world: World, asked: Asked, domain: Record, cluster: Record, source: Record, *, clone: bool) -> None:
    rights.require(world, asked, "create_disk", domain["id"], domain["data_center"])
    if domain["data_center"] != cluster["data_center"]:
        raise not_allowed("Cannot add VM. The Storage Domain is not in the same Data Center as the Cluster.")
    if not clone and domain["id"] not in source["storage_domains"]:
        raise not_allowed("Cannot add VM. Provided wrong storage domain, which is not related to disk.")
    disks.check_room(world, domain, source["provisioned_size"] if clone else 0, "add VM")


def new_machine(world: World, *, name: str, cluster: str, template: Record, clone: bool = False) -> Record:
    """The record of a machine, down, as its template has it."""
    kept: dict[str, Any] = {one: template[one] for one in FROM_TEMPLATE}
    return {
        "id": str(uuid4()), "name": name, "description": "", "comment": "", "cluster": cluster, "status": "down",
        "status_detail": "", "stop_reason": "", "host": None, "creation_time": world.now(), "start_time": None,
        "stop_time": None, "delete_protected": False, "run_once": False, "next_run": {}, "instance_type": "",
        "template": BLANK if clone else template["id"], "original_template": template["id"], "pool": "", "quota": "",
        "attachments": [], "nics": [], "snapshot": str(uuid4()), "cdrom": str(uuid4()), "console": str(uuid4()),
        "initialized": False, "cpu_profile": (world.find("clusters", cluster) or {}).get("cpu_profile", ""), **kept,
    }  # fmt: skip


def _describe(vm: Record, given: Given) -> None:
    """Take over what a request says of a machine."""
    for one in ("description", "comment"):
        vm[one] = given.text(one) if given.text(one) is not None else vm[one]
    vm["delete_protected"] = given.flag("delete_protected", default=vm["delete_protected"])
    vm["type"] = given.text("type") or vm["type"]
    vm["os_type"] = given.text("os/type") or vm["os_type"]
    vm.update(sizes(given, vm))


def sizes(given: Given, vm: Record) -> dict[str, Any]:
    """Memory and processors that a request asks for. Raises ``Refused`` where they cannot be."""
    memory = given.number("memory") or vm["memory"]
    most = given.number("memory_policy/max") or (vm["memory_max"] if memory == vm["memory"] else 4 * memory)
    least = given.number("memory_policy/guaranteed") or min(vm["memory_guaranteed"], memory)
    if memory % MIB:
        raise not_allowed("Cannot add VM. Memory size must be a whole number of MiB.")
    if memory > most or least > memory:
        raise not_allowed(
            "Cannot add VM. Physical Memory Guaranteed cannot exceed Memory Size, nor that Maximum Memory."
        )
    parts = {one: given.number(f"cpu/topology/{one}") or vm[one] for one in ("cores", "sockets", "threads")}
    return {"memory": memory, "memory_max": most, "memory_guaranteed": least, **parts}


def initialization(given: Given | None) -> dict[str, Any] | None:
    """What a request gives for cloud-init."""
    if given is None:
        return None
    found: dict[str, Any] = {name: given.text(name) for name in INITIAL if given.text(name) is not None}
    found["regenerate_ssh_keys"] = given.flag("regenerate_ssh_keys")
    return found


def _copied_card(world: World, vm: Record, card: Record) -> Record:
    taken_here = {one["mac"] for one in vm["nics"]}
    mac = cards.free_mac(world)
    while mac in taken_here:
        mac = f"{mac[:-2]}{int(mac[-2:], 16) + 1:02x}"
    return {**card, "id": str(uuid4()), "mac": mac}


def _accept(world: World, asked: Asked, vm: Record, copies: list[Record], template: Record, *, clone: bool) -> Answer:
    cluster = (world.find("clusters", vm["cluster"]) or {})["name"]
    doing = "Copying Image" if clone else "Creating Image from Template"
    text = f"Creating VM {vm['name']} from Template {template['name']} in Cluster {cluster}"
    job = jobs.begin(world, asked, text, doing=doing if copies else "")
    said = {"correlation": job["correlation_id"], "vm": vm["id"], "cluster": vm["cluster"], "user": asked.user,
            "template": template["id"]}  # fmt: skip
    if not copies:
        world.store.put("vms", vm)
        world.event(34, f"VM {vm['name']} was created by {disks.who(world, asked)}.", **said)
        jobs.finish(world, job["id"])
        return Answer(201, one=body(world, "vms", vm))
    vm["status"] = "image_locked"
    world.store.put("vms", vm)
    for disk in copies:
        world.store.put("disks", disk)
    world.event(37, f"VM {vm['name']} creation was initiated by {disks.who(world, asked)}.", **said)
    seconds = world.settings.clone_seconds if clone else world.settings.thin_seconds
    sources = {disk["id"]: one["disk"] for disk, one in zip(copies, template["attachments"], strict=True)}
    world.later(seconds / 2, "job_progress", job=job["id"], percent=50)
    world.later(
        seconds, "vm_made", vm=vm["id"], job=job["id"], sources=sources, clone=clone, why=world.take_failure(),
        said=said,
    )  # fmt: skip
    return Answer(202, one=body(world, "vms", vm))


def made(world: World, vm: str, job: str, sources: dict[str, str], clone: bool, why: str, said: dict[str, str]) -> None:
    """The hosts are done with a new machine's disks."""
    record = world.find("vms", vm)
    if record is None:
        return jobs.finish(world, job, failed=True)
    if not why:
        why = _make_disks(world, sources, clone=clone)
    name = record["name"]
    if why:
        for disk in sources:
            world.backing.remove_disk(disk)
            world.store.drop("disks", disk)
        world.store.drop("vms", vm)
        world.event(60, f"Failed to complete VM {name} creation. {why}", severity="error", **said)
    else:
        for disk in sources:
            disks.settle(world, world.store.of("disks")[disk])
        world.save("vms", record, status="down")
        world.event(53, f"VM {name} creation has been completed.", **said)
    jobs.finish(world, job, failed=bool(why))
    return None


def _make_disks(world: World, sources: dict[str, str], *, clone: bool) -> str:
    """Have the hosts make the disks; what went wrong, or nothing."""
    try:
        for disk, source in sources.items():
            volume = disks.volume(world.store.of("disks")[disk])
            if clone:
                world.backing.copy_disk(volume, source=source)
            else:
                world.backing.create_disk(volume, base=source)
    except BackingFailed as error:
        return str(error)
    return ""


def update(world: World, asked: Asked) -> Answer:
    """``PUT /vms/{id}``: at once what a running machine can take, the rest at its next run."""
    vm, given = cards.machine(world, asked), asked.given
    rights.require(world, asked, "edit_vm_properties", *rights.around(world, vm))
    if vm["status"] == "image_locked":
        raise not_allowed("Cannot edit VM. Related operation is currently in progress. Please try again later.")
    name = given.text("name")
    cluster = world.find("clusters", vm["cluster"]) or {}
    if name and name != vm["name"]:
        if not NAME.fullmatch(name):
            raise not_allowed(
                'Cannot edit VM. The VM name must be formed of alphanumeric characters, numbers or "-_.".'
            )
        if taken(world, name, cluster["data_center"], but=vm["id"]):
            raise not_allowed(
                "Cannot edit VM. The VM name is already in use, please choose a unique name and try again."
            )
        vm["name"] = name
    wanted = sizes(given, vm)
    changed = {one: value for one, value in wanted.items() if value != vm[one]}
    if changed and vm["host"]:
        vm["next_run"] = {**vm["next_run"], **changed}
        changed = {}
    for one in ("description", "comment"):
        vm[one] = given.text(one) if given.text(one) is not None else vm[one]
    vm["delete_protected"] = given.flag("delete_protected", default=vm["delete_protected"])
    vm["initialization"] = initialization(given.one("initialization")) or vm["initialization"]
    world.save("vms", vm, **changed)
    job = jobs.quick(world, asked, f"Editing VM {vm['name']}")
    world.event(35, f"VM {vm['name']} configuration was updated by {disks.who(world, asked)}.",
                correlation=job["correlation_id"], vm=vm["id"], cluster=vm["cluster"], user=asked.user)  # fmt: skip
    return Answer(one=body(world, "vms", vm))


def remove(world: World, asked: Asked) -> Answer:
    """``DELETE /vms/{id}``: with its disks unless ``detach_only``, which a machine of a template refuses."""
    vm = cards.machine(world, asked)
    rights.require(world, asked, "delete_vm", *rights.around(world, vm))
    keeps = asked.flag("detach_only")
    if vm["delete_protected"]:
        raise not_allowed(
            "Cannot remove VM. Delete protection is enabled. In order to delete, disable Delete protection first."
        )
    if keeps and vm["template"] != BLANK:
        raise not_allowed("Cannot remove VM with detaching disks, VM is based from template.")
    if vm["status"] == "suspended":
        raise not_allowed("Cannot remove VM when its status is not Down.")
    if vm["status"] not in ("down", "image_locked"):
        raise not_allowed("Cannot remove VM. VM is running.")
    locked = [one["alias"] for one in _disks_of(world, vm) if one["status"] == "locked"]
    if vm["status"] == "image_locked":
        raise not_allowed("Cannot remove VM: VM is locked. Please try again in a few minutes.")
    if locked:
        raise not_allowed(
            f"Cannot remove VM: The disks {', '.join(locked)} are locked. Please try again in a few minutes."
        )
    job = jobs.begin(world, asked, f"Removing VM {vm['name']} from system", doing="Removing Image")
    world.store.drop("vms", vm["id"])
    world.event(113, f"VM {vm['name']} was successfully removed.", correlation=job["correlation_id"], vm=vm["id"],
                cluster=vm["cluster"], user=asked.user)  # fmt: skip
    going = [] if keeps else _disks_of(world, vm)
    for disk in going:
        disks.going(world, disk, job, vm=vm["name"])
    if not going:
        jobs.finish(world, job["id"])
    return Answer()


def _disks_of(world: World, vm: Record) -> list[Record]:
    found = (world.find("disks", one["disk"]) for one in vm["attachments"])
    return [one for one in found if one]
