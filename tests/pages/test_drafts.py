"""What was typed into the wizard survives the end of the log-in, for who typed it and nobody else."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from portal.common.drafts import MOST_CHARACTERS
from portal.common.models import Session
from portal.common.sessions import SessionStore

TYPED = {"name": "survivor", "description": "Πεδίο <b>", "user_name": "me"}


@pytest.fixture
def posted(demo):
    """alice's browser after her log-in ended between two steps, with what it was about to post."""
    client = demo.browser("alice")
    values = demo.form(client, **TYPED)
    values["whose"] = re.findall(r'name="whose" value="([^"]*)"', client.get("/machines/new/").content.decode())[0]
    SessionStore(client.session.session_key).delete()
    return client, values


def log_in(demo, client, page: str, name: str, password: str = "") -> object:
    draft = re.findall(r'name="draft" value="([^"]*)"', page)
    sent = {"username": name, "password": password or demo.password(name), "next": "/machines/new/"}
    return client.post("/login/", sent | ({"draft": draft[0]} if draft else {}))


@pytest.mark.parametrize("action", ["review", "create", "edit"])
def test_values_are_there_again_after_the_log_in_and_once(demo, posted, action):
    client, values = posted
    answer = client.post("/machines/new/", values | {"action": action, "key": "k" * 32, "nics": ["", "none"]})
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    page = answer.content.decode()
    assert "survivor" not in page, "sealed"
    assert log_in(demo, client, page, "alice").headers["Location"] == "/machines/new/"
    back = client.get("/machines/new/")
    form = back.context["form"]
    assert {name: form[name].value() for name in TYPED} == TYPED
    assert form["run"].value() is True
    assert form["nics"].value() == ["", "none"], "all of what has several values"
    assert "What you had typed is here again." in back.content.decode()
    assert client.get("/machines/new/").context["form"]["name"].value() == "alice-1"


def test_they_survive_a_wrong_password_on_the_way(demo, posted):
    client, values = posted
    page = client.post("/machines/new/", values | {"action": "review"}).content.decode()
    again = log_in(demo, client, page, "alice", "not it").content.decode()
    log_in(demo, client, again, "alice")
    assert client.get("/machines/new/").context["form"]["name"].value() == "survivor"


def test_whoever_else_logs_in_there_sees_nothing_of_them(demo, posted):
    client, values = posted
    page = client.post("/machines/new/", values | {"action": "review"}).content.decode()
    log_in(demo, client, page, "bob")
    text = client.get("/machines/new/").content.decode()
    assert "survivor" not in text
    assert "Πεδίο" not in text


def test_form_that_is_nobodys_or_too_long_leads_to_the_log_in_as_ever(demo, posted):
    client, values = posted
    for sent in (
        values | {"whose": ""},
        values | {"whose": f"{demo.user('alice').pk}:forged"},
        values | {"description": "x" * MOST_CHARACTERS},
    ):
        assert client.post("/machines/new/", sent).headers["Location"].startswith("/login/?next=")
    before = Session.objects.count()
    client.post("/machines/new/", values)
    assert Session.objects.count() == before, "nothing is written for nobody"


def test_seal_that_is_broken_or_foreign_is_passed_over(demo, posted):
    client, _values = posted
    for draft in ("nonsense", "x" * 300_000):
        client.post("/login/", {"username": "alice", "password": demo.password("alice"), "draft": draft[:200_000]})
        assert client.get("/machines/new/").status_code == HTTPStatus.OK
        assert "draft" not in client.session, "what is not his own is not kept"


def test_part_of_the_page_says_that_the_log_in_ended_and_does_not_load_it_anew(posted):
    client, values = posted
    answer = client.post("/machines/new/", values | {"action": "preview"}, headers={"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.OK
    assert "HX-Refresh" not in answer.headers
    assert "What you typed stays" in answer.content.decode()
