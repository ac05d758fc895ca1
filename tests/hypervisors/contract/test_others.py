"""The contract of drivers: what bears another portal's mark, or nobody's, is as good as absent (INV6)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import AlreadyExists, HypervisorError, NotFound, Unsupported
from portal.hypervisors.specs import DiskRef, NetworkSpec, VmRef
from tests.hypervisors.contract.test_machines import VERBS
from tests.hypervisors.contract.things import ON, Things
from tests.hypervisors.contract.worlds import World
from tests.hypervisors.test_connect import CHANGES, READS


@dataclass(frozen=True)
class Theirs:
    """What is not ours: a machine that is off and one that runs, a network, a storage domain with a disk."""

    machine: VmRef
    running: VmRef
    network: UUID
    network_name: str
    storage_domain: str
    disk: str
    disk_uid: UUID


@pytest.fixture(params=["another portal", "nobody"])
def theirs(request: pytest.FixtureRequest, world: World) -> Theirs:
    planted = world.strangers()
    if request.param == "nobody":
        machines = [VmRef(uid, str(uid)) for uid in (planted.machine, planted.running)]
        network = (planted.network, planted.network_name)
        return Theirs(*machines, *network, planted.storage_domain, planted.disk, disk_uid=uuid4())
    things = Things(world, world.driver(world.other_portal_id))
    pool = world.storage_of_others(things.driver)
    disk, lan = things.disk(pool), things.network()
    running = things.running(disks=(disk,))
    uid = lan.marker.uid if lan.marker else planted.network
    return Theirs(things.vm(), running, uid, lan.name, pool, disk.external_id or str(disk.uid), disk.uid)


def test_nothing_of_theirs_is_found_and_nothing_is_changed(world: World, driver: Driver, theirs: Theirs) -> None:
    before = world.dump()
    disk = DiskRef(theirs.disk_uid, theirs.storage_domain, theirs.disk)
    assert driver.find_disk(disk) is None
    assert driver.our_disks(theirs.storage_domain) == ()
    driver.delete_disk(disk)
    driver.delete_disk(DiskRef(theirs.disk_uid, theirs.storage_domain))
    with contextlib.suppress(Unsupported):
        assert driver.find_network(theirs.network) is None
        driver.delete_storage_domain(theirs.storage_domain)
        driver.delete_network(theirs.network)
    for ref in (theirs.machine, theirs.running):
        assert driver.find_vm(ref.uid) is None
        driver.delete_vm(ref)
        for verb in VERBS.values():
            with pytest.raises(NotFound):
                verb(driver, ref)
        if world.capabilities.console_protocols:
            with pytest.raises(NotFound):
                driver.console(ref, protocol="vnc")
    assert world.dump() == before


@pytest.mark.needs("keeps_uids", "networks")
def test_a_uid_of_theirs_is_taken(world: World, things: Things, theirs: Theirs) -> None:
    before = world.dump()
    for ref in (theirs.machine, theirs.running):
        with pytest.raises(AlreadyExists):
            things.driver.create_vm(things.vm_spec(uid=ref.uid))
    with pytest.raises(AlreadyExists):
        things.driver.create_network(NetworkSpec(theirs.network, "ours", world.cidr()))
    assert world.dump() == before


def test_a_name_of_theirs_is_taken(world: World, things: Things, theirs: Theirs) -> None:
    name = next(vm.name for vm in things.driver.inventory().vms if vm.external_id == theirs.machine.external_id)
    before = world.dump()
    with pytest.raises(AlreadyExists):
        things.vm(name=name)
    if world.capabilities.networks:
        with pytest.raises(AlreadyExists):
            things.driver.create_network(things.network_spec(name=theirs.network_name))
    assert world.dump() == before


@pytest.mark.needs("linked_clone")
def test_nothing_is_cloned_from_a_disk_of_theirs(world: World, things: Things, theirs: Theirs) -> None:
    pool = things.world.storage(things.driver)
    before = world.dump()
    with pytest.raises(NotFound):
        things.disk(pool, base=DiskRef(theirs.disk_uid, theirs.storage_domain, theirs.disk))
    assert world.dump() == before


def test_two_portals_work_side_by_side_and_leave_each_other_alone(world: World, theirs: Theirs, things: Things) -> None:
    before = world.dump()
    network = things.network()
    disk = things.disk()
    ref = things.running(disks=(disk,), nics=(things.nic(network),))
    assert things.status(ref) in ON
    things.stop(ref)
    things.delete(ref)
    things.delete_disk(disk)
    if network.marker is not None:
        things.driver.delete_network(network.marker.uid)
    if world.capabilities.own_storage:
        things.driver.delete_storage_domain(disk.storage_domain)
    assert world.dump() == before


def test_a_copy_that_somebody_made_of_our_machine_is_not_ours(world: World, things: Things) -> None:
    """A copied description carries our mark, of the machine that it was copied from."""
    ref = things.vm()
    copy = VmRef(UUID(world.copy(ref)), "")
    copy = replace(copy, external_id=str(copy.uid))
    before = world.dump()
    assert things.driver.find_vm(copy.uid) is None
    things.driver.delete_vm(copy)
    with pytest.raises(NotFound):
        things.driver.run_vm(copy)
    if world.capabilities.keeps_uids:
        with pytest.raises(AlreadyExists):
            things.driver.create_vm(things.vm_spec(uid=copy.uid))
    assert things.found(ref.uid).external_id == ref.external_id
    assert world.dump() == before
    assert things.driver.find_vm(ref.uid, copy.external_id) is None or world.capabilities.keeps_uids
    if not world.capabilities.keeps_uids:
        things.driver.delete_vm(VmRef(ref.uid, copy.external_id))
    assert world.dump() == before
    things.delete(ref)
    assert {key for key in world.dump() if copy.external_id in key}, "the copy is still there"


# -- errors


@pytest.mark.parametrize("method", [*READS, *CHANGES])
def test_errors_are_only_those_of_the_contract(world: World, driver: Driver, method: str) -> None:
    """Asked for what is not there, with names that no hypervisor takes."""
    call: Callable[[Driver], object] = {**READS, **CHANGES}[method]
    with contextlib.suppress(HypervisorError):
        call(driver)
