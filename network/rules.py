"""The rules of networks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from django.utils.translation import gettext as _

from network.choices import FoundKind, FoundOwner
from portal.common.errors import Reason

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Held:
    """A range that a network on a provider has, ours or another's."""

    network: str
    range: str


def network_reasons(name: str, cidr: str, held: Iterable[Held]) -> list[Reason]:
    """Why this network cannot be: its name, its range, or an overlap with another on the same provider."""
    found = name_reasons(name)
    try:
        wanted = ip_network(cidr)
    except ValueError:
        return [*found, Reason("range_invalid", _("An address range looks like 10.20.0.0/24."), "cidr")]
    if wanted.version != 4 or not wanted.is_private or not 16 <= wanted.prefixlen <= 28:
        found.append(Reason("range_unfit", _("Choose a private IPv4 range between /16 and /28."), "cidr"))
    return found + [_overlap(other) for other in held if overlaps(cidr, other.range)]


def name_reasons(name: str) -> list[Reason]:
    """Why a network cannot be called so."""
    if NAME.fullmatch(name):
        return []
    return [Reason("name_invalid", _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'."), "name")]


def offer_reasons(kind: str, owner: str, bridge: str, *, is_engines: bool) -> list[Reason]:
    """Why what was found on a provider, by its kind, whose it is and its bridge, cannot be offered to departments."""
    if is_engines:
        text = _(
            "It is an engine's: assign it to data centers as it is. Without a vNIC profile no machine can be on it."
        )
        return [Reason("network_of_engine", text)]
    if owner == FoundOwner.OURS:
        return [Reason("network_ours", _("The portal made it: it is its data center's."))]
    if owner == FoundOwner.PORTAL:
        return [Reason("network_of_portal", _("It bears another portal's mark."))]
    if kind == FoundKind.NETWORK and not bridge:
        text = _(
            "It has no bridge: no filter can hold a machine on it to its own MAC address. Make a bridge on the host, and offer that."
        )
        return [Reason("network_without_bridge", text)]
    return []


def offer_warnings(
    kind: str, forward: str, members: Sequence[str], ranges: Sequence[str], *, active: bool
) -> list[Reason]:
    """What whoever offers it must know: what machines on it reach, what the portal does not do there, whether it works."""
    text = _(
        "Machines on it reach whatever else is on it, and are reached from there, those of other data centers too. The portal "
        "gives out no addresses on it and keeps nobody on it apart; it holds a machine to its own MAC address, not to an IP address."
    )
    found = [Reason("offered_is_shared", text)]
    if kind == FoundKind.BRIDGE or forward == "bridge":
        told = _(
            "It leads wherever the host connects it. Where the host has an address on it, machines reach the host there."
        )
        if kind == FoundKind.BRIDGE and not members:
            told = _(
                "None of the host's cards is in it now, so it leads nowhere; whoever puts one in opens it. Where the host has "
                "an address on it, machines reach the host there."
            )
        elif members:
            told = _(
                "It leads to the network behind the host's cards %(cards)s. Where the host has an address on it, machines reach the "
                "host there."
            ) % {"cards": ", ".join(members)}
        found.append(Reason("offered_leads_out", told))
    elif ranges:
        told = _("The host has an address on it (%(ranges)s): machines reach the host's own services there.")
        found.append(Reason("offered_reaches_host", told % {"ranges": ", ".join(ranges)}))
    if not active and kind == FoundKind.NETWORK:
        told = _("It is stopped now. No machine is made on it, and none starts, until somebody starts it on the host.")
        found.append(Reason("offered_is_stopped", told))
    return found


def _overlap(other: Held) -> Reason:
    figures = {"range": other.range, "network": other.network}
    text = _(
        "The range overlaps %(range)s of the network %(network)s on this provider. "
        "Choose another range, or leave it empty for the next free one."
    )
    return Reason("range_overlaps", text % figures, "cidr", figures)


def overlaps(one: str, other: str) -> bool:
    """Whether two ranges in CIDR form have an address in common."""
    first, second = ip_network(one, strict=False), ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)
