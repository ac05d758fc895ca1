"""Sessions and cross-site requests (AN13, AN14, AN16)."""

from __future__ import annotations

import json
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from compute.models import Vm
from portal.common.access import access_version
from portal.common.models import Session
from portal.common.sessions import SessionStore, kept, users_logged_in
from portal.events.models import Event
from portal.jobs.models import Job
from tenants.models import ApiToken
from tenants.services.logins import user_of_session
from tenants.tasks import forget_logins
from tests.edge.access_bodies import address, body
from tests.edge.access_pages import PAGE_RANKS, PAGES
from tests.edge.access_table import API, API_RANKS
from tests.edge.test_access import ready
from tests.edge.world import World
from tests.people import PASSWORD

pytestmark = pytest.mark.once

COOKIE = settings.SESSION_COOKIE_NAME
NO_JSON = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    "application/json5",
)


def log_in(client: Client, username: str = "alice") -> Any:
    return client.post("/login/", {"username": username, "password": PASSWORD})


def me(client: Client) -> int:
    return int(client.get("/api/v1/me/").status_code)


def with_session(key: str) -> Client:
    client = Client()
    client.cookies = SimpleCookie({COOKIE: key})
    return client


# -- AN13


def test_AN13_a_log_in_makes_a_new_session_and_the_planted_one_is_worth_nothing(world):  # noqa: N802
    planted = Client().session
    planted["planted"] = 1
    planted.create()
    victim = with_session(planted.session_key)
    assert log_in(victim).status_code == 302
    key = victim.cookies[COOKIE].value
    assert key != planted.session_key
    assert (me(victim), me(with_session(planted.session_key))) == (200, 401)
    assert not SessionStore().exists(planted.session_key)


def test_AN13_another_persons_log_in_in_the_same_browser_ends_the_first(world):  # noqa: N802
    browser = Client()
    log_in(browser)
    first = browser.cookies[COOKIE].value
    log_in(browser, "bob")
    assert browser.get("/api/v1/me/").json()["username"] == "bob"
    assert me(with_session(first)) == 401


def test_AN13_the_cookie_is_for_the_server_alone_and_for_our_own_pages(world, settings):  # noqa: N802
    for secure in (True, False):
        settings.SESSION_COOKIE_SECURE = secure
        browser = Client()
        log_in(browser)
        cookie = browser.cookies[COOKIE]
        assert (bool(cookie["secure"]), cookie["httponly"], cookie["samesite"]) == (secure, True, "Lax")
        assert cookie["domain"] == ""


def test_AN13_a_log_out_ends_the_session_at_the_server_for_pages_api_and_copies(world):  # noqa: N802
    browser = Client()
    log_in(browser)
    key = browser.cookies[COOKIE].value
    copy = with_session(key)
    assert me(copy) == 200
    assert browser.post("/logout/").status_code == 302
    assert not SessionStore().exists(key)
    assert (me(copy), copy.get("/").status_code) == (401, 302)
    assert copy.post("/api/v1/vms/", "{}", content_type="application/json").status_code == 401
    assert browser.get("/logout/").status_code == 405


def test_AN13_the_database_holds_no_key_by_which_one_could_log_in(world):  # noqa: N802
    browser = Client()
    log_in(browser)
    key = browser.cookies[COOKIE].value
    rows = str(list(Session.objects.values()))
    assert key not in rows
    assert kept(key) in rows
    assert me(with_session(kept(key))) == 401


def test_AN13_the_same_person_who_logs_in_again_gets_a_new_key_too(world):  # noqa: N802
    browser = Client()
    log_in(browser)
    first = browser.cookies[COOKIE].value
    log_in(browser)
    assert (me(browser), me(with_session(first))) == (200, 401)


# -- limits, and one's own list


def row_of(key: str) -> Session:
    return Session.objects.get(session_key=kept(key))


def test_a_log_in_ends_so_long_after_it_began_whatever_is_saved_in_it(world, settings):
    browser = Client()
    log_in(browser)
    key = browser.cookies[COOKIE].value
    began = row_of(key).started_at - timedelta(seconds=settings.SESSION_COOKIE_AGE - 60)
    Session.objects.filter(session_key=kept(key)).update(started_at=began)
    store = SessionStore(key)
    store["more"] = 1
    store.save()
    assert row_of(key).expire_date == began + timedelta(seconds=settings.SESSION_COOKIE_AGE)
    Session.objects.filter(session_key=kept(key)).update(expire_date=timezone.now())
    assert me(browser) == 401


def test_a_log_in_that_is_left_alone_ends_and_what_a_socket_asks_is_no_use(world, settings):
    browser = Client()
    log_in(browser)
    key = browser.cookies[COOKIE].value
    rows, idle = Session.objects.filter(session_key=kept(key)), timedelta(seconds=settings.SESSION_IDLE_SECONDS)
    almost = timezone.now() - idle + timedelta(seconds=30)
    rows.update(seen_at=almost)
    assert user_of_session(key) is not None
    assert rows.get().seen_at == almost
    assert me(browser) == 200
    assert rows.get().seen_at > almost
    rows.update(seen_at=timezone.now() - idle)
    assert (user_of_session(key), me(browser)) == (None, 401)
    assert world.place.users["alice"].pk in users_logged_in()  # by her other browsers
    SessionStore.clear_expired()
    assert rows.exists(), "a log-in goes with a record alone"
    forget_logins()
    assert not rows.exists()
    assert Event.objects.filter(code="SESSION_OVER", object_name="alice").exists()


def test_a_new_password_leaves_no_log_in_in_the_list(world):
    alice = world.place.users["alice"].pk
    intruder, own = Client(), Client()
    for browser in (intruder, own):
        log_in(browser)
    form = {"present": PASSWORD, "password": "an entirely new one 7", "again": "an entirely new one 7"}
    changed = own.post(f"/users/{alice}/password/", form)
    assert changed.status_code == 302, changed.content.decode()
    assert not Session.objects.filter(user_uid=alice).exists()
    assert (me(own), me(intruder)) == (401, 401)


def test_one_sees_ones_log_ins_and_ends_one_or_all_others_which_open_sockets_are_told(world):
    firefox, chrome = (
        Client(headers={"User-Agent": f"Mozilla/5.0 (X11; Linux x86_64) {name}/130.0"})
        for name in ("Firefox", "Chrome")
    )
    for browser, where in ((firefox, "192.0.2.1"), (chrome, "192.0.2.2")):
        browser.post("/login/", {"username": "bob", "password": PASSWORD}, REMOTE_ADDR=where)
    listed = chrome.get("/api/v1/sessions/", REMOTE_ADDR="192.0.2.2").json()["results"]
    assert [(row["browser"], row["client_address"], row["present"]) for row in listed][:2] == [
        ("Chrome on Linux", "192.0.2.2", True),
        ("Firefox on Linux", "192.0.2.1", False),
    ]
    assert not {kept(chrome.cookies[COOKIE].value), chrome.cookies[COOKIE].value} & set(str(listed).split("'"))
    bob = world.place.users["bob"].pk
    page = chrome.get(f"/users/{bob}/").content.decode()
    assert "Firefox on Linux" in page
    assert "this browser" in page
    before = access_version(bob)
    chrome.post(f"/users/{bob}/sessions/end/", {"session": listed[1]["id"]})
    assert (me(firefox), me(chrome), access_version(bob)) == (401, 200, before + 1)
    assert user_of_session(firefox.cookies[COOKIE].value) is None
    assert chrome.delete("/api/v1/sessions/").status_code == 204
    assert [row["present"] for row in chrome.get("/api/v1/sessions/").json()["results"]] == [True]
    ended = Event.objects.filter(code="SESSION_END_DONE", actor_uid=bob)
    assert [row.object_name for row in ended] == ["bob", "bob"]
    assert world.api("root").delete(f"/api/v1/users/{bob}/sessions/").status_code == 204
    assert me(chrome) == 401


# -- AN14


@pytest.mark.long
def test_AN14_whoever_is_not_logged_in_makes_no_session(world):  # noqa: N802
    before = Session.objects.count()
    for number in range(5):
        for path in (f"/login/?next=/x{number}", "/", "/jobs/", "/nothing/", "/api/v1/me/", "/api/v1/schema/"):
            answer = Client().get(path)
            assert COOKIE not in answer.cookies, path
    Client().post("/login/", {"username": "alice", "password": "wrong"})
    Client().post("/theme/", {"theme": "dark"})
    Client().post("/language/", {"language": "el"})
    assert Session.objects.count() == before


# -- AN16


def strict(world: World, rank: str = "owner") -> Client:
    """A browser that is logged in, before a portal that looks for CSRF tokens as in production."""
    client = Client(enforce_csrf_checks=True)
    client.cookies[COOKIE] = world.sessions[rank]
    return client


def token_of(client: Client) -> str:
    client.get("/nothing/")  # any page of a log-in has forms; this one is read in no time
    return str(client.cookies["csrftoken"].value)


def counts() -> tuple[int, ...]:
    return tuple(table.objects.count() for table in (Vm, Job, ApiToken, Session))


@pytest.mark.long
def test_AN16_no_change_by_session_without_the_token_of_our_own_page(world):  # noqa: N802
    for operation in API | PAGES:
        method, path = operation.split()
        if method == "GET" or path == "/api/v1/tokens/":
            continue  # a token is made for a name and password, never for a session
        ready(world, operation)
        before, client = counts(), strict(world)
        sent = {"data": json.dumps(body(world, operation)), "content_type": "application/json"}
        if not path.startswith("/api/"):
            sent = {"data": body(world, operation)}
        call = getattr(client, method.lower())
        assert call(address(world, path), **sent).status_code == 403, operation
        token = token_of(client)
        foreign = {"X-CSRFToken": token, "Origin": "https://evil.example"}
        assert call(address(world, path), **sent, headers=foreign).status_code == 403, operation
        wrong = {"X-CSRFToken": "x" * len(token)}
        assert call(address(world, path), **sent, headers=wrong).status_code == 403, operation
        assert counts() == before


def test_AN16_a_refused_form_says_so_in_a_page_of_ours(world):  # noqa: N802
    answer = strict(world).post("/logout/")
    assert answer.status_code == 403
    assert "The form was too old" in answer.content.decode()
    assert answer["X-Request-Id"] in answer.content.decode()


def test_AN16_the_api_takes_json_that_says_so_and_no_form(world):  # noqa: N802
    client = world.api("owner")
    for operation in (operation for operation in API if operation.startswith("POST")):
        text = json.dumps(body(world, operation) or {"x": 1})
        for kind in NO_JSON:
            answer = client.generic("POST", address(world, operation.split()[1]), text, content_type=kind)
            assert answer.status_code == 415, (operation, kind)


@pytest.mark.long
def test_AN16_no_change_by_get_or_by_a_method_in_disguise(world):  # noqa: N802
    before = counts()
    posted = {operation.split()[1] for operation in API | PAGES if operation.startswith(("POST", "DELETE"))}
    gotten = {
        operation.split()[1]: int(dict(zip(ranks, table[operation].split(), strict=True))["owner"].partition(":")[0])
        for table, ranks in ((API, API_RANKS), (PAGES, PAGE_RANKS))
        for operation in table
        if operation.startswith("GET")
    }
    for path in sorted(posted):
        client = world.api("owner") if path.startswith("/api/") else world.browser("owner")
        for disguise in (
            {"X-HTTP-Method-Override": "POST"},
            {"X-Method-Override": "DELETE"},
            {"X-HTTP-Method": "PATCH"},
        ):
            answer = client.get(address(world, path) + "?_method=POST&_method=DELETE", headers=disguise)
            # A GET as any other: the API refuses the strange parameters, a page passes them over.
            shown = 400 if path.startswith("/api/") else gotten.get(path, 0)
            assert answer.status_code == (shown if path in gotten else 405), path
        for method in (each for each in ("put", "patch", "trace") if f"{each.upper()} {path}" not in API):
            assert getattr(client, method)(address(world, path)).status_code == 405, (method, path)
    assert counts() == before
