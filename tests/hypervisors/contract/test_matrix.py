"""The engine's matrix holds on libvirt too, in the statuses that a machine can have there.

What it does not do there changes nothing, by a refusal or because nobody would hear it: which of the two is the driver's own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Busy
from portal.hypervisors.specs import VmRef
from tests.hypervisors import matrix
from tests.hypervisors.contract.libvirt_worlds import MemoryWorld
from tests.hypervisors.contract.things import Things
from tests.hypervisors.contract.worlds import DoubleWorld, World

# Where a machine must be afterwards. What a guest is asked it may not hear.
ENDS = {"run": {"powering_up", "up"}, "stop": {"down"}, "delete": {"gone"}}
DOUBLES = {
    "down": "down", "powering_up": "starting", "up": "up", "reboot_in_progress": "rebooting", "powering_down": "stopping",
    "paused": "paused", "suspended": "suspended",
}  # fmt: skip
MEMORY = ("down", "up", "paused", "suspended")
# libvirt undefines a machine together with its saved memory; that nobody asks for it is the rules' affair.
TAKES_MORE = {("delete", "suspended")}


def bring(world: World, ref: VmRef, status: str) -> None:
    if isinstance(world, DoubleWorld):
        world.double.configure(boot_seconds=3600, halt_seconds=3600)
        world.set_state(ref.external_id, DOUBLES[status])
    elif isinstance(world, MemoryWorld) and status != "down":
        domain = world.raw.lookupByUUIDString(ref.external_id)
        domain.create()
        {"paused": domain.suspend, "suspended": domain.managedSave}.get(status, lambda: None)()


def seen(driver: Driver, ref: VmRef) -> str:
    found = driver.find_vm(ref.uid)
    return str(found.status) if found else "gone"


def after(driver: Driver, ref: VmRef, verb: str) -> str:
    try:
        getattr(driver, f"{verb}_vm")(ref)
    except Busy:
        return "refused"
    return seen(driver, ref)


@pytest.mark.parametrize(
    ("name", "status"),
    [*(("double", status) for status in DOUBLES), *(("libvirt-test", status) for status in MEMORY)],
)
def test_a_driver_does_what_the_engines_matrix_says(make_world: Callable[[str], World], name: str, status: str) -> None:
    world, wrong = make_world(name), []
    driver = world.driver()
    for verb in matrix.VERBS:
        ref = Things(world, driver).vm()
        bring(world, ref, status)
        assert seen(driver, ref) == status
        found = after(driver, ref, verb)
        if verb in matrix.DOES[status]:
            wrong += [(verb, found)] if found == "refused" or found not in ENDS.get(verb, {found}) else []
        elif found not in {"refused", status} and (verb, status) not in TAKES_MORE:
            wrong += [(verb, found)]
        if found != "gone":
            driver.stop_vm(ref)
    world.close()
    assert not wrong
