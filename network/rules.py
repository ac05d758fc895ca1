"""The rules of networks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network

from django.utils.translation import gettext as _

from portal.common.errors import Reason

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def network_reasons(name: str, cidr: str, taken: Iterable[str]) -> list[Reason]:
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
    found += [
        Reason(
            "range_overlaps",
            _("The range overlaps %(other)s, which is in use.") % {"other": other},
            "cidr",
            {"other": other},
        )
        for other in taken
        if wanted.overlaps(ip_network(other))
    ]
    return found
