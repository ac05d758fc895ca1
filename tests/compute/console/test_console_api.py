"""Asking for a console over the API: what one gets, what one is refused, and that nothing secret is left anywhere."""

from __future__ import annotations

import json
import logging
import threading
from uuid import uuid4

import pytest
from django.core import serializers
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from compute.models import Console, Vm
from compute.services import consoles
from compute.services.consoles import MOST_OF_USER
from portal.common.errors import TooMany
from portal.common.models import IdempotencyKey
from portal.events.models import Event
from tenants.services.tokens import create_token
from tests.compute.console.world import World, eventually, greet
from tests.doubles import hypervisor_machines


@pytest.fixture
def api(world: World):
    """POST as somebody, without a server."""

    def post(name: str, body: object = None, *, vm: object = None, **headers: str):
        browser = Client(headers=headers)
        browser.force_login(world.people[name])
        address = f"/api/v1/vms/{vm or world.vm.pk}/consoles/"
        return browser.post(address, json.dumps({} if body is None else body), content_type="application/json")

    return post


def test_a_console_is_given_with_its_ticket(api):
    answer = api("alice", {"protocol": "vnc"})
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"id", "ticket", "url", "protocol", "expires_at"}
    assert body["url"] == f"ws://testserver/ws/consoles/{body['id']}/"
    assert body["ticket"] not in body["url"]
    assert "no-store" in answer["Cache-Control"]
    row = Console.objects.get(uid=body["id"])
    assert (row.user.username, row.protocol) == ("alice", "vnc")


def test_who_may_not_see_the_machine_gets_the_answer_of_one_that_is_not_there(api):
    for name in ("bob", "charlie"):
        there, absent = api(name), api(name, vm=uuid4())
        assert there.status_code == absent.status_code == 404
        differing = {key for key in there.json() if there.json()[key] != absent.json()[key]}
        assert differing <= {"request_id"}
    assert not Console.objects.exists()


def test_nobody_gets_nothing(client, world):
    answer = client.post(f"/api/v1/vms/{world.vm.pk}/consoles/", "{}", content_type="application/json")
    assert answer.status_code == 401


def test_a_machine_that_does_not_run_and_a_protocol_it_has_not_are_both_said(api, world):
    Vm.objects.update(status="down")
    answer = api("alice", {"protocol": "spice"})
    assert answer.status_code == 409
    assert [reason["code"] for reason in answer.json()["reasons"]] == ["status", "protocol_unsupported"]
    assert answer.json()["reasons"][1]["offered"] == ["vnc"]
    assert not Console.objects.exists()
    assert Event.objects.get(code="VM_CONNECT_REFUSED").object_uid == world.vm.pk


def test_a_dry_run_tells_and_writes_nothing(api, world):
    world.vm.status = "down"
    for status, possible in (("down", False), ("up", True)):
        Vm.objects.update(status=status)
        browser = Client()
        browser.force_login(world.people["alice"])
        answer = browser.post(f"/api/v1/vms/{world.vm.pk}/consoles/?dry_run=1", "{}", content_type="application/json")
        assert (answer.status_code, answer.json()["possible"]) == (200, possible)
    assert not Console.objects.exists()
    assert not Event.objects.filter(code__startswith="VM_CONNECT").exists()


@pytest.mark.parametrize("body", [[], "vnc", 1, {"protocol": "rdp"}, {"protocol": ["vnc"]}, {"host": "10.0.0.1"}])
def test_IN09_what_is_not_understood_is_refused_and_a_target_is_not_for_the_client_to_name(api, body):  # noqa: N802
    assert api("alice", body).status_code == 400
    assert not Console.objects.exists()


def test_a_token_that_may_only_read_opens_no_console(world):
    for scope, status in (("read", 403), ("write", 201)):
        _row, text = create_token(world.actor("alice"), name=scope, scope=scope, expires_in=3600)
        answer = Client(headers={"Authorization": f"Bearer {text}"}).post(
            f"/api/v1/vms/{world.vm.pk}/consoles/", "{}", content_type="application/json"
        )
        assert answer.status_code == status


def test_a_repeat_with_the_same_key_is_refused_for_the_answer_held_a_secret(api):
    first = api("alice", **{"Idempotency-Key": "k1"})
    assert first.status_code == 201
    assert api("alice", **{"Idempotency-Key": "k1"}).status_code == 409
    assert Console.objects.count() == 1
    assert IdempotencyKey.objects.get().answer == {}


@pytest.mark.turns
@pytest.mark.long
def test_CO13_a_person_and_a_machine_have_so_many_consoles_and_room_again_when_one_ends(api, world):  # noqa: N802
    world.grant("bob")
    for _ in range(MOST_OF_USER):
        assert api("alice").status_code == 201
    answer = api("alice")
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (429, "too_many_requests", "30")
    assert str(MOST_OF_USER) in answer.json()["detail"]
    for _ in range(MOST_OF_USER):
        assert api("bob").status_code == 201, "one person shuts nobody else out"
    Console.objects.filter(user=world.people["alice"]).update(spent_at=Now(), opened_at=Now(), expires_at=Now())
    assert api("alice").status_code == 429
    Console.objects.filter(user=world.people["bob"]).update(expires_at=Now(), user=world.people["charlie"])
    Console.objects.filter(user=world.people["alice"])[0].delete()
    assert api("alice").status_code == 201


def test_CO13_a_machine_that_is_crowded_by_many_is_refused_to_one_more(api, world, monkeypatch):  # noqa: N802
    monkeypatch.setattr(consoles, "MOST_OF_MACHINE", 2)
    world.grant("bob")
    assert [api(name).status_code for name in ("alice", "bob", "alice", "bob")] == [201, 201, 429, 429]


def test_CO13_of_many_requests_at_once_no_more_than_allowed_get_a_console(world, monkeypatch):  # noqa: N802
    monkeypatch.setattr(consoles, "MOST_OF_USER", 3)
    outcomes: list[str] = []

    def one() -> None:
        try:
            world.open()
            outcomes.append("open")
        except TooMany:
            outcomes.append("too many")
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("open"), outcomes.count("too many")) == (3, 17)


def test_CO04_no_ticket_and_no_display_password_is_left_anywhere(portal, caplog, monkeypatch):  # noqa: N802
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(hypervisor_machines.secrets, "token_hex", lambda _bytes: "pwcanary")
    session_key = portal.log_in("alice")
    given = portal.post("alice", f"/api/v1/vms/{portal.vm.pk}/consoles/", {"protocol": "vnc"})
    assert given.status_code == 201
    body = given.json()
    assert portal.double.calls("console") == []
    with portal.connect_to(body["id"], ticket=body["ticket"], session_key=session_key, origin=portal.origin) as socket:
        greet(socket, portal.screen.canary)
        assert socket.response.headers["Sec-WebSocket-Protocol"] == "binary"
    assert portal.status(body["id"], ticket=body["ticket"]) == 403
    eventually(lambda: Event.objects.filter(code="VM_DISCONNECTED").exists())
    kept = "".join(serializers.serialize("json", model.objects.all()) for model in (Console, Event, IdempotencyKey))
    told = body["url"] + str(given.headers) + given.url + repr(portal.open())
    lines = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("websockets"))
    assert len(portal.double.calls("console")) == 1
    for place in (kept, told, lines):
        assert body["ticket"] not in place
        assert "pwcanary" not in place
        assert session_key not in place
