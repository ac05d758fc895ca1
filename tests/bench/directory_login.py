"""``python -m tests.bench.directory_login [--people N] [--members N] [--json]``: what a directory's log-in and sync cost.

On a slapd with so many people, of whom so many are in one group that is in another. A log-in over the API (a token, and the
groups and rows that belong to it) and the directory's part of it alone, each beside python-ldap by itself: TLS, bind as the
reader, search, bind as the person. Then the preview of a sync with all members signed in, beside a page by page read of all
people and the group by python-ldap. All in turns in one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

import ldap
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment
from django.utils import timezone
from ldap.controls import SimplePagedResultsControl

from portal.common.actor import Actor, Door, system_actor
from portal.common.models import Session
from portal.common.sealed import seal
from tenants import policy
from tenants.directory.backend import DirectoryBackend
from tenants.directory.names import login_name
from tenants.models import Directory, DirectoryKind, User
from tenants.roles import sync_roles
from tenants.services.directory_groups import map_group
from tenants.sync import plan_of
from tests.bench.table import Row, row, show
from tests.lab.big_directory import OUTER, PASSWORD, big_directory, guid_of, name_of
from tests.lab.slapd_server import GROUPS, PEOPLE, PORTAL, PORTAL_PASSWORD, SlapdServer

LOGINS, PREVIEWS = 30, 5
PAGE_SIZE = 100


def connected(server: SlapdServer) -> Directory:
    """The directory's row, and a role of the group in which the large one is."""
    root = User.objects.create(username="root")
    policy.grant(system_actor(), "super-admin", root, policy.system())
    directory = Directory.objects.create(
        name="lab",
        kind=DirectoryKind.OPENLDAP,
        urls=[server.ldaps_url],
        ca_pem=server.ca_pem,
        bind_dn=PORTAL,
        sealed_password=seal(PORTAL_PASSWORD),
        base_dn=PEOPLE,
        group_base_dn=GROUPS,
    )
    map_group(Actor(user=root, door=Door.PAGE), directory.pk, group=OUTER, role="end-user", target=policy.system())
    return directory


def sign_in(directory: Directory, count: int) -> None:
    """The first so many people, as if each had logged in."""
    names = [name_of(number) for number in range(count)]
    users = User.objects.bulk_create(
        User(directory=directory, guid=guid_of(number), username=f"lab\\{name}", display_name=name)
        for number, name in enumerate(names)
    )
    end = timezone.now() + timedelta(hours=1)
    Session.objects.bulk_create(Session(session_key=user.pk.hex, user_uid=user.pk, expire_date=end) for user in users)


class Bare:
    """python-ldap by itself, over TLS with the same CA."""

    def __init__(self, server: SlapdServer) -> None:
        self._server = server
        self._ca = Path(tempfile.mkdtemp(prefix="bench-ca-")) / "ca.pem"
        self._ca.write_text(server.ca_pem)

    def log_in(self, name: str) -> None:
        opened = self._opened()
        [(dn, _found)] = opened.search_s(PEOPLE, ldap.SCOPE_SUBTREE, f"(uid={name})", ["entryUUID"])
        opened.simple_bind_s(dn, PASSWORD)
        opened.unbind_s()

    def read_everybody(self) -> None:
        opened = self._opened()
        control = SimplePagedResultsControl(criticality=True, size=PAGE_SIZE, cookie="")
        while True:
            asked = opened.search_ext(
                PEOPLE, ldap.SCOPE_SUBTREE, "(objectClass=person)", ["entryUUID"], serverctrls=[control]
            )
            _kind, _found, _id, [answered] = opened.result3(asked)
            if not answered.cookie:
                break
            control.cookie = answered.cookie
        opened.search_s(GROUPS, ldap.SCOPE_SUBTREE, "(objectClass=groupOfNames)", ["entryUUID", "member"])
        opened.unbind_s()

    def _opened(self) -> ldap.ldapobject.LDAPObject:
        opened = ldap.initialize(self._server.ldaps_url)
        opened.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self._ca))
        opened.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        opened.simple_bind_s(PORTAL, PORTAL_PASSWORD)
        return opened


def interleaved(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """Milliseconds of each, after a round that is not counted."""
    times: list[list[float]] = [[] for _work in works]
    for number in range(rounds + 1):
        for work, found in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            if number:
                found.append((time.perf_counter() - began) * 1000)
    return times


def logins(directory: Directory, bare: Bare, name: str, rounds: int) -> list[Row]:
    client = Client()
    body = {"username": name, "password": PASSWORD, "name": "bench"}

    def whole() -> None:
        answer = client.post("/api/v1/tokens/", body, content_type="application/json")
        assert answer.status_code == HTTPStatus.CREATED, answer.content

    def backend() -> None:
        found = DirectoryBackend(directory, login_name(name, [directory])).authenticate(None, password=PASSWORD)
        assert found is not None

    ours, directorys, theirs = interleaved(rounds, whole, backend, lambda: bare.log_in(name))
    against = "bare bind, search, bind"
    return [
        row("log-in over the API", "ms", ours, against=against, floor=theirs),
        row("log-in, the directory's part", "ms", directorys, against=against, floor=theirs),
    ]


def previews(directory: Directory, bare: Bare, members: int, rounds: int) -> list[Row]:
    def preview() -> None:
        assert len(plan_of(directory).changes) == members

    ours, theirs = interleaved(rounds, preview, bare.read_everybody)
    with CaptureQueriesContext(connection) as caught:
        preview()
    name = f"preview of a sync, {members} signed in"
    return [
        row(name, "ms", ours, against="bare read of all people and the group", floor=theirs),
        row(f"{name}, SQL queries", "queries", [len(caught)]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--members", type=int, default=5_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--short", action="store_true", help="one round of each")
    asked = parser.parse_args()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    sync_roles()
    with big_directory(people=asked.people, members=asked.members) as server:
        directory, bare = connected(server), Bare(server)
        rows = logins(directory, bare, name_of(asked.members), 1 if asked.short else LOGINS)
        User.objects.filter(directory=directory).delete()
        sign_in(directory, asked.members)
        rows += previews(directory, bare, asked.members, 1 if asked.short else PREVIEWS)
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
