"""The contract of drivers: inventory, changes, and what they say of themselves."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.base import Driver, Watch
from portal.hypervisors.specs import DiskRef, VmRef, VmStatus
from tests.hypervisors.contract.things import ON, SECONDS, Things, again_while_busy, at_once
from tests.hypervisors.contract.worlds import World


def test_what_is_declared_is_what_the_driver_says(world: World, driver: Driver) -> None:
    assert driver.capabilities() == world.capabilities


def test_it_says_who_answers(driver: Driver) -> None:
    about = driver.about()
    assert all((about.product, about.version, about.api_version, about.host_name))
    assert driver.inventory().about == about


# -- inventory


def test_the_inventory_shows_ours_with_their_marks_and_others_with_theirs_or_none(world: World, things: Things) -> None:
    strangers, theirs = world.strangers(), Things(world, world.driver(world.other_portal_id))
    refs = {things.vm(nics=(things.nic(things.network()),)): world.portal_id, theirs.vm(): world.other_portal_id}
    found = {vm.external_id: vm for vm in things.driver.inventory().vms}
    for ref, portal_id in refs.items():
        marker = found[ref.external_id].marker
        assert marker is not None
        assert (marker.portal_id, marker.uid) == (portal_id, ref.uid)
    assert found[str(strangers.machine)].marker is None
    assert found[str(strangers.running)].status in ON
    assert found[str(strangers.machine)].status is VmStatus.DOWN
    networks = {network.name: network for network in things.driver.inventory().networks}
    assert networks[strangers.network_name].marker is None
    domains = {domain.external_id: domain.marker for domain in things.driver.inventory().storage_domains}
    assert domains[strangers.storage_domain] is None


def test_the_inventory_has_hosts_with_plausible_figures(driver: Driver) -> None:
    hosts = driver.inventory().hosts
    assert hosts
    for host in hosts:
        assert host.status == "up"
        assert host.cpus > 0
        assert 0 <= host.memory_free_mib <= host.memory_mib
        assert host.memory_mib > 0


def test_an_inventory_read_again_and_again_is_never_out_of_date(world: World, things: Things) -> None:
    """Whatever a driver keeps in its memory, what somebody else changes is seen at the next look."""
    driver, other = things.driver, Things(world, world.driver())

    def seen(ref: VmRef) -> Any:
        return next((vm for vm in driver.inventory().vms if vm.external_id == ref.external_id), None)

    ref = other.bootable()
    assert seen(ref) == driver.find_vm(ref.uid)
    other.driver.run_vm(ref)
    other.wait_for(ref, VmStatus.UP)
    assert seen(ref) == driver.find_vm(ref.uid)
    world.set_state(ref.external_id, "paused")
    other.wait_for(ref, VmStatus.PAUSED)
    assert seen(ref).status is VmStatus.PAUSED
    other.stop(ref)
    other.delete(ref)
    assert seen(ref) is None
    spec = replace(other.vm_spec(uid=ref.uid), memory_mib=48, nics=(other.nic(other.network()),))
    made = other.made(spec)
    assert (seen(made).memory_mib, seen(made).macs) == (48, (spec.nics[0].mac,))


def test_machines_may_come_and_go_while_everything_is_read(world: World, things: Things) -> None:
    disk, kept = things.disk(), things.vm()
    coming = threading.Event()

    def come_and_go(driver: Driver) -> None:
        try:
            for spec in [things.vm_spec() for _ in range(20)]:
                again_while_busy(partial(driver.delete_vm, driver.create_vm(spec)))
        finally:
            coming.set()

    def read(driver: Driver) -> None:
        while not coming.is_set():
            assert kept.external_id in {vm.external_id for vm in driver.inventory().vms}
            driver.delete_disk(DiskRef(uuid4(), disk.storage_domain))

    workers = iter([read, come_and_go, come_and_go, read])
    at_once(world, lambda driver: next(workers)(driver))


# -- changes


def changed(watch: Watch, external_id: str) -> None:
    """Wait until a change to this machine was told."""
    until = time.monotonic() + SECONDS
    while not any(change.external_id in {external_id, ""} for change in watch.next(timeout=1)):
        assert time.monotonic() < until, f"nothing was told of {external_id}"


@pytest.mark.needs("events")
def test_changes_are_told_whoever_makes_them(world: World, things: Things) -> None:
    watch = things.driver.watch()
    other = Things(world, world.driver())
    ref = other.bootable()
    changed(watch, ref.external_id)
    other.driver.run_vm(ref)
    changed(watch, ref.external_id)
    other.wait_for(ref, VmStatus.UP)
    world.set_state(ref.external_id, "paused")
    changed(watch, ref.external_id)
    world.set_state(ref.external_id, "down")
    changed(watch, ref.external_id)
    other.wait_for(ref, VmStatus.DOWN)
    other.driver.delete_vm(ref)
    changed(watch, ref.external_id)
    watch.close()


@pytest.mark.needs("events")
def test_changes_of_machines_that_are_not_ours_are_told_too(world: World, things: Things) -> None:
    strangers = world.strangers()
    watch = things.driver.watch()
    world.set_state(str(strangers.running), "down")
    changed(watch, str(strangers.running))
    watch.close()


@pytest.mark.needs("events")
def test_where_nothing_changes_nothing_is_told_and_closing_never_fails(driver: Driver) -> None:
    watch = driver.watch()
    watch.next(timeout=0.1)
    assert watch.next(timeout=0.1) == []
    watch.close()
    watch.close()
    driver.close()
    watch.close()
    driver.close()
