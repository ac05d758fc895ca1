"""The contract of drivers: a machine that nobody's portal made is taken into our care, and given back as it was."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import AlreadyExists, NotFound
from portal.hypervisors.specs import VmRef
from tests.hypervisors.contract.things import MIB, ON, Things
from tests.hypervisors.contract.worlds import Dump, World


def test_adopted_machine_obeys_and_released_it_is_as_it_was(world: World, driver: Driver, things: Things) -> None:
    theirs = world.strangers()
    before = world.dump()
    for uid in (theirs.machine, theirs.running):
        ref = driver.adopt_vm(str(uid))
        assert ref == driver.adopt_vm(str(uid)) == VmRef(uid, str(uid)), "again is the same"
        assert things.found(uid).external_id == str(uid)
        marks = [vm.marker for vm in driver.inventory().vms if vm.external_id == str(uid)]
        assert [mark.portal_id for mark in marks if mark] == [world.portal_id]
    assert things.status(VmRef(theirs.running, str(theirs.running))) in ON
    for uid in (theirs.machine, theirs.running):
        driver.unadopt_vm(VmRef(uid, str(uid)))
        driver.unadopt_vm(VmRef(uid, str(uid)))
        assert driver.find_vm(uid) is None
    assert bare(world.dump(), theirs.running) == bare(before, theirs.running)


def test_disks_of_anybodys_machine_are_measured_and_left_alone(world: World, driver: Driver, things: Things) -> None:
    theirs, ours = world.strangers(), things.vm(disks=(things.disk(), things.disk()))
    keys = (str(theirs.machine), ours.external_id, str(UUID(int=7)))
    before = world.dump()
    sizes = driver.disk_sizes(keys)
    assert sizes.keys() == {str(theirs.machine), ours.external_id}
    assert sizes[str(theirs.machine)] == theirs.promised
    known = world.capabilities.disk_upload  # else it keeps descriptions alone
    assert sizes[ours.external_id] == 2 * MIB or not known
    assert world.dump() == before


def bare(dump: Dump, running: UUID) -> Dump:
    """libvirt keeps the element that held the mark, empty, in what runs, until that is started anew; nothing else may differ."""
    empty = r" *<metadata/>\n| *<metadata>\s*</metadata>\n"
    return {name: re.sub(empty, "", text) if str(running) in name else text for name, text in dump.items()}


def test_adopted_machine_is_run_and_stopped(world: World, driver: Driver, things: Things) -> None:
    theirs = world.strangers()
    ref = driver.adopt_vm(str(theirs.machine))
    driver.run_vm(ref)
    assert things.status(ref) in ON
    things.stop(ref)


def test_what_another_portal_marked_is_not_adopted(world: World, driver: Driver) -> None:
    other = Things(world, world.driver(world.other_portal_id))
    ref = other.vm()
    before = world.dump()
    with pytest.raises(AlreadyExists):
        driver.adopt_vm(ref.external_id)
    driver.unadopt_vm(ref)
    assert world.dump() == before


def test_copy_of_ours_is_not_adopted(world: World, driver: Driver, things: Things) -> None:
    copy = world.copy(things.vm())
    before = world.dump()
    with pytest.raises(AlreadyExists):
        driver.adopt_vm(copy)
    assert world.dump() == before


@pytest.mark.parametrize("external_id", [str(UUID(int=7)), "no-uuid", ""])
def test_what_is_not_there_is_not_adopted(driver: Driver, external_id: str) -> None:
    with pytest.raises(NotFound):
        driver.adopt_vm(external_id)
    driver.unadopt_vm(VmRef(UUID(int=7), external_id))
