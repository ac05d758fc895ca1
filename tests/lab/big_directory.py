"""An OpenLDAP of a university's size, loaded in seconds: people, one large group of them within another, and one popular person.

Its entryUUIDs are given, so that rows here can be made without asking it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from tests.lab.slapd_server import GROUPS, PEOPLE, PORTAL, PORTAL_PASSWORD, SUFFIX, SlapdServer

PASSWORD = "Prima-vera-1642"
LARGE, OUTER = "large", "outer"  # the group of many, and the one that it is in
POPULAR = "popular"  # is in groups without end


@contextmanager
def big_directory(*, people: int = 20_000, members: int = 5_000, popular_in: int = 0) -> Iterator[SlapdServer]:
    """A server that answers, with so many people, of whom the first so many are in the large group."""
    server = SlapdServer()
    server.load(_entries(people, members, popular_in))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def name_of(number: int) -> str:
    """What the person of this number logs in with, and the password is the same for all."""
    return f"person{number:05}"


def guid_of(number: int) -> str:
    return str(UUID(int=number + 1))


def dn_of(name: str) -> str:
    return f"uid={name},{PEOPLE}"


def _entries(people: int, members: int, popular_in: int) -> Iterator[str]:
    yield _entry(SUFFIX, "objectClass: dcObject", "objectClass: organization", "o: Lab", "dc: lab")
    for unit in ("people", "groups", "services"):
        yield _entry(f"ou={unit},{SUFFIX}", "objectClass: organizationalUnit", f"ou: {unit}")
    classes = ("objectClass: organizationalRole", "objectClass: simpleSecurityObject")
    yield _entry(PORTAL, *classes, "cn: portal", f"userPassword: {PORTAL_PASSWORD}")
    for number in range(people):
        yield _person(name_of(number), guid_of(number))
    yield _person(POPULAR, guid_of(people))
    yield _group(LARGE, [dn_of(name_of(number)) for number in range(members)])
    yield _group(OUTER, [f"cn={LARGE},{GROUPS}"])
    for number in range(popular_in):
        yield _group(f"of-one-{number}", [dn_of(POPULAR)])


def _person(name: str, guid: str) -> str:
    lines = ("objectClass: inetOrgPerson", f"uid: {name}", f"cn: {name}", f"sn: {name}", f"mail: {name}@lab.example")
    return _entry(dn_of(name), *lines, f"userPassword: {PASSWORD}", f"entryUUID: {guid}")


def _group(name: str, members: list[str]) -> str:
    return _entry(
        f"cn={name},{GROUPS}", "objectClass: groupOfNames", f"cn: {name}", *(f"member: {dn}" for dn in members)
    )


def _entry(dn: str, *lines: str) -> str:
    return "\n".join([f"dn: {dn}", *lines, ""])
