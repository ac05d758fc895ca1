"""A host's existing networks and bridges: offered by a super-admin, assigned, used and taken back; the host stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from compute.models import Vm
from compute.services import offered_networks as services
from compute.services import sharing, vms
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from network.models import FoundNetwork, Network, VnicProfile
from network.selectors import networks, usable_vnic_profiles
from network.services import held_ranges
from network.sync import write_networks
from portal.common.actor import system_actor
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted
from portal.events.models import Event
from portal.hypervisors.connect import connection_of
from portal.hypervisors.identity import portal_id
from tenants import policy, quota
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_state import HypervisorDouble, put
from tests.jobs.conftest import run
from tests.people import Institute

LAN = str(uuid4())


class Hosts:
    """The institute's host, with somebody's network and a bridge of its own, seen from both sides."""

    def __init__(self, place: Institute) -> None:
        self.place = place
        self.root = place.actor("root")
        self.physics = place.centers["physics"]
        self.double = HypervisorDouble(Path(place.provider.address.removeprefix("double://")))
        self.lan()
        self.put("bridge", "br0", active=True)
        self.read()

    def put(self, kind: str, key: str, **body: Any) -> None:
        with self.double.store.change() as db:
            put(db, kind, key, body)

    def lan(self, **more: Any) -> None:
        body = {"name": "lan", "cidr": "192.0.2.0/24", "marker": None, "leases": {}}
        self.put("network", LAN, **(body | more))

    def read(self) -> None:
        sync_provider(self.place.provider)

    def found(self, name: str) -> FoundNetwork:
        return FoundNetwork.objects.get(name=name)

    def offer(self, there: str, **more: Any) -> Network:
        return services.offer_network(self.root, self.place.provider.pk, self.found(there).pk, **more)

    def status(self, network: Network) -> tuple[str, str]:
        network.refresh_from_db()
        return network.name, network.status

    def machine(self, *wanted: Network) -> Vm:
        chosen = tuple(VnicProfile.objects.get(network=row).pk for row in wanted)
        wish = VmRequest("web-1", self.physics.pk, self.place.template.pk, vnic_profile_uids=chosen)
        vm, job = vms.create_vm(self.place.actor("alice"), wish)
        assert run(job).status == "finished", job.error
        return vm


@pytest.fixture
def hosts(institute: Institute) -> Hosts:
    return Hosts(institute)


def test_what_is_offered_and_assigned_carries_machines_and_is_left_as_it_was(hosts: Hosts):
    before = {kind: hosts.double.things(kind) for kind in ("network", "bridge")}
    lan, bridge = hosts.offer("lan"), hosts.offer("br0", name="Institute-LAN")
    assert (lan.name, lan.owner, lan.cidr, lan.status) == ("lan", None, "", "operational")
    alice, charlie = hosts.place.actor("alice"), hosts.place.actor("charlie")
    assert not usable_vnic_profiles(alice, hosts.physics).filter(network__in=[lan, bridge]).exists()
    for row in (lan, bridge):
        sharing.assign(hosts.root, hosts.physics.pk, "network", row.pk)
    assert {str(one) for one in usable_vnic_profiles(alice, hosts.physics)} == {"physics", "lan", "Institute-LAN"}
    assert not networks(charlie).filter(pk__in=[lan.pk, bridge.pk]).exists(), "another department sees neither"
    assert str(usable_vnic_profiles(alice, hosts.physics)[0]) == "physics", "as usual is the department's own"
    vm = hosts.machine(lan, bridge)
    cards = hosts.double.things("vm")[str(vm.pk)]["nics"]
    assert [(card["network"], card.get("bridge", "")) for card in cards] == [("lan", ""), ("", "br0")]
    done = {kind: hosts.double.things(kind) for kind in ("network", "bridge")}
    done["network"][LAN]["leases"] = {}  # which the double hands out, as the host's own DHCP does
    assert done == before
    assert Event.objects.filter(code="NETWORK_OFFER_DONE", object_uid=bridge.pk, data__there="br0").exists()


def test_an_offer_is_taken_back_when_nothing_depends_on_it_and_all_that_does_is_named(hosts: Hosts):
    lan = hosts.offer("lan")
    sharing.assign(hosts.root, hosts.physics.pk, "network", lan.pk)
    policy.grant(system_actor(), "vnic-profile-user", hosts.place.users["bob"], lan.vnic_profiles.get())
    vm = hosts.machine(lan)
    with pytest.raises(Conflict) as refused:
        services.take_back_network(hosts.root, lan.pk)
    told = {reason.code: reason.data["names"] for reason in refused.value.reasons}
    assert told == {"machines": ["web-1"], "data_centers": ["physics"], "roles": ["bob"]}
    assert "Assigned to 1 data center: physics" in refused.value.detail
    with pytest.raises(Conflict, match="web-1"):
        sharing.unassign(hosts.root, hosts.physics.pk, "network", lan.pk)
    vm.nics.all().delete()
    sharing.unassign(hosts.root, hosts.physics.pk, "network", lan.pk)
    policy.revoke(system_actor(), "vnic-profile-user", hosts.place.users["bob"], lan.vnic_profiles.get())
    services.take_back_network(hosts.root, lan.pk)
    assert not Network.objects.filter(pk=lan.pk).exists()
    hosts.read()
    assert hosts.offer("lan").pk != lan.pk, "it can be offered again"


def test_a_network_that_is_taken_back_while_a_machine_is_asked_for_gets_no_card(hosts: Hosts, monkeypatch: Any):
    """Who takes it back holds the data center first; what was chosen before is looked at again after that."""
    lan, hold = hosts.offer("lan"), quota.hold
    sharing.assign(hosts.root, hosts.physics.pk, "network", lan.pk)

    def late(centers: Any) -> None:
        monkeypatch.setattr(quota, "hold", hold)
        sharing.unassign(hosts.root, hosts.physics.pk, "network", lan.pk)
        hold(centers)

    chosen = (VnicProfile.objects.get(network=lan).pk,)
    wish = VmRequest("web-1", hosts.physics.pk, hosts.place.template.pk, vnic_profile_uids=chosen)
    monkeypatch.setattr(quota, "hold", late)
    with pytest.raises(NotFound, match="no such vNIC profile"):
        vms.create_vm(hosts.place.actor("alice"), wish)
    assert not Vm.objects.exists()


def test_an_offer_follows_what_is_there_and_stays_until_it_is_taken_back(hosts: Hosts):
    lan, bridge = hosts.offer("lan"), hosts.offer("br0", name="Institute-LAN")
    for change, status in (
        ({"active": False}, ("lan", "non_operational")),
        ({"name": "lan-2"}, ("lan-2", "operational")),
        # Another portal's now: as good as gone.
        ({"marker": {"portal_id": str(uuid4()), "uid": LAN}}, ("lan-2", "gone")),
        ({}, ("lan", "operational")),
    ):
        hosts.lan(**change)
        hosts.read()
        assert hosts.status(lan) == status, change
        assert str(lan.vnic_profiles.get()) == lan.name
    hosts.double.remove("network", LAN)
    hosts.double.remove("bridge", "br0")
    hosts.read()
    assert (hosts.status(lan), hosts.status(bridge)) == (("lan", "gone"), ("Institute-LAN", "gone"))
    with pytest.raises(Conflict, match="was not offered"):
        services.take_back_network(hosts.root, Network.objects.get(owner=hosts.physics).pk)
    hosts.put("bridge", "br0", active=False)  # as one on which nothing is up: the first machine brings it up
    hosts.read()
    assert hosts.status(bridge) == ("Institute-LAN", "operational")
    assert lan.vnic_profiles.count() == bridge.vnic_profiles.count() == 1
    services.take_back_network(hosts.root, lan.pk)


@pytest.mark.postgres
def test_taking_back_holds_rows_in_the_order_of_a_compare_so_that_neither_waits_for_the_other(hosts: Hosts):
    lan, tables = hosts.offer("lan"), ("network_network", "network_vnicprofile")
    with CaptureQueriesContext(connection) as taking:
        services.take_back_network(hosts.root, lan.pk)
    hosts.offer("lan")
    hosts.lan(name="lan-2")
    with CaptureQueriesContext(connection) as comparing:
        hosts.read()

    def order(asked: CaptureQueriesContext, words: str) -> list[str]:
        texts = [query["sql"] for query in asked.captured_queries if words in query["sql"]]
        return [table for text in texts for table in tables if f'"{table}"' in text.partition("WHERE")[0]]

    assert order(taking, "FOR UPDATE") == order(comparing, 'UPDATE "network_')[:2] == list(tables)


def test_a_bridge_that_is_not_told_is_not_gone(hosts: Hosts):
    bridge, seen = hosts.offer("br0"), DoubleDriver(connection_of(hosts.place.provider)).inventory()
    for tells, status in ((False, "operational"), (True, "gone")):
        hidden = replace(seen, hosts=tuple(replace(one, bridges=(), tells_bridges=tells) for one in seen.hosts))
        write_networks(hosts.place.provider, hidden, ours=portal_id(), began=timezone.now())
        assert hosts.status(bridge) == ("br0", status)


def test_only_what_is_nobodys_and_can_be_held_to_its_own_is_offered_by_super_admins(hosts: Hosts):
    theirs = str(uuid4())
    marker = {"portal_id": str(uuid4()), "uid": theirs}
    hosts.put("network", theirs, name="theirs", cidr="198.51.100.0/24", marker=marker, leases={})
    hosts.read()
    FoundNetwork.objects.filter(name="br0").update(kind="network", bridge="")
    ours = FoundNetwork.objects.get(owner="ours", external_id=str(Network.objects.get(owner=hosts.physics).pk)).name
    for name, code in ((ours, "network_ours"), ("theirs", "network_of_portal"), ("br0", "network_without_bridge")):
        with pytest.raises(Conflict) as refused:
            hosts.offer(name)
        assert [reason.code for reason in refused.value.reasons] == [code]
    with pytest.raises(Invalid):
        hosts.offer("lan", name="no good")
    hosts.offer("lan")
    with pytest.raises(Conflict, match="offered already, as lan"):
        hosts.offer("lan")
    provider, found = hosts.place.provider.pk, hosts.found("lan").pk
    with pytest.raises(NotFound):
        services.offer_network(hosts.place.actor("physics-admin"), provider, found)
    sharing.assign(hosts.root, hosts.physics.pk, "network", Network.objects.get(name="lan").pk)
    with pytest.raises(NotPermitted):
        services.take_back_network(hosts.place.actor("physics-admin"), Network.objects.get(name="lan").pk)
    assert Event.objects.filter(code="NETWORK_OFFER_REFUSED").count() == 6
    assert "192.0.2.0/24" in {held.range for held in held_ranges(hosts.place.provider)}, "its range stays taken"


def test_who_offers_is_told_what_machines_reach(hosts: Hosts):
    FoundNetwork.objects.filter(name="br0").update(members=["eth0", "eth1"])
    told = {
        name: {warning.code: warning.text for warning in offer.warnings}
        for name in ("lan", "br0")
        for offer in [services.get_offer(hosts.root, hosts.place.provider.pk, hosts.found(name).pk)]
    }
    assert told["lan"].keys() == {"offered_is_shared", "offered_reaches_host"}
    assert "192.0.2.0/24" in told["lan"]["offered_reaches_host"]
    assert "eth0, eth1" in told["br0"]["offered_leads_out"]
    FoundNetwork.objects.filter(name="br0").update(members=[], active=False)
    FoundNetwork.objects.filter(name="lan").update(active=False)
    told = {
        name: [
            warning.text
            for warning in services.get_offer(hosts.root, hosts.place.provider.pk, hosts.found(name).pk).warnings
        ]
        for name in ("lan", "br0")
    }
    assert "It is stopped now." in told["lan"][-1]
    assert "it leads nowhere" in told["br0"][-1], "a bridge is up with the first machine on it"
