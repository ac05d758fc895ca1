"""The frame, the log-in page and the error pages: what they hold, and that a strict content policy allows it."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import lxml.html
import pytest
from django.conf import settings
from django.template.loader import get_template
from django.test import Client

from tenants.models import User

TEMPLATES = Path(settings.BASE_DIR) / "templates"
FORBIDDEN = re.compile(
    r"""\sstyle=|<style|\son[a-z]+=["']|javascript:|<script(?![^>]*\ssrc=)|hx-on|hx-vals=["']js:""", re.I
)


@pytest.fixture
def alice(db) -> User:
    return User.objects.create_user("alice", password="a-long-password-1")


def test_no_template_holds_a_script_or_a_style_of_its_own():
    found = [path.name for path in TEMPLATES.rglob("*.html") if FORBIDDEN.search(path.read_text())]
    assert found == []


def test_every_template_can_be_read():
    paths = [str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html")]
    assert len(paths) > 30
    for path in paths:
        get_template(path)


def test_form_of_an_earlier_session_is_told_to_be_too_old(alice):
    answer = Client(enforce_csrf_checks=True).post("/login/", {"username": "alice", "password": "a-long-password-1"})
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "The form was too old" in answer.content.decode()


def test_click_after_the_session_ended_loads_the_page_anew(client):
    answer = client.get("/login/?next=/", headers={"HX-Request": "true"})
    assert answer.headers["HX-Refresh"] == "true"


def test_login_page_keeps_the_way_and_refuses_a_wrong_password(alice):
    client = Client()
    answer = client.get("/", follow=True)
    assert answer.redirect_chain == [("/login/?next=/", HTTPStatus.FOUND)]
    refused = client.post("/login/", {"username": "alice", "password": "wrong"})
    assert 'role="alert"' in refused.content.decode()
    assert 'value="alice"' in refused.content.decode()
    told = client.post("/login/", {"username": "alice", "password": "a-long-password-1", "next": "/?q=x"})
    assert told.headers["Location"] == "/?q=x"


def test_theme_is_kept_and_never_leads_elsewhere(alice):
    client = Client()
    answer = client.post("/theme/", {"theme": "dark", "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/"
    assert 'data-bs-theme="dark"' in client.get("/login/").content.decode()
    client.post("/theme/", {"theme": ""})
    assert "data-theme-chosen" not in client.get("/login/").content.decode()


def test_an_address_that_is_not_there_answers_with_a_page(client):
    answer = client.get("/nothing/here/")
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert "Stegi" in answer.content.decode()
    assert "style-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://testserver/data-centers/?q=x#top", "/data-centers/?q=x"),
        ("", "/"),
        ("https://evil.example/data-centers/", "/"),
        ("http://testserver@evil.example/", "/"),
        ("http://testserver//evil.example/", "//evil.example/"),
    ],
)
def test_a_button_pressed_after_the_session_ended_leads_back_to_its_page(alice, referer, back):
    client = Client()
    pressed = client.post(f"/data-centers/{uuid4()}/disable/", headers={"Referer": referer} if referer else {})
    assert pressed.status_code == HTTPStatus.FOUND
    login, _, wanted = pressed.headers["Location"].partition("?next=")
    assert (login, unquote(wanted)) == ("/login/", back)
    told = client.post("/login/", {"username": "alice", "password": "a-long-password-1", "next": unquote(wanted)})
    assert told.headers["Location"] == ("/" if back.startswith("//") else back)


def test_the_tab_of_a_refusal_is_short_and_the_page_says_it_in_full(demo):
    client = demo.browser("alice")
    for path, title, told in (
        ("/providers/", "Not allowed", "You lack the permit PROVIDER_VIEW here."),
        (f"/machines/{uuid4()}/", "Not found", "There is no such machine, or you may not see it."),
    ):
        page = client.get(path).content.decode()
        assert f"<title>{title} · Stegi</title>" in page
        assert 'class="frame-menu"' in page, "whoever is logged in goes on by the navigation"
        assert told in page[page.index("<h1") : page.index("</h1>")]


def test_an_address_that_is_not_there_keeps_the_navigation_of_whoever_is_logged_in(client, alice):
    assert 'class="frame-menu"' not in client.get("/nowhere/").content.decode()
    client.force_login(alice)
    page = client.get("/nowhere/")
    assert page.status_code == HTTPStatus.NOT_FOUND
    assert 'class="frame-menu"' in page.content.decode()


def test_the_documentation_of_the_api_has_a_title_and_leads_back(client):
    page = lxml.html.fromstring(client.get("/api/v1/docs/").content)
    assert [h1.text_content() for h1 in page.findall(".//h1")] == ["The API of the portal"]
    assert [a.get("href") for a in page.findall(".//a")] == ["/"]


@pytest.mark.parametrize("path", ["/images/upload/", "/factor/add/", "/logout/"])
def test_the_address_of_a_button_answers_with_a_page(alice, path):
    browser = Client()
    browser.force_login(alice)
    answer = browser.get(path)
    assert (answer.status_code, "POST" in answer["Allow"]) == (405, True)
    assert "it is where a button of another leads" in answer.content.decode()
    assert 'href="/"' in answer.content.decode()
