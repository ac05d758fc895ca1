"""What a directory takes from somebody reaches his open page and his open console with the next sync (S22, AN07, AN08)."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.test import Client
from websockets.sync.client import ClientConnection, connect

from compute import consumers as consoles
from portal import consumers as pages
from portal.common.actor import Actor, Door, system_actor
from tenants import policy
from tenants.models import User
from tenants.services.directory_groups import map_group
from tests.compute.console.world import console_row, eventually, farewell, greet
from tests.tenants.directory.conftest import follow, fresh, log_in, openldap_row

SECRET = "Prima-vera-1642"
SOON = 0.1


def page_socket(portal, session_key: str) -> ClientConnection:
    return connect(
        f"ws://{portal.address}/ws/page/",
        additional_headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={session_key}"},
        origin=portal.origin,
        compression=None,
        proxy=None,
    )


def heard(socket: ClientConnection, text: str, *, without: str = "") -> None:
    """Wait for a message with the one in it, and not the other."""
    while text not in (message := str(socket.recv(timeout=20))) or (without and without in message):
        pass


@pytest.mark.long
def test_S22_AN08_AN07_an_open_page_and_console_end_with_the_next_sync(portal, slapd, monkeypatch):  # noqa: N802
    # The sockets look into the rows all the time; no push reaches them (the layer of tests is a thread's own).
    monkeypatch.setattr(consoles, "CHECK_SECONDS", SOON)
    monkeypatch.setattr(pages, "RECHECK_SECONDS", SOON)
    root = User.objects.create_user("root")
    policy.grant(system_actor(), "super-admin", root, policy.system())
    directory, name, group = openldap_row(slapd), fresh("member"), fresh("admins")
    dn = slapd.person(name, SECRET)
    group_dn = slapd.group(group, [dn])
    boss, role = Actor(user=root, door=Door.PAGE), "data-center-admin"
    map_group(boss, directory.pk, group=group, role=role, target=portal.vm.data_center)
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    session_key = browser.session.session_key
    portal.people[name] = User.objects.get(directory=directory)

    opened = portal.open(name, session_key=session_key)
    with portal.connect(opened) as console, page_socket(portal, session_key) as page:
        greet(console, portal.screen.canary)
        eventually(lambda: console_row(opened).opened_at)
        page.send(json.dumps({"watch": [f"vm:{portal.vm.pk}"]}))
        heard(page, portal.vm.name)
        follow(directory)
        slapd.change(group_dn, member=["cn=nobody,dc=lab,dc=example"])
        follow(directory)
        assert farewell(console) == (4403, "not_permitted")
        heard(page, str(portal.vm.pk), without=portal.vm.name)  # it says that the machine is gone
        eventually(lambda: portal.screen.open == 0)

        slapd.change(group_dn, member=[dn])
        follow(directory)
        opened = portal.open(name, session_key=session_key)
        with portal.connect(opened) as console:
            greet(console, portal.screen.canary)
            slapd.change(dn, pwdAccountLockedTime="000001010000Z")
            follow(directory)
            assert farewell(console) == (4401, "user_disabled")
        assert farewell(page)[0] == 4401
