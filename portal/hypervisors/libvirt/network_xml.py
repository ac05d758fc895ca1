"""Networks and their filters as XML. Pure.

The filter works on two levels. On the frame (ebtables, stateless) a machine sends with its own MAC and address or not at
all, speaks ARP and IPv4 only, serves no DHCP, and reaches its own network, what is allowed and public addresses. On the packet
(iptables, with connection tracking) it reaches the gateway, which is the host, for DHCP and DNS and to answer what the host
asked. A rule on packets costs the start of a card three runs of iptables, one on frames a single run: hence the division.

What libvirt's filters let pass they accept for good, before libvirt's own rules that keep networks apart: so the filter must
do that too. They cannot tell what is forwarded from what is for the host but by address: so the host's must be known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any
from uuid import UUID

from portal.hypervisors.errors import Invalid
from portal.hypervisors.libvirt import names
from portal.hypervisors.libvirt.xml import (
    E,
    Element,
    attribute_of,
    marker_of,
    metadata,
    parse,
    text_of,
    uuid_of,
    write,
)
from portal.hypervisors.specs import Marker, NetworkSpec

# Order of the rules: who sends, then where a frame goes. Those on the sender are replaced where we have learnt better, those
# on the host's addresses and other networks of it when these change.
SENDER_PRIORITIES = frozenset(map(str, range(-900, -800)))
INSIDE_PRIORITY = -700
BLOCKED_PRIORITY = -690
ALLOWED_PRIORITY = -680
REFUSED_PRIORITY = -670

# Somebody's inside (RFC 1918, RFC 6598), loopback, link-local; from 224 on multicast and broadcast, which reach the host.
REFUSED = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
)
ROUTER_ADVERTISEMENT = "134"  # of ICMPv6
VLAN_TAGS = ("vlan", "0x88a8")  # IEEE 802.1Q and 802.1ad, as libvirt writes them
SMALLEST = 29  # prefix length: the gateway and five machines


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of a network: the gateway is the first, the cards' are the rest."""

    network: IPv4Network

    @classmethod
    def of(cls, cidr: str) -> Plan:
        """From CIDR form. Raises ``Invalid`` for what is no IPv4 network, or too small a one."""
        network = _network(cidr)
        if network.prefixlen > SMALLEST:
            raise Invalid("The network is too small.", detail=cidr)
        return cls(network)

    @property
    def gateway(self) -> IPv4Address:
        """The first address: the host's."""
        return self.network[1]


# -- the network


def network(spec: NetworkSpec, marker: Marker) -> str:
    """A NAT network on a bridge of its own, whose DHCP serves the cards that addresses are reserved for and no others.

    No range: a machine could ask for all of it in the name of cards that are not there. No spanning tree: the kernel hears
    its messages before any filter, and a machine could make itself the bridge's root.
    """
    plan = Plan.of(spec.cidr)
    root = E.network(E.name(spec.name), E.uuid(str(spec.uid)), metadata(marker))
    root.append(E.forward(mode="nat"))
    root.append(E.bridge(name=names.bridge(spec.uid), stp="off", delay="0"))
    if spec.domain:
        root.append(E.domain(name=spec.domain, localOnly="yes"))
    root.append(E.ip(address=str(plan.gateway), prefix=str(plan.network.prefixlen)))
    return write(root)


def reservation(mac: str, ip: str) -> str:
    """The address that DHCP gives a card."""
    return write(E.host(mac=mac, ip=ip))


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What a network's XML says. ``reserved``: address by MAC; ``ranges``: all it has, IPv6 too."""

    name: str
    uuid: UUID
    marker: Marker | None
    bridge: str
    cidr: str
    reserved: dict[str, str]
    forward: str = ""
    ranges: tuple[str, ...] = ()


def read_network(text: str) -> NetworkFacts:
    """The facts of a network, anybody's."""
    root = parse(text)
    hosts, ranges = root.iterfind("ip/dhcp/host"), _ranges(root)
    forward = root.find("forward")
    return NetworkFacts(
        name=text_of(root, "name"),
        uuid=uuid_of(root),
        marker=marker_of(root),
        bridge=attribute_of(root, "bridge", "name"),
        cidr=next((one for one in ranges if ":" not in one), ""),
        reserved={(host.get("mac") or "").lower(): host.get("ip") or "" for host in hosts},
        # What has no mode of its own is NAT to libvirt; what has no element leads nowhere.
        forward=(forward.get("mode") or "nat") if forward is not None else "",
        ranges=ranges,
    )


def _ranges(root: Element) -> tuple[str, ...]:
    found = []
    for ip in root.iterfind("ip"):
        address = ip.get("address") or ""
        mask = ip.get("prefix") or ip.get("netmask") or ("128" if ":" in address else "32")
        if address:
            found.append(str(_any_network(f"{address}/{mask}")))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """What the XML of an interface of the host says, of one that is a bridge."""

    name: str
    members: tuple[str, ...]


def read_bridge(text: str) -> InterfaceFacts | None:
    """The facts of a bridge; None for an interface of another kind."""
    root = parse(text)
    if root.get("type") != "bridge":
        return None
    members = (one.get("name") or "" for one in root.iterfind("bridge/interface"))
    return InterfaceFacts(root.get("name") or "", tuple(sorted(filter(None, members))))


# -- the filter


def network_filter(spec: NetworkSpec, *, name: str, inside: Iterable[str]) -> str:
    """The filter of every card on a network; ``$MAC`` and ``$IP`` are libvirt's to fill in per card.

    ``inside``: addresses of the host and CIDRs of its other networks, refused whatever ``spec.allowed`` says.
    """
    plan = Plan.of(spec.cidr)
    allowed = [plan.network, *(_network(cidr) for cidr in spec.allowed)]
    root = E.filter(E.uuid(str(spec.uid)), name=name, chain="root", priority="-700")
    root.extend(_sender_rules())
    root.extend(_refusals({*inside, str(plan.network[-1])}, allowed=allowed, priority=INSIDE_PRIORITY))
    root.extend(_refusals(spec.blocked, allowed=allowed, priority=BLOCKED_PRIORITY))
    root.extend(_rule("accept", "out", ALLOWED_PRIORITY, _to(network)) for network in allowed)
    root.extend(_rule("drop", "out", REFUSED_PRIORITY, _to(_network(cidr))) for cidr in REFUSED)
    root.append(_rule("accept", "inout", -600, E.mac(protocolid="ipv4")))
    root.append(_rule("drop", "inout", -590))  # everything else, IPv6 among it
    root.extend(_gateway_rules(plan))
    return write(root)


def offered_filter(name: str, uid: UUID) -> str:
    """The filter of a card on what is not ours, whose addresses we do not know: it speaks for its own MAC alone, and hands out
    no addresses, from whatever port: who asks for one looks only to which port an answer goes. Its frames bear no tag of a
    VLAN: no rule looks behind one, and one of VLAN 0 is taken as if it had none.
    """
    root = E.filter(E.uuid(str(uid)), name=name, chain="root", priority="-700")
    root.extend(_own_mac_rules())
    root.extend(_rule("drop", "out", -880, E.mac(protocolid=tag)) for tag in VLAN_TAGS)
    root.extend(_no_answer_rules())
    root.append(_rule("drop", "out", -835, E.ipv6(protocol="udp", srcportstart="547")))
    root.append(_rule("drop", "out", -835, E.ipv6(protocol="udp", dstportstart="546")))
    root.append(_rule("drop", "out", -830, E.ipv6(protocol="icmpv6", type=ROUTER_ADVERTISEMENT)))
    return write(root)


def is_filter(text: str, wanted: str) -> bool:
    """Whether a filter, as libvirt tells of it, holds what this one does; whatever its UUID."""
    return _said(parse(text)) == _said(parse(wanted))


def _said(element: Element) -> tuple[Any, ...]:
    return element.tag, dict(element.attrib), [_said(each) for each in element if each.tag != "uuid"]


def refreshed(text: str, inside: Iterable[str], *, cidr: str) -> str | None:
    """The filter of a network, with the rules on senders that it would get today, and refusing these addresses too; those that
    it refused before stay so (they may come back).

    None when there is nothing to change.
    """
    root = parse(text)
    is_changed = _renew_senders(root)
    rules = list(root.iterfind("rule"))
    old = [rule for rule in rules if rule.get("priority") == str(INSIDE_PRIORITY)]
    allowed = [_network(cidr), *(_target(rule) for rule in rules if rule.get("priority") == str(ALLOWED_PRIORITY))]
    known = {_target(rule) for rule in old}
    new = _refusals({*inside, *map(str, known)}, allowed=allowed, priority=INSIDE_PRIORITY)
    if {_target(rule) for rule in new} != known:
        _exchange(root, old, new)
        is_changed = True
    return write(root) if is_changed else None


def _renew_senders(root: Element) -> bool:
    """Whether there was anything to renew."""
    old = [rule for rule in root.iterfind("rule") if rule.get("priority") in SENDER_PRIORITIES]
    new = _sender_rules()
    if [_said(rule) for rule in old] == [_said(rule) for rule in new]:
        return False
    _exchange(root, old, new)
    return True


def _exchange(root: Element, old: list[Element], new: list[Element]) -> None:
    for rule in old:
        root.remove(rule)
    root.extend(new)


def _refusals(cidrs: Iterable[str], *, allowed: list[IPv4Network], priority: int) -> list[Element]:
    """Rules for those that nothing else refuses anyway. The first of the allowed is the network itself."""
    wanted = {_network(cidr) for cidr in cidrs} - {_gateway_of(allowed[0])}
    needed = [each for each in collapse_addresses(wanted) if not _is_refused(each, allowed)]
    return [_rule("drop", "out", priority, _to(each)) for each in needed]


def _is_refused(network: IPv4Network, allowed: list[IPv4Network]) -> bool:
    if any(network.overlaps(each) for each in allowed):
        return False
    return any(network.subnet_of(_network(each)) for each in REFUSED)


def _gateway_of(network: IPv4Network) -> IPv4Network:
    """The gateway is an address of the host too, with rules of its own."""
    return _network(str(network[1]))


def _target(rule: Element) -> IPv4Network:
    address, mask = attribute_of(rule, "ip", "dstipaddr"), attribute_of(rule, "ip", "dstipmask")
    return _network(f"{address}/{mask or 32}")


def _own_mac_rules() -> list[Element]:
    return [
        _rule("drop", "out", -900, E.mac(match="no", srcmacaddr="$MAC")),
        _rule("drop", "out", -890, E.arp(match="no", arpsrcmacaddr="$MAC")),
    ]


def _no_answer_rules() -> list[Element]:
    """DHCP's answers: what comes from a server's port, and what goes to a client's."""
    return [
        _rule("drop", "out", -840, E.ip(protocol="udp", srcportstart="67")),
        _rule("drop", "out", -840, E.ip(protocol="udp", dstportstart="68")),
    ]


def _sender_rules() -> list[Element]:
    return [
        *_own_mac_rules(),
        # ARP: for its own address too; 0.0.0.0 asks whether an address is taken.
        _rule("accept", "out", -880, E.arp(arpsrcipaddr="0.0.0.0", opcode="Request")),  # noqa: S104
        _rule("drop", "out", -870, E.arp(match="no", arpsrcipaddr="$IP")),
        _rule("accept", "inout", -860, E.arp()),
        # DHCP: asked for by anybody, answered by nobody but the host.
        _rule("accept", "out", -850, E.ip(srcipaddr="0.0.0.0", **_DHCP)),  # noqa: S104
        *_no_answer_rules(),
        _rule("drop", "out", -830, E.ip(match="no", srcipaddr="$IP")),
        _rule("accept", "out", -820, E.ip(**_DHCP)),
    ]


_DHCP = {"dstipaddr": "255.255.255.255", "protocol": "udp", "srcportstart": "68", "dstportstart": "67"}


def _gateway_rules(plan: Plan) -> list[Element]:
    """On packets. ``x.0/31`` is the network's own address, which old systems take for a broadcast, and the gateway."""
    gateway = str(plan.gateway)
    return [
        _rule("accept", "out", 100, E.all(state="ESTABLISHED")),
        _rule("accept", "out", 200, E.udp(srcportstart="68", dstportstart="67", dstipaddr=gateway)),
        _rule("accept", "out", 210, E.udp(dstportstart="53", dstipaddr=gateway)),
        _rule("accept", "out", 211, E.tcp(dstportstart="53", dstipaddr=gateway)),
        _rule("reject", "out", 300, E.all(dstipaddr=str(plan.network[0]), dstipmask="31")),
    ]


def _to(network: IPv4Network) -> Element:
    return E.ip(dstipaddr=str(network.network_address), dstipmask=str(network.prefixlen))


def _rule(action: str, direction: str, priority: int, *what: Element) -> Element:
    return E.rule(*what, action=action, direction=direction, priority=str(priority))


def _any_network(cidr: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(cidr, strict=False)
    except ValueError as error:
        raise Invalid(detail=f"not a network: {cidr!r}") from error


def _network(cidr: str) -> IPv4Network:
    network = _any_network(cidr)
    if not isinstance(network, IPv4Network):
        raise Invalid(detail=f"not an IPv4 network: {cidr!r}")
    return network
