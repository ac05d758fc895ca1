"""A refusal that comes before a service begins leaves the same record as one that comes in it, and one alone."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from portal.common.actor import Actor
from portal.common.errors import Conflict, NotPermitted, TooMany
from portal.common.lasting import undone as rehearsed
from portal.common.models import Session
from portal.events.models import Event
from portal.events.record import Subject, attempt, trying
from portal.socket_login import actor_of_scope, note_stranger
from tenants.models import ApiToken, LoginTries, SecondFactor, User
from tenants.services.tokens import TokenWish, create_service_token
from tenants.tasks import forget_logins
from tests.edge.access_bodies import body
from tests.edge.audit_trail import Trail
from tests.edge.world import World
from tests.people import PASSWORD

IT = Subject("toy", None, "it")


@pytest.fixture
def actor(world: World) -> Actor:
    return world.place.actor("alice")


def told(verb: str) -> list[Event]:
    return list(Event.objects.filter(code=f"{verb}_REFUSED"))


def test_what_is_refused_before_the_attempt_is_on_record_once(actor):
    with pytest.raises(NotPermitted), trying(actor, "TOY", IT):
        raise NotPermitted("no")
    with pytest.raises(Conflict), trying(actor, "TOY", IT), attempt(actor, "TOY", IT):
        raise Conflict("taken")
    with trying(actor, "TOY", IT):
        pass
    assert [event.message for event in reversed(told("TOY"))] == ["no", "taken"]


def test_a_record_that_was_undone_with_the_work_around_it_is_written_again(actor):
    with pytest.raises(Conflict), trying(actor, "TOY", IT), transaction.atomic(), attempt(actor, "TOY", IT):
        raise Conflict("taken")
    assert len(told("TOY")) == 1


def test_a_rehearsal_and_a_refusal_without_end_leave_no_second_record(actor):
    with pytest.raises(Conflict), rehearsed(), trying(actor, "TOY", IT), attempt(actor, "TOY", IT):
        raise Conflict("taken")
    assert [event.data["dry_run"] for event in told("TOY")] == [True]
    again = TooMany("wait")
    again.repeated = True
    with pytest.raises(TooMany), trying(actor, "TOY", IT):
        raise again
    assert len(told("TOY")) == 1


def test_the_walk_sees_a_refusal_without_a_record_and_one_that_tells_too_much(world, monkeypatch):
    uid = world.ids["data_center"]
    trail, owner, stranger = Trail(world), world.browser("owner"), world.api("outsider")
    with monkeypatch.context() as patch:
        patch.setattr("tenants.tried.trying", lambda *_: nullcontext())
        trail.look("POST /roles/new/", "owner", owner.post("/roles/new/", {}))
        patch.setattr("tenants.tried.trying", lambda actor, verb, _: trying(actor, verb, Subject("x", None, "physics")))
        hidden = stranger.patch(f"/api/v1/data-centers/{uid}/", {"description": "x"}, content_type="application/json")
        trail.look("PATCH /api/v1/data-centers/{uid}/", "outsider", hidden)
    assert [(rank, fault) for _operation, rank, fault in trail.gaps] == [
        ("owner", "403 with records []"),
        ("outsider", "DATA_CENTER_EDIT_REFUSED tells of 'physics'"),
    ]


@pytest.mark.parametrize(
    ("status", "rank", "method", "path", "body", "code", "named"),
    [
        (412, "root", "put", "/api/v1/data-centers/{data_center}/quota/", {"limits": {"machines": 5}}, "QUOTA_EDIT", "physics"),
        (400, "root", "patch", "/api/v1/providers/{provider}/", {"secrets": {"ssh_key": "x"}}, "PROVIDER_EDIT", "local"),
        (403, "owner", "patch", "/api/v1/data-centers/{data_center}/", {"description": "x"}, "DATA_CENTER_EDIT", "physics"),
        (404, "outsider", "patch", "/api/v1/data-centers/{data_center}/", {"description": "x"}, "DATA_CENTER_EDIT", ""),
        (400, "admin", "post", "/api/v1/data-centers/{data_center}/people/", {"username": "xenia", "role": "end-user"}, "GRANT", "physics"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_its_actor_sees(world, status, rank, method, path, body, code, named):
    client = world.api(rank)
    answer = getattr(client, method)(
        path.format(**world.ids), body, content_type="application/json", headers={"If-Match": '"seen-before"'}
    )
    assert answer.status_code == status, answer.json()
    [event] = told(code)
    assert (event.object_name, bool(event.data_center_uid)) == (named, named == "physics")
    assert event.request_id == answer["X-Request-Id"]


def test_a_log_out_is_on_record_with_who_and_from_where(world: World):
    browser = Client()
    for _again in range(2):  # the second time there is nobody to log out
        browser.post("/logout/", REMOTE_ADDR="192.0.2.9")
        assert not Event.objects.filter(code="LOGOUT_DONE").exists()
    browser.post("/login/", {"username": "bob", "password": PASSWORD})
    browser.post("/logout/", REMOTE_ADDR="192.0.2.9")
    [event] = Event.objects.filter(code="LOGOUT_DONE")
    bob = world.place.users["bob"]
    assert (event.actor_uid, event.object_uid, event.client_address) == (bob.pk, bob.pk, "192.0.2.9")


def test_a_log_in_names_who_came_and_a_refused_one_nobody(world: World):
    browser = Client()
    browser.post("/login/", {"username": "bob", "password": "wrong"}, REMOTE_ADDR="192.0.2.9")
    browser.post("/login/", {"username": "bob", "password": PASSWORD}, REMOTE_ADDR="192.0.2.9")
    bob = world.place.users["bob"].pk
    [refused] = told("LOGIN")
    [done] = Event.objects.filter(code="LOGIN_DONE")
    assert (refused.actor_uid, refused.actor_name, refused.object_uid) == (None, "", bob)
    assert (done.actor_uid, done.actor_name, done.object_uid) == (bob, "bob", bob)
    assert "nobody who is logged in" in world.browser("root").get("/events/").content.decode()
    assert [row["outcome"] for row in world.api("peer").get("/api/v1/events/?verb=LOGIN").json()["results"]] == ["done"]


def test_a_log_in_that_is_over_is_told_once_and_why(world: World, settings):
    now, bob = timezone.now(), world.place.users["bob"]
    long, idle = timedelta(days=2), timedelta(seconds=settings.SESSION_IDLE_SECONDS)
    rows = {"old": (now, now - timedelta(seconds=1)), "idle": (now - idle, now + long), "live": (now, now + long)}
    for key, (seen, end) in rows.items():
        Session.objects.create(
            session_key=key, user_uid=bob.pk, expire_date=end, seen_at=seen, client_address="192.0.2.9"
        )
    Session.objects.create(session_key="nobody's", expire_date=now - long)
    forget_logins()
    forget_logins()
    told = Event.objects.filter(code="SESSION_OVER")
    assert sorted((event.object_name, event.data["why"], event.data["from"]) for event in told) == [
        ("bob", "age", "192.0.2.9"), ("bob", "idle", "192.0.2.9")
    ]  # fmt: skip
    assert list(Session.objects.filter(session_key__in=[*rows, "nobody's"]).values_list("session_key")) == [("live",)]


def test_a_token_that_is_not_good_is_told_once_in_a_while_and_whose_it_was(world: World):
    def come(text: str, **more: str) -> int:
        headers = {"Authorization": f"Bearer {text}"}
        return Client().get("/api/v1/me/", headers=headers, REMOTE_ADDR="192.0.2.9", **more).status_code

    def program() -> str:
        wish = TokenWish("backup-2", "write", 3600)
        center = world.place.centers["physics"].pk
        return create_service_token(world.place.actor("physics-admin"), center, wish, role="end-user")[1]

    texts = {"expired": world.tokens["owner"], "user_disabled": world.tokens["peer"], "unknown": "stegi_guess"}
    of_center = program()
    ApiToken.objects.filter(name__in=("owner", "backup-2")).update(expires_at=timezone.now() - timedelta(seconds=1))
    User.objects.filter(username="bob").update(is_active=False)
    for text in (*texts.values(), of_center, "stegi_another"):
        assert [come(text), come(text)] == [401, 401]
    events = {(event.object_name, event.data["why"], event.data.get("user")) for event in told("TOKEN_LOGIN")}
    assert events == {
        ("owner", "expired", "alice"),
        ("peer", "user_disabled", "bob"),
        ("", "unknown", None),
        ("backup-2", "expired", "physics/backup-2"),
    }
    assert len(told("TOKEN_LOGIN")) == len(events), "the guesses of one address are one record"
    assert {event.client_address for event in told("TOKEN_LOGIN")} == {"192.0.2.9"}
    assert not [
        event for event in told("TOKEN_LOGIN") for text in (*texts.values(), of_center) if text in str(vars(event))
    ]
    seen = world.api("admin").get("/api/v1/events/?verb=TOKEN_LOGIN").json()["results"]
    assert [row["object"]["name"] for row in seen] == ["backup-2"], "its department's own alone"
    LoginTries.objects.all().delete()
    come(world.tokens["owner"])
    assert len(told("TOKEN_LOGIN")) == len(events) + 1
    scope = {"headers": [(b"authorization", b"Bearer stegi_guess")], "client": ("192.0.2.10", 1)}
    assert actor_of_scope(scope) is None
    assert len(told("TOKEN_LOGIN")) == len(events) + 1, "an open socket that looks again whether it may stay is no try"
    note_stranger(scope)
    assert told("TOKEN_LOGIN")[0].client_address == "192.0.2.10"


def test_a_log_in_over_the_api_that_lacks_its_code_is_on_record_as_a_refusal(world: World):
    SecondFactor.objects.create(user=world.place.users["bob"], sealed_secret="x")
    body = {"username": "bob", "password": PASSWORD, "name": "t"}
    assert Client().post("/api/v1/tokens/", body, content_type="application/json").status_code == 401
    [event] = told("LOGIN_CODE")
    assert (event.object_name, event.data["reasons"][0]["code"]) == ("bob", "code_missing")


@pytest.mark.parametrize("noun", ["providers", "directories"])
def test_a_test_of_what_is_not_connected_tells_where_and_what_came_of_it(world: World, noun):
    operation = f"POST /api/v1/{noun}/test/"
    sent, before = body(world, operation), timezone.now()
    answer = world.api("root").post(f"/api/v1/{noun}/test/", sent, content_type="application/json")
    assert answer.status_code == 200
    last = answer.json()["steps"][-1]
    asked, came = Event.objects.filter(code__contains="_TEST", at__gt=before).order_by("at")
    where = sent["address"] if noun == "providers" else sent["urls"]
    for event in (asked, came):
        assert (event.actor_name, event.client_address) == ("root", "127.0.0.1")
        assert where in event.data.values()
        assert PASSWORD not in str(event.data)
    assert (asked.code.endswith("_TEST_DONE"), "step" in asked.data) == (True, False)
    assert (came.data["reached"], came.data["step"]) == (last["status"] != "failed", last["step"])
