"""The contract of drivers: machines, their power, consoles and addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from compute.screens import LARGEST_THUMBNAIL, thumbnail
from portal.hypervisors.base import Driver
from portal.hypervisors.errors import AlreadyExists, Busy, NotFound, Unsupported
from portal.hypervisors.specs import DiskRef, Marker, NicSpec, VmRef, VmStatus
from tests.hypervisors.contract.things import ON, Things, at_once, new_mac
from tests.hypervisors.contract.worlds import World
from tests.hypervisors.libvirt_driver.samples import MARKUP

NOWHERE = "00000000-0000-4000-8000-000000000000"
VERBS: dict[str, Callable[[Driver, VmRef], object]] = {
    "run": lambda driver, ref: driver.run_vm(ref),
    "stop": lambda driver, ref: driver.stop_vm(ref),
    "shut_down": lambda driver, ref: driver.shut_down_vm(ref),
    "reboot": lambda driver, ref: driver.reboot_vm(ref),
    "addresses": lambda driver, ref: driver.addresses(ref),
}


# -- making and removing


def test_a_machine_made_twice_is_one_and_is_what_was_asked_for(things: Things) -> None:
    disk, network, driver = things.disk(), things.network(), things.driver
    spec = things.vm_spec(disks=(disk,), nics=(things.nic(network),))
    ref = things.made(spec)
    assert things.world.driver().create_vm(spec) == ref
    found = things.found(spec.uid)
    assert (found.external_id, found.name) == (ref.external_id, spec.name)
    assert found.marker == Marker(things.world.portal_id, spec.uid)
    assert (found.status, found.memory_mib, found.vcpus) == (VmStatus.DOWN, spec.memory_mib, spec.vcpus)
    assert found.macs == (spec.nics[0].mac,)
    assert found.disks == (disk.external_id,)
    assert [vm for vm in driver.inventory().vms if vm.external_id == ref.external_id] == [found]


def test_a_machine_made_by_several_at_once_is_one(things: Things) -> None:
    network = things.network()
    spec = things.vm_spec(disks=(things.disk(),), nics=(things.nic(network),))
    assert len(set(at_once(things.world, lambda driver: driver.create_vm(spec)))) == 1
    assert [vm.name for vm in things.driver.inventory().vms].count(spec.name) == 1
    things.wait_for(VmRef(spec.uid, str(spec.uid)), VmStatus.DOWN)


def test_a_deleted_machine_is_gone_and_deleting_it_twice_is_success(things: Things) -> None:
    network = things.network()
    before = things.world.dump()
    ref = things.vm(nics=(things.nic(network),))
    things.delete(ref)
    things.driver.delete_vm(ref)
    assert things.world.dump() == before


def test_a_running_machine_is_not_deleted(things: Things) -> None:
    ref = things.running()
    with pytest.raises(Busy):
        things.driver.delete_vm(ref)
    assert things.status(ref) in ON


def test_a_machine_of_a_taken_name_is_refused_and_nothing_is_left(things: Things) -> None:
    network = things.network()
    taken = things.vm_spec()
    things.made(taken)
    before = things.world.dump()
    with pytest.raises(AlreadyExists):
        things.vm(name=taken.name, nics=(things.nic(network),))
    assert things.world.dump() == before


def test_a_machine_on_a_network_that_is_not_there_is_not_made_and_nothing_is_left(things: Things) -> None:
    network = things.network()
    before = things.world.dump()
    with pytest.raises(NotFound):
        things.vm(nics=(things.nic(network), NicSpec(uuid4(), new_mac(), "nowhere", profile=NOWHERE)))
    assert things.world.dump() == before


@pytest.mark.parametrize("text", MARKUP)
def test_IN02_a_description_is_kept_as_it_was_given(world: World, things: Things, text: str) -> None:  # noqa: N802
    ref = things.vm(description=text)
    assert world.descriptions(ref.external_id) == [text]


# -- power


def test_run_and_stop_may_be_asked_for_again(things: Things) -> None:
    ref, driver = things.vm(disks=(things.disk(),)), things.driver
    for _ in range(2):
        driver.run_vm(ref)
        assert things.status(ref) in ON
    things.wait_for(ref, VmStatus.UP)
    for _ in range(2):
        things.stop(ref)
    driver.run_vm(ref)
    things.wait_for(ref, VmStatus.UP)


def test_run_by_several_at_once_is_one_start(things: Things) -> None:
    ref = things.bootable()
    at_once(things.world, lambda driver: driver.run_vm(ref))
    things.wait_for(ref, VmStatus.UP)
    at_once(things.world, lambda driver: driver.stop_vm(ref))
    things.wait_for(ref, VmStatus.DOWN)


def test_of_a_machine_that_is_off_shutting_down_is_success_and_rebooting_is_refused(things: Things) -> None:
    ref = things.vm()
    things.driver.shut_down_vm(ref)
    with pytest.raises(Busy):
        things.driver.reboot_vm(ref)
    assert things.status(ref) is VmStatus.DOWN


@pytest.mark.needs("guest_shutdown", "reboot")
def test_a_guest_may_be_asked_whatever_it_makes_of_it(things: Things) -> None:
    """There may be nobody in there who listens; asking is all that is promised."""
    ref = things.running()
    things.wait_for(ref, VmStatus.UP)
    things.driver.reboot_vm(ref)
    assert things.status(ref) is not VmStatus.DOWN
    things.driver.shut_down_vm(ref)
    things.driver.shut_down_vm(ref)
    assert things.driver.find_vm(ref.uid) is not None


def test_a_machine_that_somebody_paused_is_seen_paused(things: Things) -> None:
    ref = things.running()
    things.wait_for(ref, VmStatus.UP)
    things.world.set_state(ref.external_id, "paused")
    things.wait_for(ref, VmStatus.PAUSED)
    things.stop(ref)


@pytest.mark.parametrize("verb", VERBS)
def test_a_machine_that_is_not_there_is_not_found(driver: Driver, verb: str) -> None:
    uid = uuid4()
    assert driver.find_vm(uid) is None
    with pytest.raises(NotFound):
        VERBS[verb](driver, VmRef(uid, str(uid)))


# -- console and addresses


@pytest.mark.needs("console_protocols")
def test_each_console_has_a_password_of_its_own(things: Things) -> None:
    ref = things.running()
    things.wait_for(ref, VmStatus.UP)
    targets = [things.driver.console(ref, protocol="vnc") for _ in range(3)]
    assert {(target.protocol, target.port > 0) for target in targets} == {("vnc", True)}
    passwords = {target.password for target in targets}
    assert len(passwords) == 3
    assert all(len(password) == 8 for password in passwords), "eight characters are what VNC looks at"
    assert not any(password in repr(target) for password in passwords for target in targets)


@pytest.mark.needs("console_protocols")
def test_a_console_needs_a_running_machine(things: Things) -> None:
    ref = things.vm()
    with pytest.raises(Busy):
        things.driver.console(ref, protocol="vnc")
    with pytest.raises(NotFound):
        things.driver.console(VmRef(uuid4(), str(uuid4())), protocol="vnc")


def test_a_console_that_is_not_declared_is_not_supported(things: Things) -> None:
    ref = things.running()
    undeclared = {"vnc", "spice", "serial"} - set(things.world.capabilities.console_protocols)
    for protocol in undeclared:
        with pytest.raises(Unsupported):
            things.driver.console(ref, protocol=protocol)


@pytest.mark.needs("screenshots")
def test_a_screen_is_an_image_of_a_running_machine_of_ours(things: Things) -> None:
    taken = things.driver.screenshot(things.running())
    assert taken[:2] == b"P6" or taken[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(thumbnail(taken)) < LARGEST_THUMBNAIL
    with pytest.raises(Busy):
        things.driver.screenshot(things.vm())
    with pytest.raises(NotFound):
        things.driver.screenshot(VmRef(uuid4(), str(uuid4())))


def test_a_machine_that_is_off_has_no_addresses(things: Things) -> None:
    ref = things.vm(nics=(things.nic(things.network()),))
    assert things.driver.addresses(ref) == ()


# -- what others have


def test_a_disk_that_is_not_ours_is_not_given_to_a_machine(world: World, things: Things) -> None:
    strangers = world.strangers()
    mine, uid = things.disk(), uuid4()
    before = world.dump()
    for ref in (
        DiskRef(uid, strangers.storage_domain, strangers.disk),
        replace(mine, external_id=f"../{mine.external_id}"),
        replace(mine, uid=uid),
    ):
        with pytest.raises(NotFound):
            things.vm(disks=(ref,))
    assert world.dump() == before
