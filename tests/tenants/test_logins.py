"""Logging in, tokens and their bounds (AN03, AN11, AN12, AN17, AN18; sessions are in tests/edge)."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import get_hasher
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.common.access import access_version
from portal.common.errors import Invalid, NotAuthenticated, NotPermitted, TooMany
from portal.common.models import IdempotencyKey
from portal.events.models import Event
from tenants.directory.accounts import Account
from tenants.directory.people import stored
from tenants.models import ApiToken, Directory, LoginTries, User
from tenants.services import users
from tenants.services.passwords import check_password
from tenants.services.person_search import known_person
from tenants.services.throttle import MOST_PER_ADDRESS, MOST_PER_NAME, WINDOW
from tests.edge.world import routes
from tests.people import PASSWORD
from tests.tenants.conftest import as_actor, make_people

TOKENS = "/api/v1/tokens/"


def ask(client, username="alice", password=PASSWORD, *, headers=None, **more):
    body = {"username": username, "password": password, "name": "laptop"} | more
    return client.post(TOKENS, body, content_type="application/json", headers=headers or {})


def bearer(answer):
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_a_token_is_shown_once_and_only_its_hash_is_kept(people, client):
    answer = ask(client, scope="write")
    text = answer.json()["token"]
    assert answer.status_code == 201
    listed = client.get(TOKENS, headers=bearer(answer)).json()["results"]
    assert [row["name"] for row in listed] == ["laptop"]
    assert "token" not in listed[0]
    row = ApiToken.objects.get()
    assert text not in str(vars(row))
    assert row.last_used_at is not None
    assert text not in str(list(Event.objects.values()))


@pytest.mark.parametrize("bad", [["alice"], {"a": 1}, 7, None])
def test_a_name_or_password_that_is_no_string_is_400(people, client, bad):
    assert ask(client, username=bad).status_code == 400
    assert ask(client, password=bad).status_code == 400


@pytest.mark.parametrize(("username", "password"), [("alice", "wrong"), ("nobody", "wrong"), ("alice", "   ")])
def test_a_wrong_name_and_a_wrong_password_answer_alike(people, client, username, password):
    answer = ask(client, username, password)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The user name or the password is wrong."
    assert Event.objects.filter(code="LOGIN_REFUSED", client_address="127.0.0.1").count() == 1


def test_a_read_token_makes_and_ends_no_tokens(people, client):
    reader = ask(client, scope="read")
    assert ask(client, scope="write", headers=bearer(reader)).status_code == 403
    own = reader.json()["id"]
    assert client.delete(f"{TOKENS}{own}/", headers=bearer(reader)).status_code == 403
    assert ApiToken.objects.count() == 1


def test_another_users_token_is_not_there_to_be_revoked(people, client):
    alices, bobs = ask(client, scope="write"), ask(client, "bob", scope="write", permits=["ALL"])
    assert client.delete(f"{TOKENS}{alices.json()['id']}/", headers=bearer(bobs)).status_code == 404
    assert client.delete(f"{TOKENS}{alices.json()['id']}/", headers=bearer(alices)).status_code == 204
    assert client.get("/api/v1/me/", headers=bearer(alices)).status_code == 401


def test_a_disabled_users_token_ends_at_once(people, client):
    answer = ask(client)
    User.objects.filter(username="alice").update(is_active=False)
    assert client.get("/api/v1/me/", headers=bearer(answer)).status_code == 401


def test_too_many_wrong_passwords_are_429_and_forged_headers_reset_nothing(people, client):
    for number in range(MOST_PER_NAME):
        assert ask(client, password="wrong", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code == 401
    answer = ask(client, headers={"X-Forwarded-For": "203.0.113.99"})
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= WINDOW.total_seconds() + 1
    assert ask(client, "bob").status_code == 201


def test_AN11_the_page_of_log_ins_is_throttled_with_the_api_and_says_how_long(people, client):  # noqa: N802
    for number in range(MOST_PER_NAME):
        if number % 2:
            assert ask(client, password="wrong").status_code == 401
        else:
            wrong = {"username": "Alice" if number % 4 else "alice", "password": "wrong"}
            assert client.post("/login/", wrong).status_code == 401
    answer = client.post("/login/", {"username": "ALICE", "password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= WINDOW.total_seconds() + 1
    assert "Too many wrong passwords" in answer.content.decode()
    assert client.get("/api/v1/me/").status_code == 401


def test_AN12_a_wrong_password_costs_the_same_work_whoever_is_named(people, client, monkeypatch):  # noqa: N802
    User.objects.filter(username="bob").update(is_active=False)
    work: list[str] = []
    hasher = get_hasher()
    encode = type(hasher).encode

    def counted(self, password, salt, *more):
        work.append(password)
        return encode(self, password, salt, *more)

    monkeypatch.setattr(type(hasher), "encode", counted)
    answers, costs = [], []
    for name in ("alice", "nobody", "bob"):
        before = len(work)
        with CaptureQueriesContext(connection) as captured:
            answers.append(ask(client, name, "wrong").json() | {"request_id": ""})
        costs.append((len(work) - before, len(captured)))
    assert answers[0] == answers[1] == answers[2]
    assert costs[0] == costs[1] == costs[2]
    assert costs[0][0] == 1


def test_AN17_a_token_ends_by_itself_and_never_widens(people, client):  # noqa: N802
    answer = ask(client, scope="read", expires_in=60)
    assert client.get("/api/v1/me/", headers=bearer(answer)).status_code == 200
    own = f"{TOKENS}{answer.json()['id']}/"
    for method in ("put", "patch", "post"):
        changed = getattr(client, method)(
            own, {"scope": "write"}, content_type="application/json", headers=bearer(answer)
        )
        assert changed.status_code == 405
    assert ApiToken.objects.get().scope == "read"
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/me/", headers=bearer(answer)).status_code == 401


@pytest.mark.parametrize("seconds", [1, 59, 365 * 24 * 3600 + 1, 2**31 - 1])
def test_AN17_a_token_lives_a_minute_at_least_and_a_year_at_most(people, client, seconds):  # noqa: N802
    answer = ask(client, expires_in=seconds)
    assert answer.status_code == 400
    [reason] = answer.json()["reasons"]
    assert (reason["field"], reason["minimum"], reason["maximum"]) == ("expires_in", 60, 365 * 24 * 3600)
    assert not ApiToken.objects.exists()


def test_nobody_is_locked_out_for_good(people, client):
    for _ in range(MOST_PER_NAME + 1):
        ask(client, password="wrong")
    for row in LoginTries.objects.all():
        LoginTries.objects.filter(pk=row.pk).update(since=row.since - WINDOW * 1.1)
    assert ask(client).status_code == 201


@pytest.mark.turns
def test_one_address_tries_many_names_only_so_often_and_right_passwords_cost_nothing(people, client):
    for _ in range(MOST_PER_ADDRESS):
        assert ask(client, scope="read").status_code == 201
    for number in range(MOST_PER_ADDRESS):
        assert ask(client, username=f"guess{number}", password="wrong").status_code == 401
    assert ask(client, username="bob").status_code == 429


def test_of_50_parallel_tries_no_more_than_allowed_are_looked_at(transactional_db):
    make_people()
    outcomes: list[type] = []

    def one(number):
        try:
            check_password("alice", "wrong", client_address=f"198.51.100.{number}")
        except (NotAuthenticated, TooMany) as error:
            outcomes.append(type(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(NotAuthenticated), outcomes.count(TooMany)) == (MOST_PER_NAME, 50 - MOST_PER_NAME)


def test_a_session_needs_the_csrf_token_for_every_change(people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.alice)
    assert client.get("/api/v1/me/").status_code == 200
    answer = client.delete(f"{TOKENS}{people.alice.pk}/")
    assert answer.status_code == 403
    client.logout()
    assert client.get("/api/v1/me/").status_code == 401


def test_a_repeated_request_for_a_token_is_409_for_its_answer_held_a_secret(people, client):
    first, again = (ask(client, headers={"Idempotency-Key": "k-1"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 409)
    assert first.json()["token"] not in again.content.decode()
    assert first.json()["token"] not in str(list(IdempotencyKey.objects.values()))
    assert ask(client, name="other", headers={"Idempotency-Key": "k-1"}).status_code == 422
    assert ask(client, "bob", headers={"Idempotency-Key": "k-1"}).status_code == 201
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert ask(client, headers={"Idempotency-Key": "k-1"}).status_code == 201


def test_a_new_password_ends_every_log_in_of_its_user(people, client):
    token = bearer(ask(client))
    client.force_login(people.alice)
    before = access_version(people.alice.pk)
    with pytest.raises(Invalid):
        users.set_password(as_actor(people.alice), people.alice, password="another long one 42", present="guessed it")
    users.set_password(as_actor(people.alice), people.alice, password="another long one 42", present=PASSWORD)
    assert client.get("/api/v1/me/").status_code == 401
    assert client.get("/api/v1/me/", headers=token).status_code == 401
    assert access_version(people.alice.pk) > before
    assert ask(client, password="another long one 42").status_code == 201


def test_AN18_ones_password_is_changed_by_the_present_one_alone_and_no_link_sets_it(people, client):  # noqa: N802
    """Local passwords do not expire, and nothing is sent by mail: a super-admin sets the one that was forgotten."""
    client.force_login(people.alice)
    new = {"password": "another long one 42"}

    def change(**more):
        return client.patch(f"/api/v1/users/{people.alice.pk}/", new | more, content_type="application/json")

    for more in ({}, {"present_password": ""}, *([{"present_password": "guessed"}] * (MOST_PER_NAME - 2))):
        refused = change(**more)
        assert (refused.status_code, [one["field"] for one in refused.json()["reasons"]]) == (400, ["present_password"])
    guessed = change(present_password=PASSWORD)
    assert guessed.status_code == 429
    assert int(guessed["Retry-After"]) > 0
    assert Event.objects.filter(code="PASSWORD_SET_REFUSED").count() == MOST_PER_NAME + 1
    assert ask(client).status_code == 201, "guesses shut nobody out of the log-in"
    LoginTries.objects.all().delete()
    assert change(present_password=PASSWORD).status_code == 200
    for path in ("/password_reset/", "/accounts/password_reset/", "/reset/uid/token/", "/password/forgotten/"):
        assert client.get(path).status_code == 404
    assert [one for one in routes() if re.search("reset|forgot", one)] == ["/users/{uid}/factor/reset/"]


def test_only_those_who_manage_users_set_anothers_password_or_disable_him(people):
    for name in ("bob", "physics_admin", "charlie"):
        actor = as_actor(getattr(people, name))
        with pytest.raises(NotPermitted):
            users.set_password(actor, people.alice, password="another long one 42")
        with pytest.raises(NotPermitted):
            users.set_active(actor, people.alice, active=False)
    assert people.alice.check_password(PASSWORD)
    users.set_active(as_actor(people.super_admin), people.alice, active=False)
    assert not User.objects.get(username="alice").is_active
    assert Event.objects.filter(code="PASSWORD_SET_REFUSED").count() == 3


@pytest.mark.postgres
def test_AN05_nobody_of_a_directory_takes_the_name_of_another_who_is_called_alike(people):  # noqa: N802
    """To PostgreSQL a dotless i is an I and a long s an S; to a directory they may be two people's."""
    row = Directory.objects.create(name="UNI", kind="openldap")

    def logs_in(guid: str, name: str) -> User:
        user = stored(row, Account(guid, f"uid={name}", name, "", "", ""))
        assert user is not None
        return user

    boss = logs_in("11111111-1", "boss.irene")
    strangers = [
        logs_in(f"2222222{number}-2", name) for number, name in enumerate(("bo\u017fs.irene", "boss.\u0131rene"))
    ]
    boss.refresh_from_db()
    assert boss.username == "UNI\\boss.irene"
    assert known_person("uni\\BOSS.Irene") == boss
    assert [known_person(one.username) for one in strangers] == strangers
    User.objects.filter(pk=boss.pk).update(username="UNI\\elsewhere")
    assert known_person("UNI\\boss.irene") is None, "then his directory is asked, and not one of these meant"
    boss, heir = logs_in("11111111-1", "boss.irene"), logs_in("33333333-3", "Boss.Irene")
    boss.refresh_from_db()
    assert (known_person("UNI\\boss.irene"), boss.username) == (heir, "UNI\\Boss.Irene~11111111")
