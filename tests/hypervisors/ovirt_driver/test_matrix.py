"""Each verb in each status, through the SDK: the double does what the engine's matrix says, and the driver what it promises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ovirtsdk4
import pytest

from portal.hypervisors.errors import Busy
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.specs import VmRef
from tests.hypervisors import matrix
from tests.hypervisors.ovirt_driver.world import Engine

pytestmark = [pytest.mark.long, pytest.mark.once]

# Nothing goes on by itself.
STILL = dict.fromkeys(("launch_seconds", "boot_seconds", "shutdown_seconds", "reboot_seconds", "suspend_seconds"), 3600)
DRIVERS: dict[str, Callable[[OvirtDriver, VmRef], Any]] = {
    "run": OvirtDriver.run_vm,
    "shut_down": OvirtDriver.shut_down_vm,
    "stop": OvirtDriver.stop_vm,
    "reboot": OvirtDriver.reboot_vm,
    "delete": OvirtDriver.delete_vm,
    "connect": lambda driver, ref: driver.console(ref, protocol="vnc"),
}
ENGINES = {"run": "start", "shut_down": "shutdown", "delete": "remove"}
# What the driver does not ask for, for it has been asked for, or has happened: a step that is done twice is done once.
RUNS = {
    "wait_for_launch", "powering_up", "up", "reboot_in_progress", "powering_down", "migrating", "restoring_state",
    "not_responding",
}  # fmt: skip
ALREADY = matrix.ALREADY | {"run": RUNS, "shut_down": {"down", "powering_down"}, "reboot": {"reboot_in_progress"}}


def outcome(engine: Engine, act: Callable[[], object], refusal: type[Exception]) -> str:
    engine.calls()
    try:
        act()
    except refusal:
        return "refused"
    return "done" if engine.calls("POST /vms", "DELETE /vms") else "already"


def into(engine: Engine, status: str, ref: VmRef | None) -> VmRef:
    """A machine of ours in this status, made where there is none any more."""
    if ref is None or ref.external_id not in engine.double.things("vms"):
        ref = engine.driver.adopt_vm(engine.double.plant_vm("of-the-matrix", disks_of=1))
    engine.double.set_vm(ref.external_id, status="down")
    engine.double.set_vm(ref.external_id, status=status)
    return ref


def test_the_driver_does_in_each_status_what_the_engines_matrix_says(engine: Engine) -> None:
    engine.double.configure(**STILL)
    ref, wrong = None, []
    for status in matrix.DOES:
        for verb, act in DRIVERS.items():
            ref = into(engine, status, ref)
            does = matrix.TICKETS if verb == "connect" else matrix.statuses_of(verb)
            found = outcome(engine, lambda act=act, ref=ref: act(engine.driver, ref), Busy)
            wanted = "already" if status in ALREADY.get(verb, ()) else "done" if status in does else "refused"
            wrong += [(verb, status, wanted, found)] if found != wanted else []
    assert not wrong


def test_the_double_does_in_each_status_what_the_engines_matrix_says(engine: Engine) -> None:
    engine.double.configure(**STILL)
    machines = engine.driver._session.system().vms_service()
    ref, wrong = None, []
    for status, does in matrix.DOES.items():
        for verb in matrix.COLUMNS:
            ref = into(engine, status, ref)
            act = getattr(machines.vm_service(ref.external_id), ENGINES.get(verb, verb))
            act = partial(act, headers={"Correlation-Id": "by-hand"})
            is_wanted = verb in does or status in matrix.ALREADY.get(verb, ())
            if (outcome(engine, act, ovirtsdk4.Error) == "done") is not is_wanted:
                wrong.append((verb, status, "to be done" if is_wanted else "to be refused"))
    assert not wrong
