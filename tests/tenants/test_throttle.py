"""Log-ins that are tried in floods: they shut nobody out who was here before, and cost no more than so many rows."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from portal.celery import app
from portal.common.models import Session
from portal.events.models import Event
from tenants.models import LoginTries, User
from tenants.services.throttle import MOST_PER_ADDRESS, MOST_PER_NAME, WINDOW
from tenants.tasks import forget_logins
from tests.people import PASSWORD


def log_in(client: Client, name: str = "alice", password: str = PASSWORD, *, address: str = "192.0.2.7") -> int:
    return client.post("/login/", {"username": name, "password": password}, REMOTE_ADDR=address).status_code


def flood(name: str = "alice") -> None:
    """A stranger uses up the tries of a name."""
    codes = [log_in(Client(), name, "wrong", address="203.0.113.5") for _ in range(MOST_PER_NAME + 1)]
    assert codes == [401] * MOST_PER_NAME + [429]


@pytest.fixture
def browser(people: object) -> Client:
    """Alice's, in which she has logged in and out."""
    client = Client()
    assert log_in(client) == 302
    client.post("/logout/")
    return client


def test_AN11_a_stranger_shuts_nobody_out_of_the_browser_he_always_uses(browser):  # noqa: N802
    flood()
    assert log_in(Client()) == 429
    assert log_in(browser, "alice") == 302
    flood_of_address = [log_in(Client(), f"guess{n}", "wrong") for n in range(MOST_PER_ADDRESS + 1)]
    assert flood_of_address[-1] == 429
    assert log_in(browser, "alice", "wrong") == 401
    assert log_in(browser, "alice") == 302


def test_AN11_a_known_browser_has_so_many_tries_too_and_for_its_own_name_alone(browser):  # noqa: N802
    flood("bob")
    assert log_in(browser, "bob") == 429
    codes = [log_in(browser, "alice", "wrong") for _ in range(MOST_PER_NAME + 1)]
    assert codes == [401] * MOST_PER_NAME + [429]
    assert log_in(browser, "alice") == 429


def test_AN11_a_device_is_of_the_account_that_logged_in_not_of_what_was_typed(browser):  # noqa: N802
    flood()
    User.objects.create_user("Alice", password=PASSWORD)
    attacker = Client()
    assert log_in(attacker, "Alice", address="198.51.100.9") == 429  # the two names share their tries
    LoginTries.objects.all().delete()
    assert log_in(attacker, "Alice", address="198.51.100.9") == 302
    flood()
    assert log_in(attacker, "alice", "guess") == 429
    assert log_in(attacker, "Alice") == 302
    assert log_in(browser, "alice") == 302


def test_AN11_spellings_of_one_name_share_its_tries(people):  # noqa: N802
    spellings = ["alice", " alice", "ALICE", "\uff41lice", "al\u00adice", "\u00e1lice"]
    codes = [log_in(Client(), spellings[n % len(spellings)], "wrong") for n in range(MOST_PER_NAME)]
    assert codes == [401] * MOST_PER_NAME
    assert [log_in(Client(), spelling, "wrong") for spelling in spellings] == [429] * len(spellings)


@pytest.mark.parametrize("forged", ["", "x", "x:y:z", "\xe9:\xe9:\xe9"])
def test_AN11_a_forged_device_is_none(browser, forged):  # noqa: N802
    flood()
    client = Client()
    client.cookies["device"] = forged or browser.cookies["device"].value.replace(":", ";")
    assert log_in(client) == 429


def test_AN13_the_cookie_of_a_device_is_for_the_log_in_alone_and_opens_nothing(browser):  # noqa: N802
    cookie = browser.cookies["device"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/login/", True, "Lax")
    assert "alice" not in cookie.value
    client = Client()
    client.cookies["device"] = cookie.value
    assert client.get("/api/v1/me/").status_code == 401
    assert log_in(client, "alice", "wrong") == 401


def test_DO07_a_flood_of_names_from_one_address_makes_no_more_rows_than_it_has_tries(people):  # noqa: N802
    codes = [log_in(Client(), f"name{number}", "wrong") for number in range(MOST_PER_ADDRESS + 30)]
    assert codes == [401] * MOST_PER_ADDRESS + [429] * 30
    assert LoginTries.objects.count() == MOST_PER_ADDRESS + 1
    assert Event.objects.filter(code="LOGIN_REFUSED").count() == MOST_PER_ADDRESS + 1


def test_DO07_the_first_refusal_of_a_name_is_on_record_in_each_window_and_its_repeats_are_not(people):  # noqa: N802
    for _ in range(2):
        before = Event.objects.count()
        flood()
        flood_goes_on = [log_in(Client(), "alice", "wrong", address="203.0.113.6") for _ in range(20)]
        assert set(flood_goes_on) == {429}
        assert Event.objects.count() == before + MOST_PER_NAME + 1
        LoginTries.objects.update(since=timezone.now() - WINDOW * 1.1)


def test_AN11_the_addresses_of_one_ipv6_network_are_one(people):  # noqa: N802
    codes = [
        log_in(Client(), f"name{number}", "wrong", address=f"2001:db8:0:1:{number:x}::1")
        for number in range(MOST_PER_ADDRESS + 1)
    ]
    assert codes[-1] == 429
    assert log_in(Client(), "name", "wrong", address="2001:db8:0:2::1") == 401
    assert log_in(Client(), "name", "wrong", address="::ffff:192.0.2.1") == 401


def test_DO07_what_is_over_is_forgotten_and_what_is_not_is_kept(browser):  # noqa: N802
    assert log_in(browser) == 302
    other = Client()
    assert log_in(other, "bob") == 302
    Session.objects.filter(pk=Session.objects.first().pk).update(expire_date=timezone.now())
    log_in(Client(), "charlie", "wrong")
    old = LoginTries.objects.order_by("key").values("key")[:2]
    LoginTries.objects.filter(key__in=[row["key"] for row in old]).update(since=timezone.now() - 3 * WINDOW)
    left = LoginTries.objects.count() - 2
    assert forget_logins() == 2
    assert LoginTries.objects.count() == left
    assert Session.objects.count() == 1


def test_the_forgetting_is_done_by_itself():
    app.loader.import_default_modules()
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert entry["task"] in app.tasks
