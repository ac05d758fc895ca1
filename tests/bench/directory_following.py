"""``python -m tests.bench.directory_following [--people N] [--groups N] [--json] [--short]``: a look at all who are signed in from Active Directory.

On a Samba domain controller of its own. The preview of a sync, which reads everybody's state and groups, beside python-ldap by
itself on an open connection: one plain search for each person, which tells of no group within a group; and one by the
directory's own way of following these (its in-chain rule), asked for a few people and reckoned up to all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

from datetime import timedelta

import ldap
from django.core.management import call_command
from django.utils import timezone

from portal.common.actor import Actor, Door, system_actor
from portal.common.models import Session
from portal.common.sealed import seal
from tenants import policy
from tenants.directory.reading import IN_CHAIN
from tenants.models import Directory, DirectoryKind, User
from tenants.roles import sync_roles
from tenants.services.directory_groups import map_group
from tenants.sync import plan_of
from tests.bench.directory_login import interleaved
from tests.bench.table import Row, row, show
from tests.lab.crowded_domain import OUTER, crowd, dn_of
from tests.lab.samba_server import PORTAL, PORTAL_PASSWORD, SUFFIX, SambaServer

ROUNDS, ASKED_ALONE = 5, 5


def connected(server: SambaServer) -> Directory:
    """The directory's row, and a role of one of the groups in which the people's own are."""
    server.person("portal", PORTAL_PASSWORD)
    root = User.objects.create(username="root")
    policy.grant(system_actor(), "super-admin", root, policy.system())
    directory = Directory.objects.create(
        name="LAB",
        kind=DirectoryKind.ACTIVE_DIRECTORY,
        urls=[server.ldaps_url],
        ca_pem=server.ca_pem,
        bind_dn=PORTAL,
        sealed_password=seal(PORTAL_PASSWORD),
        base_dn=SUFFIX,
    )
    map_group(Actor(user=root, door=Door.PAGE), directory.pk, group=OUTER, role="end-user", target=policy.system())
    return directory


def sign_in(directory: Directory, names: dict[str, str]) -> None:
    """These people, by GUID, as if each had logged in."""
    users = User.objects.bulk_create(
        User(directory=directory, guid=guid, username=f"LAB\\{name}", display_name=name) for guid, name in names.items()
    )
    end = timezone.now() + timedelta(hours=1)
    Session.objects.bulk_create(Session(session_key=user.pk.hex, user_uid=user.pk, expire_date=end) for user in users)


class Bare:
    """python-ldap by itself, bound once as the reader."""

    def __init__(self, server: SambaServer, names: list[str]) -> None:
        self._opened = ldap.initialize(server.ldaps_url)
        self._opened.set_option(ldap.OPT_X_TLS_CACERTFILE, str(server.folder / "ca.pem"))
        self._opened.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        self._opened.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
        self._opened.simple_bind_s(PORTAL, PORTAL_PASSWORD)
        self._names = names

    def one_by_one(self) -> None:
        for name in self._names:
            self._opened.search_s(SUFFIX, ldap.SCOPE_SUBTREE, f"(sAMAccountName={name})", ["objectGUID", "memberOf"])

    def in_chain(self) -> None:
        for name in self._names[:ASKED_ALONE]:
            self._opened.search_s(
                SUFFIX, ldap.SCOPE_SUBTREE, f"(&(objectClass=group)(member:{IN_CHAIN}:={dn_of(name)}))", ["objectGUID"]
            )


def followed(directory: Directory, server: SambaServer, names: dict[str, str], rounds: int) -> list[Row]:
    bare = Bare(server, list(names.values()))

    def preview() -> None:
        plan = plan_of(directory)
        assert plan.looked_at == len(names)
        assert any(change.moves.joined for change in plan.changes)

    ours, plain, some = interleaved(rounds, preview, bare.one_by_one, bare.in_chain)
    chained = [time * len(names) / ASKED_ALONE for time in some]
    name = f"preview of a sync, {len(names)} signed in"
    return [
        row(name, "ms", ours, against="a plain search for each", floor=plain),
        row(f"{name}, and its groups", "ms", ours, against="an in-chain search for each", floor=chained),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--short", action="store_true", help="one round of each")
    asked = parser.parse_args()
    call_command("migrate", verbosity=0)
    sync_roles()
    server = SambaServer()
    server.start()
    try:
        names = crowd(server, people=asked.people, groups=asked.groups)
        directory = connected(server)
        sign_in(directory, names)
        rows = followed(directory, server, names, 1 if asked.short else ROUNDS)
    finally:
        server.stop()
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
