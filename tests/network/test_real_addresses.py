"""The addresses of a real network: every card has its own, a card that the portal does not know has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from portal.hypervisors.errors import NoCapacity
from portal.hypervisors.specs import NetworkFound, NetworkSpec, NicSpec, VmSpec
from tests.hypervisors.libvirt.real import RealPlace, until
from tests.network.conftest import Departments
from tests.network.stranger import borrow, offers_on

pytestmark = pytest.mark.libvirt

CIDR = "10.99.200.0/29"  # the gateway, and five for machines
FIRST, ROOM = "10.99.200.2", 5


@dataclass
class SmallNetwork:
    """A network with room for five, and machines on it that are never switched on: their cards are played."""

    place: RealPlace
    found: NetworkFound

    def define(self, number: int) -> VmSpec:
        """A machine, whose card gets an address reserved."""
        uid, mac = UUID(int=number), f"52:54:00:99:00:{number:02x}"
        nic = NicSpec(uid, mac, self.found.external_id, self.found.filter)
        spec = VmSpec(uid, f"small-{number}", "", 64, 1, (), (nic,))
        self.place.driver.create_vm(spec)
        return spec

    def delete(self, spec: VmSpec) -> None:
        self.place.driver.delete_vm(self.place.driver.create_vm(spec), nics=spec.nics)

    def borrow(self, spec: VmSpec) -> str:
        """The machine starts and asks for its address; libvirt knows of it a moment later."""
        address = borrow(self.found.bridge, spec.nics[0].mac)
        leases = ("net-dhcp-leases", self.found.external_id)
        until(lambda: f"{address}/" in self.place.libvirtd.virsh(*leases).stdout, "the lease")
        return address


@pytest.fixture
def small(departments: Departments) -> Iterator[SmallNetwork]:
    place, uid = departments.place, uuid4()
    yield SmallNetwork(place, place.driver.create_network(NetworkSpec(uid, f"small-{uid.hex[:8]}", CIDR)))
    place.driver.delete_network(uid)


def test_an_address_that_is_lent_to_a_deleted_machine_is_not_given_to_the_next(small: SmallNetwork) -> None:
    """dnsmasq keeps to what it lent, whatever is reserved: the next machine would get another address than its filter."""
    gone = small.define(1)
    assert small.borrow(gone) == FIRST
    small.delete(gone)
    for number in range(2, ROOM + 1):  # one after the other, so that each finds room if it is let
        spec = small.define(number)
        address = small.borrow(spec)
        assert address != FIRST
        assert f"value='{address}'" in small.place.libvirtd.virsh("dumpxml", spec.name).stdout
        small.delete(spec)
    with pytest.raises(NoCapacity, match="lent"):
        small.define(ROOM + 1)
    again = small.define(1)  # a card gets its own address back
    assert small.borrow(again) == FIRST
    small.delete(again)


def test_a_machine_that_never_asked_for_its_address_leaves_it_to_the_next(small: SmallNetwork) -> None:
    specs = [small.define(number) for number in range(1, ROOM + 1)]
    with pytest.raises(NoCapacity, match="no free address"):
        small.define(ROOM + 1)
    small.delete(specs.pop())
    specs.append(small.define(ROOM + 1))
    for spec in specs:
        small.delete(spec)


def test_a_card_that_the_portal_does_not_know_gets_no_address(small: SmallNetwork) -> None:
    """Or one machine could ask for all of them, in the name of cards that are not there."""
    spec, unknown = small.define(1), "52:54:00:00:be:ef"
    known = spec.nics[0].mac
    assert offers_on(small.found.bridge, unknown, known) == {unknown: set(), known: {FIRST}}
    small.delete(spec)
