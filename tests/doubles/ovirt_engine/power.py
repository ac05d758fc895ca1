"""What the engine does with a machine's power, and the states that it passes through."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.doubles.ovirt_engine import disks, jobs, making, rights
from tests.doubles.ovirt_engine.asked import Answer, Asked, Refused, action, not_allowed
from tests.doubles.ovirt_engine.backing import BackingFailed, Card, Machine
from tests.doubles.ovirt_engine.bodies import machines
from tests.doubles.ovirt_engine.cards import machine
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

RUNS = (
    "wait_for_launch", "powering_up", "up", "reboot_in_progress", "powering_down", "paused", "saving_state",
    "restoring_state", "migrating", "not_responding",
)  # fmt: skip
# Who may be done what: an allow-list of the engine's matrix together with what its commands check.
ALLOWED = {
    "start": ("down", "suspended", "paused"),
    "stop": ("wait_for_launch", "powering_up", "up", "reboot_in_progress", "powering_down", "paused", "migrating",
             "suspended", "not_responding"),
    "shutdown": ("wait_for_launch", "powering_up", "up", "reboot_in_progress", "powering_down", "paused", "migrating",
                 "suspended", "not_responding"),
    "reboot": ("powering_up", "up"),
    "reset": ("powering_up", "up", "reboot_in_progress"),
    "suspend": ("up",),
}  # fmt: skip
VERBS = {"start": "run", "shutdown": "shut down", "suspend": "hibernate"}
PERMITS = {
    "start": "run_vm", "stop": "stop_vm", "shutdown": "shut_down_vm", "reboot": "reboot_vm", "reset": "reset_vm",
    "suspend": "hibernate_vm",
}  # fmt: skip
TICKETS = ("up", "paused", "powering_up", "powering_down", "reboot_in_progress")
WORDS = {"reboot_in_progress": "Reboot In Progress", "wait_for_launch": "Wait For Launch"}


def _prepared(world: World, asked: Asked, what: str) -> Record:
    """The machine of an action that may be done to it. Raises ``Refused``."""
    vm = machine(world, asked)
    rights.require(world, asked, PERMITS[what], *rights.around(world, vm))
    verb = VERBS.get(what, what)
    if vm["status"] == "image_locked":
        raise not_allowed(f"Cannot {verb} VM: VM is locked. Please try again in a few minutes.")
    if what == "start" and vm["status"] in RUNS and vm["status"] != "paused":
        raise not_allowed("Cannot run VM. VM is running.")
    if what in ("reboot", "reset", "suspend") and vm["status"] in ("down", "suspended"):
        raise not_allowed(f"Cannot {verb} VM. VM is not running.")
    if vm["status"] not in ALLOWED[what] and not (vm["status"] == "down" and what in ("stop", "shutdown")):
        raise not_allowed(f"Cannot {verb} VM because the VM is in {_words(vm['status'])} status.")
    return vm


def _words(status: str) -> str:
    return WORDS.get(status, status.replace("_", " ").title())


def _tell(world: World, asked: Asked, vm: Record, code: int, text: str, job: Record) -> None:
    world.event(code, text, correlation=job["correlation_id"], vm=vm["id"], cluster=vm["cluster"],
                host=vm["host"] or "", template=vm["template"], user=asked.user)  # fmt: skip


def start(world: World, asked: Asked) -> Answer:
    vm, given = _prepared(world, asked, "start"), asked.given
    if vm["status"] == "paused":
        world.save("vms", vm, status="up", status_detail="")
        return action()
    _check_start(world, vm)
    host = _host_for(world, vm)
    wanted = any(given.flag(name) for name in ("use_cloud_init", "use_initialization", "use_sysprep"))
    given_here = making.initialization(given.one("vm/initialization"))
    first = wanted or given_here is not None or not vm["initialized"]  # unasked, an engine does it at the first start
    seed = given_here or vm["initialization"] if first else None
    resumed = vm["status"] == "suspended"
    job = jobs.begin(world, asked, f"Launching VM {vm['name']}", doing="Running VM on a host")
    world.save(
        "vms", vm, status="restoring_state" if resumed else "wait_for_launch", host=host["id"],
        start_time=world.now(), stop_time=None, stop_reason="", status_detail="", run_once=given.one("vm") is not None,
    )  # fmt: skip
    world.later(world.settings.launch_seconds, "vm_launch", vm=vm["id"], job=job["id"], seed=seed, user=asked.user)
    _tell(
        world, asked, vm, 153, f"VM {vm['name']} was started by {disks.who(world, asked)} (Host: {host['name']}).", job
    )
    return action(job={"@href": f"/ovirt-engine/api/jobs/{job['id']}", "@id": job["id"]})


def _check_start(world: World, vm: Record) -> None:
    found = [(one, world.find("disks", one["disk"])) for one in vm["attachments"] if one["active"]]
    locked = [disk["alias"] for _, disk in found if disk and disk["status"] == "locked"]
    if locked:
        raise not_allowed(
            f"Cannot run VM: The disks {', '.join(locked)} are locked. Please try again in a few minutes."
        )
    if not any(one["bootable"] for one, _ in found):
        raise not_allowed(
            "Cannot run VM without at least one bootable disk.\nAlternatives:\n\t-Create a disk for this VM, and rerun the VM."
        )
    if any(disk and disk["status"] == "illegal" for _, disk in found):
        raise not_allowed("Cannot run VM. VM's Image might be corrupted.")


def _host_for(world: World, vm: Record) -> Record:
    """The host with the most free memory in the machine's cluster. Raises ``Refused`` where none has room."""
    best, room = None, 0
    for host in world.all("hosts"):
        if host["cluster"] == vm["cluster"] and host["status"] == "up":
            taken = sum(one["memory"] for one in world.all("vms") if one["host"] == host["id"])
            free = int(host["memory"] * 2) - taken
            if free >= vm["memory"] and free > room:
                best, room = host, free
    if best is None:
        raise not_allowed(
            "Cannot run VM. There is no host that satisfies current scheduling constraints. See below for details:"
        )
    return best


def launched(world: World, vm: str, job: str, seed: dict[str, Any] | None, user: str) -> None:
    """The host has started the machine, or could not."""
    record = world.find("vms", vm)
    if record is None or record["status"] not in ("wait_for_launch", "restoring_state"):
        return jobs.finish(world, job, failed=True)
    record.update(record["next_run"])
    record["next_run"] = {}
    try:
        world.backing.start(as_machine(world, record, seed))
    except BackingFailed as error:
        _down(world, record, 119, f"VM {record['name']} is down with error. Exit message: {error}.", detail=str(error))
        return jobs.finish(world, job, failed=True)
    resumed = record["status"] == "restoring_state"
    world.save("vms", record, status="up" if resumed else "powering_up", initialized=True)
    if not resumed:
        world.later(world.settings.boot_seconds, "vm_booted", vm=vm, start=record["start_time"])
    host = world.find("hosts", record["host"]) or {}
    correlation = (world.find("jobs", job) or {}).get("correlation_id", "")
    world.event(32, f"VM {record['name']} started on Host {host.get('name')}", correlation=correlation, vm=vm,
                cluster=record["cluster"], host=record["host"], template=record["template"], user=user)  # fmt: skip
    return jobs.finish(world, job)


def as_machine(world: World, vm: Record, seed: dict[str, Any] | None) -> Machine:
    """A machine as its host is told of it; ``seed``: what cloud-init is given at this start."""
    ordered = sorted((one for one in vm["attachments"] if one["active"]), key=lambda one: not one["bootable"])
    found = []
    for card in vm["nics"]:
        profile = world.find("vnicprofiles", card["profile"]) or {}
        network = world.find("networks", profile.get("network", "")) or {}
        found.append(Card(card["mac"], network.get("name", "")))
    return Machine(
        vm["id"], vm["name"], vm["memory"] // 1024**2, vm["cores"] * vm["sockets"] * vm["threads"],
        tuple(one["disk"] for one in ordered), tuple(found), seed,
    )  # fmt: skip


def booted(world: World, vm: str, start: float) -> None:
    """The guest is up, unless the machine has been through something else meanwhile."""
    record = world.find("vms", vm)
    if record and record["start_time"] == start and record["status"] in ("powering_up", "reboot_in_progress"):
        world.save("vms", record, status="up")


def stop(world: World, asked: Asked) -> Answer:
    vm = _prepared(world, asked, "stop")
    job = jobs.quick(world, asked, f"Powering Off VM {vm['name']}")
    if vm["status"] == "down":
        _tell(world, asked, vm, 254, f"VM {vm['name']} is already down", job)
        return action()
    was_suspended = vm["status"] == "suspended"
    world.backing.stop(vm["id"])
    reason = asked.given.text("reason") or ""
    text = f"VM {vm['name']} powered off by {disks.who(world, asked)} (Host: {_host_name(world, vm)})."
    if was_suspended:
        _tell(world, asked, vm, 111, f"VM {vm['name']}: saved memory state was discarded.", job)
    _tell(world, asked, vm, 33, text, job)
    _fall(world, vm, reason=reason)
    return action()


def shutdown(world: World, asked: Asked) -> Answer:
    vm = _prepared(world, asked, "shutdown")
    job = jobs.quick(world, asked, f"Shutting Down VM {vm['name']}")
    if vm["status"] == "down":
        _tell(world, asked, vm, 254, f"VM {vm['name']} is already down", job)
        return action()
    if vm["status"] in ("wait_for_launch", "suspended"):  # there is no guest to ask: the engine stops it
        world.backing.stop(vm["id"])
        _tell(world, asked, vm, 33, f"VM {vm['name']} powered off by {disks.who(world, asked)}.", job)
        _fall(world, vm)
        return action()
    _tell(
        world,
        asked,
        vm,
        73,
        f"VM shutdown initiated by {disks.who(world, asked)} on VM {vm['name']} (Host: {_host_name(world, vm)}).",
        job,
    )
    before = vm["status"] if vm["status"] != "powering_down" else "up"
    world.save("vms", vm, status="powering_down", stop_reason=asked.given.text("reason") or "")
    world.later(world.settings.shutdown_seconds / 2, "vm_press", vm=vm["id"], start=vm["start_time"])
    world.later(world.settings.shutdown_seconds * 20, "vm_deaf", vm=vm["id"], start=vm["start_time"], before=before)
    return action()


def pressed(world: World, vm: str, start: float) -> None:
    """The power button reaches the guest."""
    record = world.find("vms", vm)
    if record and record["start_time"] == start and record["status"] == "powering_down":
        world.backing.power_button(vm)


def deaf(world: World, vm: str, start: float, before: str) -> None:
    """The guest ignored the power button: it is up as before."""
    record = world.find("vms", vm)
    if record and record["start_time"] == start and record["status"] == "powering_down":
        world.save("vms", record, status=before)


def reboot(world: World, asked: Asked) -> Answer:
    vm = _prepared(world, asked, "reboot")
    job = jobs.quick(world, asked, f"Rebooting VM {vm['name']}")
    _tell(world, asked, vm, 157, f"User {disks.who(world, asked)} initiated reboot of VM {vm['name']}.", job)
    world.backing.reset(vm["id"])
    world.save("vms", vm, status="reboot_in_progress")
    world.later(world.settings.reboot_seconds, "vm_booted", vm=vm["id"], start=vm["start_time"])
    return action()


def reset(world: World, asked: Asked) -> Answer:
    vm = _prepared(world, asked, "reset")
    job = jobs.quick(world, asked, f"Resetting VM {vm['name']}")
    _tell(world, asked, vm, 221, f"VM {vm['name']} was reset by {disks.who(world, asked)}.", job)
    world.backing.reset(vm["id"])
    world.save("vms", vm, status="reboot_in_progress")
    world.later(world.settings.reboot_seconds, "vm_booted", vm=vm["id"], start=vm["start_time"])
    return action()


def suspend(world: World, asked: Asked) -> Answer:
    vm = _prepared(world, asked, "suspend")
    job = jobs.begin(world, asked, f"Hibernating VM {vm['name']}", doing="Saving Memory")
    _tell(world, asked, vm, 501, f"Suspending VM {vm['name']} was initiated by {disks.who(world, asked)}.", job)
    world.save("vms", vm, status="saving_state")
    world.later(world.settings.suspend_seconds, "vm_saved", vm=vm["id"], job=job["id"])
    return action()


def saved(world: World, vm: str, job: str) -> None:
    record = world.find("vms", vm)
    if record and record["status"] == "saving_state":
        world.backing.stop(vm)
        world.save("vms", record, status="suspended", host=None)
        world.event(512, f"VM {record['name']} was suspended.", vm=vm, cluster=record["cluster"],
                    correlation=(world.find("jobs", job) or {}).get("correlation_id", ""))  # fmt: skip
    jobs.finish(world, job)


def look(world: World) -> None:
    """Ask the hosts which machines still run: one that does not, though it did, is down."""
    for vm in world.all("vms"):
        settled = vm["host"] and vm["status"] not in ("wait_for_launch", "restoring_state", "saving_state")
        if settled and not world.backing.is_running(vm["id"]):
            _down(world, vm, 61, f"VM {vm['name']} is down. Exit message: User shut down from within the guest")


def _down(world: World, vm: Record, code: int, text: str, *, detail: str = "") -> None:
    world.event(code, text, severity="normal" if code == 61 else "error", vm=vm["id"], cluster=vm["cluster"],
                host=vm["host"] or "", template=vm["template"])  # fmt: skip
    _fall(world, vm, reason=vm["stop_reason"], detail=detail)


def _fall(world: World, vm: Record, *, reason: str = "", detail: str = "") -> None:
    """A machine is down; what was stored for its next run holds now."""
    vm.update(vm["next_run"])
    world.save("vms", vm, status="down", host=None, next_run={}, run_once=False, stop_time=world.now(),
               stop_reason=reason, status_detail=detail)  # fmt: skip


def _host_name(world: World, vm: Record) -> str:
    return str((world.find("hosts", vm["host"] or "") or {}).get("name", ""))


def ticket(world: World, asked: Asked) -> Answer:
    """``POST .../graphicsconsoles/{id}/ticket``: good for 7,200 seconds unless the request says otherwise."""
    vm, given = machine(world, asked), asked.given
    rights.require(world, asked, "connect_to_vm", *rights.around(world, vm))
    if asked.names.get("console", vm["console"]) != vm["console"]:
        raise Refused(404)
    if vm["status"] not in TICKETS:
        raise not_allowed("Cannot set VM ticket. VM is not running.")
    value = given.text("ticket/value") or uuid4().hex[:12]
    seconds = given.number("ticket/expiry") or 7200
    world.backing.set_password(vm["id"], value, seconds=seconds)
    job = jobs.quick(world, asked, f"Setting VM Ticket on VM {vm['name']}")
    _tell(world, asked, vm, 164, f"User {disks.who(world, asked)} initiated console session for VM {vm['name']}", job)
    return action(ticket={"expiry": seconds, "value": value})


def consoles(world: World, asked: Asked) -> Answer:
    vm = machine(world, asked)
    found = machines.consoles(world, vm["id"], current=asked.flag("current"))
    if "console" not in asked.names:
        return Answer(tag="graphics_consoles", items=found)
    if asked.names["console"] != vm["console"]:
        raise Refused(404)
    return Answer(one=found[0])
