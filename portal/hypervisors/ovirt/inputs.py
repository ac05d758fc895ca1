"""What is wrong with an engine's address and log-in as they stand, by field: found before anybody is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from portal.hypervisors.findings import Finding
from portal.hypervisors.ovirt.address import parsed
from portal.hypervisors.ovirt.certificates import read
from portal.hypervisors.specs import Connection

LONGEST_USERNAME = 255
# The profile is what stands after the last @: a name may hold one too (somebody@example.org@ldap).
WITH_PROFILE = re.compile(r"[^\s@]+(@[^\s@]+)+")


def refusals(connection: Connection) -> tuple[Finding, ...]:
    """All of them; empty when it is worth a try."""
    return tuple(_refusals(connection))


def _refusals(connection: Connection) -> Iterator[Finding]:
    engine = parsed(connection.address)
    if isinstance(engine, str):
        yield Finding("address", engine)
    if code := _username_fault(connection.username):
        yield Finding("username", code)
    if not connection.secrets.get("password"):
        yield Finding("password", "password_missing")
    if connection.ca_pem:
        yield from _of_ca(connection.ca_pem)


def _username_fault(name: str) -> str:
    if not name:
        return "username_missing"
    if len(name) > LONGEST_USERNAME or not name.isprintable():
        return "username_invalid"
    return "" if WITH_PROFILE.fullmatch(name) else "username_profile"


def _of_ca(pem: str) -> Iterator[Finding]:
    """Several may be pasted, of which some may have had their time: what one vouches for is asked when it is tried."""
    ends = [each.not_valid_after_utc for each in read(pem)]
    if not ends:
        yield Finding("ca_pem", "certificate_invalid")
    elif max(ends) < datetime.now(UTC):
        yield Finding("ca_pem", "ca_expired", {"until": max(ends).date().isoformat()})
