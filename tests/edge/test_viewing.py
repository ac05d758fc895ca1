"""Seeing the portal as somebody else: his pages exactly, nothing changed by any door, and both names in the log."""

from __future__ import annotations

import re
from datetime import timedelta
from http import HTTPStatus

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from compute.models import Console, Screen
from compute.services.consoles import ConsoleRequest, Knock, Traffic, check_console, claim_console, open_console
from portal.common.actor import Actor, Door, system_actor
from portal.common.errors import NotPermitted, ReadOnlyView
from portal.events.models import Event
from portal.socket_login import actor_of_scope
from tenants import policy
from tenants.models import User
from tenants.services.people import add_person
from tenants.services.viewing import KEY, SessionStore, begin_view
from tests.edge.access_bodies import address, body
from tests.edge.access_pages import PAGES
from tests.edge.access_table import API

OWN = {"POST /logout/", "POST /view/end/"}


@pytest.fixture
def looking(world):
    """A browser of root's that sees the portal as alice."""
    client = world.browser("root")
    begun = client.post(f"/users/{world.place.users['alice'].pk}/view/")
    assert begun.status_code == HTTPStatus.FOUND, begun.content
    return client


def session_of(client):
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def kept(client, **changes):
    """Change what the session notes of the view."""
    session = SessionStore(session_of(client))
    session[KEY] |= changes
    session.save()


def events(*codes):
    rows = Event.objects.filter(code__in=codes).order_by("at")
    return [(row.code, row.actor_name, row.object_name) for row in rows]


def steady(answer):
    text = re.sub(r"[A-Za-z0-9]{64}|[0-9a-f]{32}|<time.*?</time>|data-age=\"\d+\"", "", answer.content.decode())
    text = re.sub(
        r'<div class="viewing-bar".*?</form></div>|name="(whose|key)" value="[^"]*"', "", text, flags=re.DOTALL
    )
    return answer.status_code, " ".join(text.split())


def test_every_page_and_list_is_what_the_other_sees_with_a_banner(world, looking):
    alice = world.browser("owner")
    paths = [
        "/", "/jobs/", "/events/", "/templates/", "/images/", "/users/", "/data-centers/", "/providers/", "/search/",
        *(f"/machines/{world.vm.pk}/{tab}" for tab in ("", "disks/", "who/", "events/")),
        *(f"/api/v1/{noun}/" for noun in ("me", "vms", "users", "tokens", "jobs", "events")),
    ]  # fmt: skip
    for path in paths:
        seen, his = looking.get(path), alice.get(path)
        assert steady(seen) == steady(his), path
        if not path.startswith("/api/"):
            assert 'id="viewing"' in seen.content.decode(), path
            assert "You see the portal as alice" in seen.content.decode()


@pytest.mark.turns
@pytest.mark.long
def test_every_method_that_may_change_something_is_refused_with_a_reason_of_its_own(world, looking):
    tables = {**API, **PAGES}
    for operation in (each for each in tables if not each.startswith("GET") and each not in OWN):
        method, path = operation.split()
        is_api = path.startswith("/api/")
        as_json = {"content_type": "application/json"} if is_api else {}
        answer = getattr(looking, method.lower())(address(world, path), body(world, operation), **as_json)
        assert answer.status_code == HTTPStatus.FORBIDDEN, operation
        assert (answer.json()["code"] if is_api else answer.content.decode()).count("read_only_view") == is_api, (
            operation
        )
        assert is_api or "End the view to act as yourself" in answer.content.decode(), operation
    assert Event.objects.exclude(code="VIEW_ACT_REFUSED").order_by("-at").first().code == "VIEW_BEGIN_DONE"
    refused = Event.objects.filter(code="VIEW_ACT_REFUSED").first()
    assert (refused.actor_name, refused.object_name) == ("root", "alice")


def test_part_of_a_page_that_acts_is_refused_where_the_page_says_so(world, looking):
    answer = looking.post(f"/machines/{world.vm.pk}/stop/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Retarget"]) == (HTTPStatus.FORBIDDEN, "#notices")


@pytest.mark.parametrize("header", ["Bearer\xa0x", "Bearer\x85x", "bearer\x1cx"])
def test_what_is_no_token_to_the_api_makes_no_request_ones_own(world, looking, header):
    answer = looking.get("/api/v1/me/", headers={"Authorization": header})
    assert (answer.status_code, answer.json().get("username")) == (HTTPStatus.OK, "alice")


def test_it_is_told_at_its_begin_and_end_with_both_names(world, looking):
    assert looking.post("/view/end/").headers["Location"] == "/users/"
    assert looking.get("/users/").status_code == HTTPStatus.OK
    assert events("VIEW_BEGIN_DONE", "VIEW_END_DONE") == [
        ("VIEW_BEGIN_DONE", "root", "alice"),
        ("VIEW_END_DONE", "root", "alice"),
    ]
    assert looking.post("/view/end/").status_code == HTTPStatus.FOUND, "again is nothing new"
    assert len(events("VIEW_END_DONE")) == 1


def test_it_ends_with_the_log_out(world, looking):
    looking.post("/logout/")
    assert looking.get("/users/").status_code == HTTPStatus.FOUND
    assert Event.objects.get(code="VIEW_END_DONE").data == {"why": "log_out"}


def test_it_ends_after_half_an_hour_and_what_is_posted_then_is_not_done_as_oneself(world, looking):
    alice = world.place.users["alice"]
    begun = Event.objects.get(code="VIEW_BEGIN_DONE")
    assert begun.data["until"] <= (timezone.now() + timedelta(minutes=30)).isoformat()
    kept(looking, ends_at=(timezone.now() - timedelta(seconds=1)).isoformat())
    assert actor_of_scope(scope_of(looking)) is None
    answer = looking.post(f"/users/{alice.pk}/disable/")
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "The half hour" in answer.content.decode()
    assert User.objects.get(pk=alice.pk).is_active
    assert 'id="viewing"' not in looking.get("/users/").content.decode()
    assert Event.objects.get(code="VIEW_END_DONE").data == {"why": "time"}


def test_forms_of_its_pages_are_worth_nothing_after_it(world):
    """A page that was left open says that it is alice's: what is pressed on it must not be done by root."""
    client = Client(enforce_csrf_checks=True)
    client.cookies[settings.SESSION_COOKIE_NAME] = world.sessions["root"]

    def token(page):
        return {"csrfmiddlewaretoken": re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.content.decode()).group(1)}

    begin = client.post(f"/users/{world.place.users['alice'].pk}/view/", token(client.get("/users/")))
    assert begin.status_code == HTTPStatus.FOUND
    left_open = token(client.get(f"/machines/{world.vm.pk}/"))
    assert client.post("/view/end/", left_open).status_code == HTTPStatus.FOUND
    assert client.post(f"/machines/{world.vm.pk}/stop/", left_open).status_code == HTTPStatus.FORBIDDEN
    assert client.post("/logout/", left_open).status_code == HTTPStatus.FORBIDDEN
    assert client.get("/users/").status_code == HTTPStatus.OK


@pytest.mark.parametrize("change", ["disabled", "promoted", "demoted"])
def test_it_ends_when_either_is_no_longer_who_he_was(world, looking, change):
    root, alice = world.place.users["root"], world.place.users["alice"]
    if change == "disabled":
        User.objects.filter(pk=alice.pk).update(is_active=False)
    elif change == "promoted":
        policy.grant(system_actor(), "super-admin", alice, policy.system())
    else:
        policy.revoke(system_actor(), "super-admin", root, policy.system())
    assert actor_of_scope(scope_of(looking)) is None
    assert 'id="viewing"' not in looking.get("/").content.decode()
    assert Event.objects.get(code="VIEW_END_DONE").data["why"] == ("rights" if change == "demoted" else "account")


def test_nobody_of_the_same_rank_nor_oneself_nor_the_disabled_is_looked_as(world):
    client = world.browser("root")
    bob = world.place.users["bob"]
    policy.grant(system_actor(), "super-admin", bob, policy.system())
    for user, code in ((bob, "super-admin too"), (world.place.users["root"], "yourself")):
        answer = client.post(f"/users/{user.pk}/view/")
        assert (answer.status_code, code in answer.content.decode()) == (HTTPStatus.CONFLICT, True)
    dora = User.objects.get(username="dora")
    assert "disabled" in client.post(f"/users/{dora.pk}/view/").content.decode()
    assert [row[0] for row in events("VIEW_BEGIN_DONE", "VIEW_BEGIN_REFUSED")] == ["VIEW_BEGIN_REFUSED"] * 3
    token = Actor(user=world.place.users["root"], door=Door.API)
    with pytest.raises(NotPermitted):
        begin_view(token, {}, world.place.users["alice"].pk)


def scope_of(client):
    cookie = f"{settings.SESSION_COOKIE_NAME}={session_of(client)}".encode()
    return {"headers": [(b"cookie", cookie), (b"origin", settings.PUBLIC_ORIGINS[0].encode())]}


def test_sockets_show_the_others_parts_and_services_refuse_him_too(world, looking):
    actor = actor_of_scope(scope_of(looking))
    assert (actor.name, actor.answerable.username) == ("alice", "root")
    with pytest.raises(ReadOnlyView):
        open_console(actor, world.vm.pk, ConsoleRequest())
    admin = Actor(user=world.place.users["physics-admin"], door=Door.PAGE, real_user=world.place.users["root"])
    with pytest.raises(ReadOnlyView):
        add_person(admin, world.place.centers["physics"].pk, username="charlie", role="end-user")
    assert events("VM_CONNECT_REFUSED", "GRANT_REFUSED") == [
        ("VM_CONNECT_REFUSED", "root", ""),
        ("GRANT_REFUSED", "root", "physics"),
    ]
    assert Event.objects.filter(code="GRANT_REFUSED").get().data["seen_as"] == "physics-admin"


def test_no_console_lives_and_no_picture_is_taken_meanwhile(world):
    client = world.browser("root")
    root = Actor(user=world.place.users["root"], door=Door.PAGE, session_key=world.sessions["root"])
    open_one, waiting = (open_console(root, world.vm.pk, ConsoleRequest()) for _ in range(2))
    claimed = claim_console(open_one.console.pk, knock=Knock(ticket=open_one.ticket))
    assert check_console(claimed.pk, traffic=Traffic()) is None
    client.post(f"/users/{world.place.users['alice'].pk}/view/")
    assert check_console(claimed.pk, traffic=Traffic()).reason == "viewing"
    with pytest.raises(NotPermitted):
        claim_console(waiting.console.pk, knock=Knock(ticket=waiting.ticket))
    assert Console.objects.get(pk=waiting.console.pk).closed_reason == "viewing"
    Screen.objects.all().delete()
    assert client.get(f"/machines/{world.vm.pk}/screen/").status_code == HTTPStatus.OK
    assert not Screen.objects.exists()


def test_a_token_speaks_for_its_own_user_whatever_cookie_comes_along(world, looking):
    bearer = {"Authorization": f"Bearer {world.tokens['root']}"}
    assert looking.get("/api/v1/me/", headers=bearer).json()["username"] == "root"
    assert looking.get("/api/v1/me/", headers={"Authorization": "Basic x"}).json()["username"] == "alice"
    made = looking.post(
        "/api/v1/users/", {"username": "erna"}, "application/json", headers={"Authorization": "Basic x"}
    )
    assert made.json()["code"] == "read_only_view"
