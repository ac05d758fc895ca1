"""A network's XML and its filter, read as the kernel reads them: by priority, the first match decides."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.errors import Invalid
from portal.hypervisors.libvirt.network_xml import (
    Plan,
    is_filter,
    network,
    network_filter,
    offered_filter,
    read_network,
    refreshed,
    reservation,
)
from portal.hypervisors.libvirt.xml import Element, parse, write
from portal.hypervisors.specs import Marker, NetworkSpec
from tests.hypervisors.libvirt_driver.samples import MARKUP, PORTAL, UID

MAC, IP = "52:54:00:00:00:01", "10.98.0.7"
CIDR = "10.98.0.0/24"
NO_ADDRESS = str(IPv4Address(0))
HOST = ("192.168.1.5", "203.0.113.9")  # addresses of the host
OTHER = "10.98.1.0/24"  # the other department's network


def spec(**more: Any) -> NetworkSpec:
    return NetworkSpec(UID, "physics-aaaaaaaa", more.pop("cidr", CIDR), **more)


@dataclass(frozen=True)
class Frame:
    """What a machine sends. ``kind``: ip, arp, ipv6, ..."""

    to: str = ""
    kind: str = "ip"
    mac: str = MAC
    source: str = IP
    protocol: str = "tcp"
    sport: int = 40000
    dport: int = 22
    opcode: int = 1
    type: int = 0  # of ICMPv6


def passes(text: str, frame: Frame) -> bool:
    """Whether a frame passes the rules on frames (stateless), in the order of their priority."""
    rules = [rule for rule in parse(text).iterfind("rule") if rule.get("direction") in {"out", "inout"}]
    for rule in sorted(rules, key=_priority):
        if _priority(rule) < 0 and _matches(rule, frame):
            return rule.get("action") == "accept"
    return True


def _priority(rule: Element) -> int:
    return int(rule.get("priority") or 0)


def _matches(rule: Element, frame: Frame) -> bool:
    if not len(rule):
        return True
    [what] = rule
    wanted = dict(what.attrib)
    is_negated = wanted.pop("match", "") == "no"
    if what.tag in {"ip", "ipv6", "arp"} and what.tag != frame.kind:
        return False
    target, mask = wanted.pop("dstipaddr", ""), wanted.pop("dstipmask", "32")
    if target and IPv4Address(frame.to) not in IPv4Network(f"{target}/{mask}"):
        return False
    return all(_is(name, value, frame) for name, value in wanted.items()) != is_negated


def _is(name: str, value: str, frame: Frame) -> bool:
    value = {"$MAC": MAC, "$IP": IP}.get(value, value)
    return {
        "srcmacaddr": frame.mac == value,
        "arpsrcmacaddr": frame.mac == value,
        "arpsrcipaddr": frame.source == value,
        "opcode": {1: "Request", 2: "Reply"}[frame.opcode] == value,
        "srcipaddr": frame.source == value,
        "protocol": frame.protocol == value,
        "protocolid": frame.kind == {"ipv4": "ip", "0x88a8": "vlan of a provider"}.get(value, value),
        "srcportstart": str(frame.sport) == value,
        "dstportstart": str(frame.dport) == value,
        "type": str(frame.type) == value,
    }[name]


@pytest.fixture
def text() -> str:
    return network_filter(spec(blocked=(OTHER,)), name="filter", inside=[*HOST, "192.168.122.0/24"])


# -- the network


def test_a_network_is_what_was_asked_for() -> None:
    facts = read_network(network(spec(domain="physics.lab"), Marker(PORTAL, UID)))
    assert (facts.name, facts.uuid, facts.marker) == ("physics-aaaaaaaa", UID, Marker(PORTAL, UID))
    assert (facts.cidr, facts.bridge, facts.reserved) == (CIDR, "staaaaaaaabbbb", {})
    assert str(Plan.of(CIDR).gateway) == "10.98.0.1"


@pytest.mark.parametrize(
    "cidr", ["", "10.98.0.0", "10.98.0.0/30", "10.98.0.0/33", "fd00::/64", "10.98.0.0/24; drop", "x"]
)
def test_a_range_that_is_none_or_too_small_is_invalid(cidr: str) -> None:
    with pytest.raises(Invalid):
        network(spec(cidr=cidr), Marker(PORTAL, UID))


@pytest.mark.parametrize("markup", MARKUP)
def test_IN02_names_add_no_node(markup: str) -> None:  # noqa: N802
    plain = parse(network(spec(domain="x"), Marker(PORTAL, UID)))
    other = parse(network(NetworkSpec(UID, markup, CIDR, domain=markup), Marker(PORTAL, UID)))
    assert [each.tag for each in other.iter()] == [each.tag for each in plain.iter()]
    assert other.findtext("name") == markup


def test_a_reservation_names_card_and_address() -> None:
    assert dict(parse(reservation(MAC, IP)).attrib) == {"mac": MAC, "ip": IP}


# -- the filter


ALLOWED = {
    "a neighbour on the same network": Frame("10.98.0.8"),
    "a public address": Frame("198.51.100.7", dport=443),
    "a name asked of the gateway": Frame("10.98.0.1", protocol="udp", dport=53),
    "DHCP asked of everybody": Frame("255.255.255.255", source=NO_ADDRESS, protocol="udp", sport=68, dport=67),
    "ARP for its own address": Frame(kind="arp"),
    "ARP probe": Frame(kind="arp", source=NO_ADDRESS),
}
REFUSED = {
    "the other department": Frame("10.98.1.7"),
    "a private address": Frame("172.16.3.4"),
    "another network of the host": Frame("192.168.122.1"),
    "the host's address": Frame("192.168.1.5"),
    "the host's public address": Frame("203.0.113.9"),
    "loopback": Frame("127.0.0.1"),
    "the cloud's metadata": Frame("169.254.169.254", dport=80),
    "multicast": Frame("224.0.0.251", protocol="udp", dport=5353),
    "broadcast": Frame("255.255.255.255", protocol="udp", dport=9),
    "the network's broadcast": Frame("10.98.0.255", protocol="udp", dport=9),
    "another MAC": Frame("198.51.100.7", mac="52:54:00:00:00:02"),
    "another address": Frame("198.51.100.7", source="10.98.0.8"),
    "ARP for another address": Frame(kind="arp", source="10.98.0.1"),
    "ARP answer for no address": Frame(kind="arp", source=NO_ADDRESS, opcode=2),
    "a DHCP server": Frame("10.98.0.8", protocol="udp", sport=67, dport=68),
    "a DHCP server's answer to nobody": Frame("10.98.0.8", protocol="udp", sport=67, dport=9),
    "a DHCP server that answers from another port": Frame("10.98.0.8", protocol="udp", sport=6700, dport=68),
    "IPv6": Frame(kind="ipv6"),
    "VLAN": Frame(kind="vlan"),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_a_machine_may_send_to(text: str, what: str) -> None:
    assert passes(text, ALLOWED[what])


@pytest.mark.parametrize("what", REFUSED)
def test_a_machine_may_not_send_to(text: str, what: str) -> None:
    assert not passes(text, REFUSED[what])


def test_what_is_allowed_is_reached_and_what_is_the_hosts_is_not_even_there() -> None:
    text = network_filter(spec(allowed=("172.16.0.0/12",)), name="filter", inside=["172.16.0.5"])
    assert passes(text, Frame("172.16.3.4"))
    assert not passes(text, Frame("172.16.0.5"))
    assert not passes(text, Frame("192.168.3.4"))


def test_a_blocked_public_range_is_refused() -> None:
    text = network_filter(spec(blocked=("198.51.100.0/24",)), name="filter", inside=[])
    assert not passes(text, Frame("198.51.100.7"))
    assert passes(text, Frame("198.51.101.7"))


# -- what the host gets later


def test_what_the_host_gets_later_is_refused_too_and_what_it_had_stays_so(text: str) -> None:
    changed = refreshed(text, ["203.0.113.77"], cidr=CIDR)
    assert changed is not None
    for address in ("203.0.113.77", "203.0.113.9"):
        assert not passes(changed, Frame(address))
    assert passes(changed, Frame("203.0.113.78"))
    assert refreshed(changed, ["203.0.113.77"], cidr=CIDR) is None


def test_where_nothing_is_new_nothing_is_changed(text: str) -> None:
    assert refreshed(text, HOST, cidr=CIDR) is None
    assert refreshed(text, [], cidr=CIDR) is None
    assert refreshed(text, ["10.98.0.1", "10.1.2.3"], cidr=CIDR) is None, "refused anyway"


def test_rules_on_senders_that_were_weaker_once_are_renewed_and_the_rest_stays(text: str) -> None:
    root = parse(text)
    for rule in root.findall("rule"):
        if rule.find("ip[@dstportstart='68']") is not None:
            root.remove(rule)
    weaker = write(root)
    assert passes(weaker, REFUSED["a DHCP server that answers from another port"])
    changed = refreshed(weaker, HOST, cidr=CIDR)
    assert changed is not None
    assert [name for name, frame in ALLOWED.items() if not passes(changed, frame)] == []
    assert [name for name, frame in REFUSED.items() if passes(changed, frame)] == []
    assert sorted(_texts(changed)) == sorted(_texts(text))
    assert refreshed(changed, HOST, cidr=CIDR) is None


def _texts(text: str) -> list[str]:
    return [write(rule) for rule in parse(text)]


def test_a_filter_bears_its_networks_uuid() -> None:
    other = uuid4()
    root = parse(network_filter(NetworkSpec(other, "x", CIDR), name="filter-x", inside=[]))
    assert (root.findtext("uuid"), root.get("name")) == (str(other), "filter-x")


# -- the filter of cards on what is not ours

OWN = {
    "any address": Frame("192.168.1.1", source="192.168.1.77"),
    "IPv6": Frame(kind="ipv6"),
    "ARP for any address": Frame(kind="arp", source="192.168.1.77"),
    "DHCP asked": Frame("255.255.255.255", source=NO_ADDRESS, protocol="udp", sport=68, dport=67),
    "DHCPv6 asked": Frame(kind="ipv6", protocol="udp", sport=546, dport=547),
}
NOT_ITS_OWN = {
    "another card's frame": Frame("192.168.1.1", mac="52:54:00:00:00:02"),
    "another card's ARP": Frame(kind="arp", mac="52:54:00:00:00:02"),
    "an address handed out": Frame("192.168.1.9", protocol="udp", sport=67, dport=68),
    "an address handed out from another port": Frame("192.168.1.9", protocol="udp", sport=6700, dport=68),
    "an IPv6 address handed out": Frame(kind="ipv6", protocol="udp", sport=547, dport=546),
    "an IPv6 address handed out from another port": Frame(kind="ipv6", protocol="udp", sport=5470, dport=546),
    "a router's advertisement": Frame(kind="ipv6", protocol="icmpv6", type=134),
    # Also of the VLAN 0, which is nobody's: hosts take what is in it, and no rule looks into it.
    "a frame with a tag": Frame(kind="vlan"),
    "a frame with a provider's tag": Frame(kind="vlan of a provider"),
}


def test_on_what_is_not_ours_a_card_speaks_for_itself_and_hands_out_no_addresses() -> None:
    text = offered_filter("stegi-11111111-offered", UID)
    assert [name for name, frame in OWN.items() if not passes(text, frame)] == []
    assert [name for name, frame in NOT_ITS_OWN.items() if passes(text, frame)] == []


def test_a_filter_is_another_one_by_its_rules_and_not_by_its_uuid() -> None:
    text = offered_filter("stegi-11111111-offered", UID)
    assert is_filter(text, offered_filter("stegi-11111111-offered", uuid4()))
    weaker, more = parse(text), parse(text)
    weaker.remove(weaker.findall("rule")[-1])
    more.insert(1, more.makeelement("filterref", {"filter": "allow-all"}))
    for other in (write(weaker), write(more), offered_filter("stegi-22222222-offered", UID)):
        assert not is_filter(other, text)
