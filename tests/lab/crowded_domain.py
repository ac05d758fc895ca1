"""People and groups of Active Directory in numbers, made on one connection: each person in a few groups, which are in others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ldap

from tenants.directory.accounts import guid_of_ad
from tests.lab.samba_server import SUFFIX, SambaServer

IN_EACH = 4  # groups that a person is in himself
OUTERS = 5  # groups that these are in, in turn
OUTER = "crowd-outer0"


def dn_of(name: str) -> str:
    """Where anybody and any group of these is."""
    return f"CN={name},CN=Users,{SUFFIX}"


def crowd(server: SambaServer, *, people: int, groups: int) -> dict[str, str]:
    """So many people and groups; returns the people's names by GUID. They need no passwords."""
    names = [f"crowd-p{number:04}" for number in range(people)]
    with server.as_admin() as admin:
        for name in names:
            _add(admin, name, "user", userAccountControl="544")
        inner = [f"crowd-g{number:04}" for number in range(groups)]
        for number, group in enumerate(inner):
            _add(admin, group, "group", member=names[number % groups :: max(groups // IN_EACH, 1)])
        for number in range(OUTERS):
            _add(admin, f"crowd-outer{number}", "group", member=inner[number::OUTERS])
        found = admin.search_s(
            f"CN=Users,{SUFFIX}", ldap.SCOPE_ONELEVEL, "(cn=crowd-p*)", ["objectGUID", "sAMAccountName"]
        )
    return {guid_of_ad(entry): entry["sAMAccountName"][0].decode() for _dn, entry in found}


def _add(admin: Any, name: str, kind: str, *, member: Sequence[str] = (), **more: str) -> None:
    values = {"objectClass": [kind], "sAMAccountName": [name], "member": [dn_of(one) for one in member]}
    values |= {key: [value] for key, value in more.items()}
    admin.add_s(dn_of(name), [(key, [one.encode() for one in found]) for key, found in values.items() if found])
