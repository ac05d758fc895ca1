"""The contract of drivers: networks."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from portal.hypervisors.errors import AlreadyExists, Busy, Invalid, RangeTaken
from portal.hypervisors.specs import Marker
from tests.hypervisors.contract.things import Things, at_once

pytestmark = pytest.mark.needs("networks")


def test_a_network_made_twice_is_one_and_is_ours(things: Things) -> None:
    spec, driver = things.network_spec(), things.driver
    made = driver.create_network(spec)
    assert things.world.driver().create_network(spec) == made
    assert driver.find_network(spec.uid) == made
    assert made in driver.inventory().networks
    assert (made.name, made.cidr, made.active) == (spec.name, spec.cidr, True)
    assert made.marker == Marker(things.world.portal_id, spec.uid)
    assert bool(made.filter) == things.world.capabilities.network_filters


def test_a_network_made_by_several_at_once_is_one(things: Things) -> None:
    spec = things.network_spec()
    made = at_once(things.world, lambda driver: driver.create_network(spec))
    assert made == [made[0]] * 4
    assert made[0].active
    assert [each.name for each in things.driver.inventory().networks].count(spec.name) == 1


def test_a_deleted_network_is_gone_and_deleting_it_twice_is_success(things: Things) -> None:
    before, spec = things.world.dump(), things.network_spec()
    things.driver.create_network(spec)
    things.driver.delete_network(spec.uid)
    assert things.driver.find_network(spec.uid) is None
    things.driver.delete_network(spec.uid)
    assert things.world.dump() == before


def test_a_network_that_somebody_stopped_is_started_again(things: Things) -> None:
    spec, driver = things.network_spec(), things.driver
    made = driver.create_network(spec)
    things.world.stop_network(spec.uid)
    found = driver.find_network(spec.uid)
    assert found is not None
    assert not found.active
    assert driver.create_network(spec) == made


def test_a_network_of_a_taken_name_is_refused_and_nothing_is_left(things: Things) -> None:
    taken = things.network()
    before = things.world.dump()
    with pytest.raises(AlreadyExists):
        things.driver.create_network(things.network_spec(name=taken.name))
    assert things.world.dump() == before


@pytest.mark.parametrize("wider", [False, True], ids=["same", "wider"])
def test_a_network_of_a_taken_range_is_refused_and_nothing_is_left(things: Things, wider: bool) -> None:
    taken = IPv4Network(things.network().cidr)
    before = things.world.dump()
    with pytest.raises(AlreadyExists):
        things.driver.create_network(things.network_spec(cidr=str(taken.supernet(4) if wider else taken)))
    assert things.world.dump() == before


def test_networks_of_others_are_told_with_their_ranges_and_refuse_by_name(things: Things) -> None:
    strangers = things.world.strangers()
    before = things.world.dump()
    [theirs] = [one for one in things.driver.inventory().networks if one.name == strangers.network_name]
    assert (theirs.uid, theirs.marker, theirs.forward, theirs.active) == (str(strangers.network), None, "nat", True)
    [held] = theirs.ranges
    with pytest.raises(RangeTaken) as refused:
        things.driver.create_network(things.network_spec(cidr=held))
    assert refused.value.figures == {"range": held, "network": strangers.network_name}
    assert held in refused.value.public
    assert things.world.dump() == before


@pytest.mark.parametrize("cidr", ["10.98.255.0/30", "10.98.255.0/32"])
def test_a_network_that_is_too_small_is_refused(things: Things, cidr: str) -> None:
    before = things.world.dump()
    with pytest.raises(Invalid):
        things.driver.create_network(things.network_spec(cidr=cidr))
    assert things.world.dump() == before


def test_a_network_is_not_deleted_while_a_machine_has_a_card_on_it(things: Things) -> None:
    network, driver = things.network(), things.driver
    assert network.marker is not None
    uid = network.marker.uid
    ref = things.running(nics=(things.nic(network),))
    with pytest.raises(Busy):
        driver.delete_network(uid)
    things.stop(ref)
    with pytest.raises(Busy):
        driver.delete_network(uid)
    assert driver.find_network(uid) == network
    things.delete(ref)
    driver.delete_network(uid)
    assert driver.find_network(uid) is None


def test_a_network_changes_no_other(things: Things) -> None:
    """Its filter knows of the others, and theirs of it; the networks themselves stay as they are."""
    other = things.network()
    assert other.marker is not None
    key = f"network {other.marker.uid}"
    before = things.world.dump()[key]
    made = things.network()
    assert made.marker is not None
    things.driver.delete_network(made.marker.uid)
    assert things.world.dump()[key] == before
    assert things.driver.find_network(other.marker.uid) == replace(other)
