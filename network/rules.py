"""The rules of networks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from django.utils.translation import gettext as _

from portal.common.errors import Reason

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Held:
    """A range that a network on a provider has, ours or another's."""

    network: str
    range: str


def network_reasons(name: str, cidr: str, held: Iterable[Held]) -> list[Reason]:
    """Why this network cannot be: its name, its range, or an overlap with another on the same provider."""
    found = []
    if not NAME.fullmatch(name):
        found.append(
            Reason("name_invalid", _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'."), "name")
        )
    try:
        wanted = ip_network(cidr)
    except ValueError:
        return [*found, Reason("range_invalid", _("An address range looks like 10.20.0.0/24."), "cidr")]
    if wanted.version != 4 or not wanted.is_private or not 16 <= wanted.prefixlen <= 28:
        found.append(Reason("range_unfit", _("Choose a private IPv4 range between /16 and /28."), "cidr"))
    return found + [_overlap(other) for other in held if overlaps(cidr, other.range)]


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
