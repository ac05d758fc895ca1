"""Who may sit down at a console: origins, tickets, log-ins; each on the real ASGI server."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F

from compute.models import Console
from compute.services import consoles
from portal.events.models import Event
from portal.hypervisors.errors import DisplayRefused
from portal.hypervisors.specs import ConsoleTarget
from tenants.services.tokens import create_token
from tests.compute.console.world import console_row, eventually, farewell, greet, take
from tests.doubles.hypervisor import DoubleDriver


def test_bytes_pass_both_ways_and_the_record_says_so(portal):
    opened = portal.open()
    with portal.connect(opened) as socket:
        assert socket.subprotocol == "binary"
        greet(socket, portal.screen.canary)
        socket.send(b"a key press")
        assert take(socket, 11) == b"a key press"
        row = eventually(lambda: Console.objects.filter(uid=opened.console.uid, opened_at__isnull=False).first())
        assert row.client_address == "127.0.0.1"
    row = eventually(lambda: Console.objects.filter(uid=opened.console.uid, closed_at__isnull=False).first())
    assert (row.bytes_up, row.bytes_down) == (12, len(portal.screen.canary) + 11)
    assert row.closed_reason == "client_left"
    assert [event.code for event in portal.events(opened)] == [
        "VM_CONNECT_REQUESTED",
        "VM_CONNECTED",
        "VM_DISCONNECTED",
    ]
    last = portal.events(opened)[-1]
    assert (last.actor_name, last.client_address, last.object_uid) == ("alice", "127.0.0.1", portal.vm.pk)
    assert last.data["bytes_up"] == 12
    assert last.data["seconds"] >= 0
    eventually(lambda: portal.screen.open == 0)


FOREIGN = [
    "null",
    "http://evil.example",
    "http://{address}.evil.example",
    "http://127.0.0.1:1",
    "http://127.0.0.1",
    "https://{address}",
    "http://localhost:{port}",
    "http://{address}/",
    "http://user@{address}",
    "http://{address},http://evil.example",
    "file://",
    "chrome-extension://{address}",
    "HTTP://{address}@evil.example",
    "http://{address}#@evil.example",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://127.0.0.1:99999",
]


def test_CO01_a_foreign_origin_is_refused_before_anything_is_opened(portal):  # noqa: N802
    session_key = portal.log_in("alice")
    opened = portal.open(session_key=session_key)
    for origin in FOREIGN:
        sent = origin.format(address=portal.address, port=portal.address.partition(":")[2])
        assert portal.status(opened, origin=sent) == 403, sent
        assert portal.status(opened, origin=sent, session_key=session_key) == 403, sent
        assert portal.status(opened.console.uid, origin=sent, session_key=session_key) == 403, sent
    assert portal.screen.connections == 0
    assert not portal.double.calls("console")
    assert console_row(opened).spent_at is None


def test_CO01_a_cookie_needs_an_origin_and_a_ticket_alone_does_not(portal):  # noqa: N802
    session_key = portal.log_in("alice")
    opened = portal.open(session_key=session_key)
    assert portal.status(opened, session_key=session_key) == 403
    assert portal.status(opened.console.uid, session_key=session_key) == 403
    assert portal.status(opened, session_key=session_key, Origin=portal.origin) == 101
    assert portal.status(portal.open()) == 101
    assert portal.status(portal.open(), origin=portal.origin) == 101


def test_CO01_two_origins_are_none(portal):  # noqa: N802
    opened = portal.open()
    assert portal.status(opened, origin="http://evil.example", Origin=portal.origin) in (400, 403)
    assert console_row(opened).spent_at is None


def test_CO03_a_ticket_is_random_and_kept_as_a_keyed_hash_alone(world, monkeypatch):  # noqa: N802
    for bound in ("MOST_OF_USER", "MOST_OF_MACHINE"):
        monkeypatch.setattr(consoles, bound, 50)
    tickets = {world.open().ticket for _ in range(50)}
    assert len(tickets) == 50
    assert all(len(ticket) >= 43 for ticket in tickets)  # 32 random bytes in base64
    kept = " ".join(str(value) for row in Console.objects.values() for value in row.values())
    assert not any(ticket in kept for ticket in tickets)


def test_CO03_a_ticket_opens_one_socket(portal):  # noqa: N802
    opened = portal.open()
    with portal.connect(opened) as socket:
        greet(socket, portal.screen.canary)
        assert portal.status(opened) == 403
    assert portal.status(opened) == 403
    assert portal.screen.visits == 1


def test_CO03_of_fifty_at_once_exactly_one_wins(portal):  # noqa: N802
    opened = portal.open()
    at_once = threading.Barrier(50)
    found: Counter[int] = Counter()

    def knock():
        at_once.wait(30)
        found[portal.status(opened)] += 1

    threads = [threading.Thread(target=knock) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {101: 1, 403: 49}
    assert portal.screen.connections <= 1


def test_CO03_a_ticket_lives_thirty_seconds(portal):  # noqa: N802
    opened = portal.open()
    row = console_row(opened)
    assert timedelta(seconds=29) < row.expires_at - row.created_at < timedelta(seconds=31)
    Console.objects.update(expires_at=F("expires_at") - timedelta(seconds=30))
    assert portal.status(opened) == 403
    assert console_row(opened).spent_at is None


def test_CO03_another_ticket_opens_nothing_and_spends_nothing(portal):  # noqa: N802
    opened = portal.open()
    for ticket in ("x", "x" * 43, "x" * 4000, "", "ticket.", "%00"):
        assert portal.status(opened.console.uid, ticket=ticket) == 403, ticket
    assert portal.status(portal.open().console.uid, ticket=opened.ticket) == 403  # of another console
    assert portal.status(uuid4(), ticket=opened.ticket) == 403
    assert portal.status(opened) == 101


def test_CO03_a_ticket_with_the_cookie_of_another_user_is_refused_and_spent(portal):  # noqa: N802
    opened = portal.open(session_key=portal.log_in("alice"))
    bobs = portal.log_in("bob")
    portal.grant("bob")  # he might open a console of his own on this machine
    assert portal.status(opened, session_key=bobs, origin=portal.origin) == 403
    assert portal.status(opened) == 403
    assert portal.screen.connections == 0
    assert portal.events(opened)[-1].code == "VM_CONNECT_REFUSED"
    assert portal.events(opened)[-1].data["reason"] == "other_user"


def test_CO03_a_ticket_with_the_token_of_another_user_is_refused_and_spent(portal):  # noqa: N802
    opened = portal.open()
    _row, text = create_token(portal.actor("bob"), name="t", scope="write", expires_in=3600)
    assert portal.status(opened, Authorization=f"Bearer {text}") == 403
    assert portal.status(opened) == 403


def test_a_socket_that_is_turned_away_from_a_console_is_on_record_once_for_each_reason(portal):
    opened = portal.open()
    uid = opened.console.pk
    assert portal.status(uid, ticket="guess") == 403
    assert portal.status(uid, ticket="another") == 403
    assert portal.status(opened, origin="http://evil.example") == 403
    assert portal.status(uuid4(), ticket="guess") == 403
    assert portal.status(opened) == 101
    assert portal.status(opened) == 403

    told = list(Event.objects.filter(code="VM_CONNECT_REFUSED").order_by("at"))
    assert [event.data["why"] for event in told] == ["nothing fits", "foreign origin", "spent or late"]
    assert {(event.object_uid, event.client_address) for event in told} == {(portal.vm.pk, "127.0.0.1")}
    assert not [event for event in told if opened.ticket in str(vars(event)) or "guess" in str(vars(event))]


def test_a_ticket_with_the_cookie_or_token_of_the_same_user_is_good(portal):
    session_key = portal.log_in("alice")
    _row, text = create_token(portal.actor("alice"), name="t", scope="write", expires_in=3600)
    assert portal.status(portal.open(), session_key=session_key, origin=portal.origin) == 101
    assert portal.status(portal.open(), Authorization=f"Bearer {text}") == 101


def test_a_token_that_is_none_is_refused_and_spends_nothing(portal):
    opened = portal.open()
    assert portal.status(opened, Authorization="Bearer nonsense") == 403
    assert portal.status(opened, Authorization="Basic YWxpY2U6eA==") == 403
    assert portal.status(opened) == 101


def test_the_log_in_that_asked_may_come_without_a_ticket_once(portal):
    session_key = portal.log_in("alice")
    opened = portal.open(session_key=session_key)
    assert portal.status(opened.console.uid, session_key=portal.log_in("bob"), origin=portal.origin) == 403
    assert portal.status(opened.console.uid) == 403
    assert portal.status(opened.console.uid, session_key=session_key, origin=portal.origin) == 101
    assert portal.status(opened.console.uid, session_key=session_key, origin=portal.origin) == 403
    assert portal.status(opened) == 403  # it was the same ticket


def test_a_console_that_no_log_in_asked_for_opens_to_no_cookie(portal):
    opened = portal.open()
    assert portal.status(opened.console.uid, session_key=portal.log_in("alice"), origin=portal.origin) == 403


def test_CO03_a_ticket_dies_with_the_log_in_that_asked_for_it(portal):  # noqa: N802
    opened = portal.open(session_key=portal.log_in("alice"))
    portal.browsers["alice"].logout()
    assert portal.status(opened) == 403
    assert portal.events(opened)[-1].data["reason"] == "login_ended"
    token, _text = create_token(portal.actor("alice"), name="t", scope="write", expires_in=3600)
    by_token = portal.open(token_uid=token.pk)
    token.delete()
    assert portal.status(by_token) == 403
    assert portal.screen.connections == 0


def test_CO03_a_ticket_is_worth_nothing_once_the_right_is_gone(portal):  # noqa: N802
    portal.grant("bob")
    opened = portal.open("bob")
    portal.revoke("bob")
    assert portal.status(opened) == 403
    assert portal.events(opened)[-1].data["reason"] == "not_permitted"
    assert portal.screen.connections == 0


def test_a_screen_that_cannot_be_reached_closes_the_socket_and_says_so(portal):
    portal.screen.close()
    opened = portal.open()
    with portal.connect(opened) as socket:
        assert farewell(socket) == (4502, "unreachable")
    assert [event.code for event in portal.events(opened)] == ["VM_CONNECT_REQUESTED", "VM_CONNECT_FAILED"]
    assert console_row(opened).closed_reason == "unreachable"


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"is_here": lambda _: False}, "display_elsewhere"), ({"display_ports": range(1, 2)}, "display_port")],
)
def test_IN09_a_screen_that_is_no_screen_of_the_providers_is_not_connected_to(portal, monkeypatch, changed, code):  # noqa: N802
    for name, value in changed.items():
        monkeypatch.setattr(DoubleDriver, name, value)
    opened = portal.open()
    with portal.connect(opened) as socket:
        assert farewell(socket) == (4502, code)
    assert portal.screen.connections == 0
    told, failed = portal.events(opened)[1:]
    assert (failed.code, failed.data["reason"]) == ("VM_CONNECT_FAILED", code)
    assert (told.code, told.severity, told.object_uid) == (
        "PROVIDER_DISPLAY_REFUSED",
        "alert",
        portal.vm.provider_id,
    )
    assert str(portal.screen.port) in told.data["told"]
    assert str(portal.screen.port) not in f"{failed.data} {failed.message}", "addresses are for super-admins"


def test_a_screen_that_is_refused_again_and_again_raises_one_alarm_for_each_machine_and_reason(portal, monkeypatch):
    monkeypatch.setattr(DoubleDriver, "is_here", lambda _: False)
    long = ConsoleTarget("vnc", "x" * 9000, portal.screen.port)
    console = console_row(portal.open())
    for driver in ({}, {"console": lambda *_, **_more: long}, {"display_ports": range(1, 2)}):
        for name, value in driver.items():
            monkeypatch.setattr(DoubleDriver, name, value)
        for _ in range(3):
            with pytest.raises(DisplayRefused):
                consoles.console_target(console)
    told = [event.data["told"] for event in Event.objects.filter(code="PROVIDER_DISPLAY_REFUSED").order_by("at")]
    assert len(told) == 3, "of another place, of none, and of a port"
    assert max(map(len, told)) == 300


def test_a_machine_that_is_off_or_gone_by_now_closes_the_socket(portal):
    for tamper, code in (
        (lambda uid: portal.double.set_vm(uid, state="down"), "hypervisor_busy"),
        (lambda uid: portal.double.remove("vm", uid), "hypervisor_not_found"),
    ):
        opened = portal.open()
        tamper(portal.vm.external_id)
        with portal.connect(opened) as socket:
            assert farewell(socket) == (4502, code)


def test_a_machine_that_stops_closes_the_socket(portal):
    with portal.connect(portal.open()) as socket:
        greet(socket, portal.screen.canary)
        portal.screen.switch_off()
        assert farewell(socket) == (1000, "provider_closed")


def test_CO11_a_text_frame_closes_the_socket(portal):  # noqa: N802
    with portal.connect(portal.open()) as socket:
        greet(socket, portal.screen.canary)
        socket.send("text")
        assert farewell(socket) == (1003, "text_frame")
    eventually(lambda: portal.screen.open == 0)


def test_CO11_a_client_that_is_no_rfb_client_is_closed(portal):  # noqa: N802
    with portal.connect(portal.open()) as socket:
        socket.send(b"GET / HTTP/1.1\r\n\r\n")
        assert farewell(socket) == (1002, "client_protocol")
