"""An open console ends with the right to it: log-in, user, permit, department, machine; told by push or found by look."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from compute import consumers
from compute.models import Console, Vm
from compute.services import consoles
from compute.services.consoles import LOST_SECONDS, Ending, Traffic, check_console, reap_consoles
from portal.common.access import access_changed
from portal.common.actor import system_actor
from portal.events.models import Event
from tenants import policy
from tenants.models import User
from tenants.services.tokens import create_token, revoke_token
from tests.compute.console.world import PASSWORD, console_row, eventually, farewell, greet, take

SOON = 0.1


@pytest.fixture
def watchful(portal, monkeypatch):
    """The server looks into the rows all the time; no push reaches it (the layer of tests is a thread's own)."""
    monkeypatch.setattr(consumers, "CHECK_SECONDS", SOON)
    return portal


def sit(portal, name="alice", **login):
    """Somebody at the console, past the greeting and on record."""
    opened = portal.open(name, **login)
    socket = portal.connect(opened).__enter__()
    greet(socket, portal.screen.canary)
    eventually(lambda: console_row(opened).opened_at)
    return opened, socket


def ended(portal, opened, socket):
    """How the console ended, once screen and rows agree that it did."""
    how = farewell(socket)
    eventually(lambda: portal.screen.open == 0)
    row = eventually(lambda: Console.objects.filter(uid=opened.console.uid, closed_at__isnull=False).first())
    assert row.closed_reason == how[1]
    assert [event.code for event in portal.events(opened)] == [
        "VM_CONNECT_REQUESTED",
        "VM_CONNECTED",
        "VM_DISCONNECTED",
    ]
    return how


def test_CO06_log_out_closes_an_open_console(watchful):  # noqa: N802
    session_key = watchful.log_in("alice")
    by_ticket = sit(watchful, session_key=session_key)
    answer = watchful.post("alice", "/logout/")
    assert answer.status_code == 302
    assert ended(watchful, *by_ticket) == (4401, "login_ended")


def test_CO06_log_out_of_one_browser_leaves_the_others_console(watchful):  # noqa: N802
    other = Client()
    other.force_login(watchful.people["alice"])
    opened, socket = sit(watchful, session_key=other.session.session_key)
    watchful.log_in("alice")
    assert watchful.post("alice", "/logout/").status_code == 302
    lives_on(watchful, opened, socket)
    other.logout()
    assert ended(watchful, opened, socket) == (4401, "login_ended")


def lives_on(portal, opened, socket):
    """The console is looked at once more, and goes on."""
    seen = console_row(opened).heartbeat_at
    eventually(lambda: console_row(opened).heartbeat_at > seen)
    seen = console_row(opened).heartbeat_at
    eventually(lambda: console_row(opened).heartbeat_at > seen)
    socket.send(b"still here")
    assert take(socket, 10) == b"still here"


def test_CO06_a_disabled_user_is_closed(watchful):  # noqa: N802
    watching = sit(watchful, session_key=watchful.log_in("alice"))
    alice = watchful.people["alice"]
    alice.is_active = False
    alice.save(update_fields=["is_active"])
    assert ended(watchful, *watching)[0] == 4401


def test_CO06_whoever_is_disabled_while_it_is_looked_is_told_that(world, monkeypatch):  # noqa: N802
    opened = world.open("alice", session_key=world.log_in("alice"))
    looked_up = consoles.user_of_session

    def disabled_meanwhile(session_key):
        User.objects.filter(username="alice").update(is_active=False)  # as a sync with a directory does
        return looked_up(session_key)

    monkeypatch.setattr(consoles, "user_of_session", disabled_meanwhile)
    assert check_console(opened.console.uid, traffic=Traffic()) == Ending(4401, "user_disabled")


def test_CO06_a_revoked_permit_closes_and_only_that_one(watchful):  # noqa: N802
    watchful.grant("bob")
    bobs = sit(watchful, "bob")
    alices, socket = sit(watchful, "alice")
    watchful.revoke("bob")
    assert farewell(bobs[1]) == (4403, "not_permitted")
    lives_on(watchful, alices, socket)
    socket.close()


def test_CO06_a_role_of_the_department_that_is_taken_away_closes(watchful):  # noqa: N802
    watching = sit(watchful, "admin")
    policy.revoke(system_actor(), "data-center-admin", watchful.people["admin"], watchful.vm.data_center)
    assert ended(watchful, *watching) == (4403, "not_permitted")


def test_CO06_a_disabled_department_closes(watchful):  # noqa: N802
    watching = sit(watchful)
    center = watchful.vm.data_center
    center.enabled = False
    center.save(update_fields=["enabled"])
    assert ended(watchful, *watching) == (4403, "not_permitted")


def test_CO06_a_changed_password_closes(watchful):  # noqa: N802
    watching = sit(watchful, session_key=watchful.log_in("alice"))
    alice = watchful.people["alice"]
    alice.set_password(PASSWORD + "!")
    alice.save(update_fields=["password"])
    assert ended(watchful, *watching) == (4401, "login_ended")


def test_CO06_a_revoked_token_closes(watchful):  # noqa: N802
    token, _text = create_token(watchful.actor("alice"), name="t", scope="write", expires_in=3600)
    watching = sit(watchful, token_uid=token.pk)
    revoke_token(watchful.actor("alice"), token.pk)
    assert ended(watchful, *watching) == (4401, "login_ended")


def test_CO07_a_session_that_expires_closes(watchful):  # noqa: N802
    watching = sit(watchful, session_key=watchful.log_in("alice"))
    session = watchful.browsers["alice"].session
    session.set_expiry(-1)
    session.save()
    assert ended(watchful, *watching) == (4401, "login_ended")


def test_a_machine_whose_row_is_gone_closes(watchful):
    opened, socket = sit(watchful)
    Vm.objects.filter(pk=watchful.vm.pk).delete()
    assert farewell(socket)[0] == 4403
    eventually(lambda: watchful.screen.open == 0)
    eventually(lambda: watchful.events(opened)[-1].code == "VM_DISCONNECTED")


def test_CO06_works_with_the_channel_layer_down(watchful, settings):  # noqa: N802
    nobody = {"hosts": [{"address": "redis://127.0.0.1:1", "socket_connect_timeout": 1}]}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": nobody}
    }
    session_key = watchful.log_in("alice")
    opened, socket = sit(watchful, session_key=session_key)
    lives_on(watchful, opened, socket)
    watchful.browsers["alice"].logout()
    assert ended(watchful, opened, socket) == (4401, "login_ended")


@pytest.mark.turns
def test_CO06_a_push_closes_long_before_the_next_look(portal, settings, redis_server):  # noqa: N802
    hosts = {"hosts": [{"address": redis_server.url}]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": hosts}}
    assert consumers.CHECK_SECONDS == 10.0
    portal.grant("bob")
    opened, socket = sit(portal, "bob")
    beats = console_row(opened).heartbeat_at
    eventually(lambda: console_row(opened).heartbeat_at > beats)  # the look after it began to listen
    beats = console_row(opened).heartbeat_at
    access_changed([portal.people["alice"].pk])  # of somebody else: nothing is looked at
    access_changed([portal.people["bob"].pk])
    eventually(lambda: console_row(opened).heartbeat_at > beats)
    portal.revoke("bob")
    assert ended(portal, opened, socket) == (4403, "not_permitted")


def test_CO16_a_console_left_by_a_killed_process_is_closed_once(world):  # noqa: N802
    opened = world.open()
    rows = Console.objects.filter(uid=opened.console.uid)
    rows.update(spent_at=Now(), opened_at=Now())
    for age, closed in ((LOST_SECONDS - 5, 0), (LOST_SECONDS + 1, 1), (LOST_SECONDS + 1, 0)):
        set_beat(rows, age)
        assert reap_consoles() == closed
    assert rows.get().closed_reason == "lost"
    assert Event.objects.filter(code="VM_DISCONNECTED", correlation_id=opened.console.uid).count() == 1


def test_CO16_a_ticket_that_was_spent_and_never_led_to_a_screen_is_closed_as_failed(world):  # noqa: N802
    opened = world.open()
    rows = Console.objects.filter(uid=opened.console.uid)
    set_beat(rows, LOST_SECONDS + 1)
    assert reap_consoles() == 1
    assert world.events(opened)[-1].code == "VM_CONNECT_FAILED"


def set_beat(rows, age):
    rows.update(heartbeat_at=Now() - timedelta(seconds=age))
