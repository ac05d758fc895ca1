"""The contract of drivers: cards on what a host has besides our networks, which stays as it is."""

from __future__ import annotations

from uuid import uuid4

import pytest

from portal.hypervisors.errors import NetworkGone, NotFound
from portal.hypervisors.specs import NicSpec, VmStatus
from tests.hypervisors.contract.things import ON, Things, new_mac

pytestmark = pytest.mark.needs("networks")


def offered(kind: str, what: str) -> NicSpec:
    return NicSpec(uuid4(), new_mac(), what, offered=kind)


def test_a_machine_is_on_somebodys_network_and_on_a_bridge_and_both_stay_as_they_are(things: Things) -> None:
    strangers, bridge, world = things.world.strangers(), things.world.bridge(), things.world
    before = world.dump()
    nics = (offered("network", str(strangers.network)), offered("bridge", bridge))
    ref = things.running(nics=nics)
    assert things.status(ref) in ON
    assert world.cards(ref.external_id) == [("network", strangers.network_name), ("bridge", bridge)]
    assert things.found(ref.uid).macs == tuple(nic.mac for nic in nics)
    things.stop(ref)
    things.driver.delete_vm(ref, nics=nics)
    assert world.dump() == before


def test_what_keeps_cards_to_themselves_is_there_for_every_machine_that_starts(things: Things) -> None:
    world, nic = things.world, offered("bridge", things.world.bridge())
    before = world.dump()
    stays, goes = things.bootable(nics=(nic,)), things.bootable(nics=(nic,))
    things.delete(goes)
    world.remove_filters()
    things.driver.run_vm(stays)
    assert things.status(stays) in ON
    things.stop(stays)
    things.delete(stays)
    assert world.dump() == before


def test_what_is_a_portals_or_not_there_is_not_offered(things: Things) -> None:
    ours, theirs = things.network(), Things(things.world, things.world.driver(things.world.other_portal_id)).network()
    wrong = [offered("network", one.uid) for one in (ours, theirs)]
    # What a network made for itself is reached by that network alone, under its rules.
    wrong += [offered("bridge", one.bridge) for one in (ours, theirs)]
    wrong += [offered("network", str(uuid4())), offered("network", ours.name), offered("bridge", "br-none")]
    before = things.world.dump()
    for nic in wrong:
        with pytest.raises(NotFound):
            things.driver.create_vm(things.vm_spec(nics=(nic,)))
    assert things.world.dump() == before


# libvirt's test driver, which has no filters either, looks at no network when it starts a machine.
@pytest.mark.needs("network_filters")
def test_a_machine_whose_network_is_stopped_or_whose_bridge_went_says_so_and_runs_when_they_are_back(
    things: Things,
) -> None:
    world, network, bridge = things.world, things.network(), things.world.bridge()
    assert network.marker is not None
    stopped = things.bootable(nics=(things.nic(network),))
    without = things.bootable(nics=(offered("bridge", bridge),))
    world.stop_network(network.marker.uid)
    world.remove_bridge(bridge)
    for ref in (stopped, without):
        with pytest.raises(NetworkGone):
            things.driver.run_vm(ref)
        assert things.status(ref) is VmStatus.DOWN
    things.driver.create_network(things.network_spec(uid=network.marker.uid, name=network.name, cidr=network.cidr))
    things.driver.run_vm(stopped)
    assert things.status(stopped) in ON
