"""The second factor: getting it, proving it once, losing it, and roles that ask for it (AN11)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from portal.events.models import Event
from tenants.models import LoginTries, RecoveryCode, Role, SecondFactor
from tenants.services import factors, throttle
from tenants.services.logins import user_of_session
from tenants.services.throttle import MOST_PER_NAME, WINDOW
from tests.edge.world import World
from tests.people import PASSWORD

JSON = {"content_type": "application/json"}


class Clock:
    """The time that codes are made and compared by."""

    now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(factors, "time", clock)
    return clock


class Phone:
    """Alice's, whose app holds her secret."""

    def __init__(self, secret: str, clock: Clock, recovery: list[str]) -> None:
        self.totp, self.clock, self.recovery = pyotp.TOTP(secret), clock, recovery

    def code(self, *, later: int = 30) -> str:
        """The next one; the one of before was used."""
        self.clock.now += later
        return self.totp.at(int(self.clock.now))

    def wrong(self) -> str:
        near = {self.totp.at(int(self.clock.now) + skew) for skew in (-60, -30, 0, 30, 60)}
        return next(code for code in ("000000", "111111", "222222") if code not in near)


@pytest.fixture
def phone(world: World, clock: Clock) -> Phone:
    browser = world.browser("owner")
    page = browser.get("/factor/").content.decode()
    secret, sealed = (re.search(rf'{name} value="([^"]+)"', page).group(1) for name in ('id="secret"', 'name="sealed"'))  # type: ignore[union-attr]
    assert "<svg" in page
    code = pyotp.TOTP(secret).at(int(clock.now))
    made = browser.post("/factor/add/", {"sealed": sealed, "code": code})
    return Phone(secret, clock, re.findall(r"<li>([a-z0-9]{5}-[a-z0-9]{5})</li>", made.content.decode()))


def first_step(client: Client) -> str:
    answer = client.post("/login/", {"username": "alice", "password": PASSWORD})
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    assert (answer.status_code, cookie.value if cookie else "") == (200, "")
    found = re.search('name="pending" value="([^"]+)"', answer.content.decode())
    assert found
    return found.group(1)


def second_step(client: Client, pending: str, code: str, **more: Any) -> int:
    return client.post("/login/code/", {"pending": pending, "code": code}, **more).status_code


def test_a_log_in_takes_both_steps_and_each_code_once(world, phone):
    client = Client()
    pending = first_step(client)
    code = phone.code()
    assert second_step(client, pending, phone.wrong()) == 401
    assert client.get("/api/v1/me/").status_code == 401
    assert second_step(client, pending, f"{code[:3]} {code[3:]}") == 302
    assert client.get("/api/v1/me/").json()["username"] == "alice"
    other = Client()
    assert second_step(other, first_step(other), code) == 401, "a code is taken once"
    early = phone.totp.at(int(phone.clock.now) - 30)
    assert second_step(other, first_step(other), early) == 401, "and none of before it"
    told = Event.objects.filter(object_name="alice", code__startswith="LOGIN_CODE").order_by("at")
    assert [event.outcome for event in told] == ["refused", "done", "refused", "refused"]
    kept = str(list(SecondFactor.objects.values())) + str(list(RecoveryCode.objects.values()))
    assert phone.totp.secret not in kept
    assert phone.recovery[0].replace("-", "") not in kept


def test_a_recovery_code_opens_once_and_new_ones_end_the_old(world, phone):
    client, code = Client(), phone.recovery[0]
    assert second_step(client, first_step(client), code.upper()) == 302
    assert second_step(Client(), first_step(Client()), code) == 401
    renewed = client.post("/factor/codes/", {"code": phone.code()})
    assert len(re.findall("<li>[a-z0-9]{5}-", renewed.content.decode())) == factors.RECOVERY_CODES
    assert second_step(Client(), first_step(Client()), phone.recovery[1]) == 401


def test_the_first_step_is_worth_nothing_when_forged_late_or_of_another_password(world, phone, monkeypatch):
    pending = first_step(Client())
    assert second_step(Client(), pending + "x", phone.code()) == 401
    monkeypatch.setattr("tenants.views.logins.PENDING_SECONDS", -1)
    assert second_step(Client(), pending, phone.code()) == 401
    monkeypatch.undo()
    alice = world.place.actor("alice").user
    alice.set_password("another long one 42")
    alice.save()
    assert second_step(Client(), pending, phone.recovery[0]) == 401
    assert Client().get("/login/code/").status_code == 405
    [told] = Event.objects.filter(code="LOGIN_CODE_REFUSED")
    assert (told.actor_name, told.object_name, told.client_address) == ("", "", "127.0.0.1"), "once for an address"


def test_AN11_tries_of_codes_are_counted_and_shut_nobody_out_of_the_browser_he_always_uses(world, phone):  # noqa: N802
    known = Client()
    assert second_step(known, first_step(known), phone.code()) == 302
    known.post("/logout/")
    pending, wrong = first_step(Client()), phone.wrong()
    codes = [
        second_step(Client(), pending, wrong, REMOTE_ADDR=f"203.0.113.{n}", HTTP_X_FORWARDED_FOR=f"192.0.2.{n}")
        for n in range(MOST_PER_NAME + 1)
    ]
    assert codes == [401] * MOST_PER_NAME + [429]
    refused = Client().post("/login/code/", {"pending": pending, "code": phone.code()})
    assert (refused.status_code, int(refused["Retry-After"]) <= WINDOW.total_seconds()) == (429, True)
    assert second_step(known, first_step(known), phone.code()) == 302
    LoginTries.objects.all().delete()
    stranger = Client()
    assert second_step(stranger, first_step(stranger), phone.code()) == 302


def test_a_code_is_not_found_out_in_any_number_of_windows(world, phone, monkeypatch):
    monkeypatch.setattr(throttle, "MOST_PER_DAY", 2)
    pending, day = first_step(Client()), timedelta(days=1)
    for _ in range(2):
        assert second_step(Client(), pending, phone.wrong()) == 401
        LoginTries.objects.filter(since__lt=timezone.now()).update(since=timezone.now() - 1.5 * WINDOW)
    throttle.forget_tries()
    refused = Client().post("/login/code/", {"pending": pending, "code": phone.code()})
    assert (refused.status_code, int(refused["Retry-After"]) > day.total_seconds() - 60) == (429, True)
    assert "within a day" in refused.content.decode()
    LoginTries.objects.update(since=timezone.now() - 1.5 * WINDOW)
    assert second_step(Client(), pending, phone.code()) == 302


def test_AN17_a_token_takes_the_code_of_whoever_logged_in_with_one_and_none_of_a_telephone_set_up_since(world, phone):  # noqa: N802
    form, stolen = {"name": "t", "scope": "read", "expires_in": "86400"}, world.browser("owner")
    refused = stolen.post("/tokens/new/", form | {"key": "q" * 32, "code": phone.code()})
    assert (refused.status_code, 'autocomplete="current-password"' in refused.content.decode()) == (400, True)
    assert stolen.post("/tokens/new/", form | {"key": "q" * 32, "password": PASSWORD}).status_code == 200
    client = Client()
    assert second_step(client, first_step(client), phone.code()) == 302
    wrong = client.post("/tokens/new/", form | {"key": "r" * 32, "code": phone.wrong(), "password": PASSWORD})
    assert (wrong.status_code, 'id="code-error"' in wrong.content.decode()) == (400, True)
    assert client.post("/tokens/new/", form | {"key": "r" * 32, "code": phone.code()}).status_code == 200


def test_a_token_takes_the_code_as_well(world, phone):
    body = {"username": "alice", "password": PASSWORD, "name": "t"}
    client = Client()
    missing = client.post("/api/v1/tokens/", body, **JSON)
    assert (missing.status_code, missing.json()["reasons"][0]["field"]) == (401, "code")
    assert client.post("/api/v1/tokens/", body | {"code": phone.wrong()}, **JSON).status_code == 401
    assert client.post("/api/v1/tokens/", body | {"code": phone.code()}, **JSON).status_code == 201


def test_setting_up_over_the_api_and_removing_by_one_more_code(world, clock):
    client = world.browser("owner")
    begun = client.post("/api/v1/factor/begin/", {}, **JSON).json()
    assert begun["uri"].startswith("otpauth://totp/Stegi:alice?secret=")
    wrong = client.post("/api/v1/factor/", {"sealed": begun["sealed"], "code": "12345"}, **JSON)
    assert (wrong.status_code, wrong.json()["reasons"][0]["field"]) == (400, "code")
    stolen = world.browser("peer").post("/api/v1/factor/", {"sealed": begun["sealed"], "code": "123456"}, **JSON)
    assert stolen.status_code == 409, "a secret is for whom it was made"
    totp = pyotp.TOTP(begun["secret"])
    made = client.post("/api/v1/factor/", {"sealed": begun["sealed"], "code": totp.at(int(clock.now))}, **JSON)
    assert (made.status_code, len(made.json()["recovery_codes"])) == (201, factors.RECOVERY_CODES)
    assert client.post("/api/v1/factor/begin/", {}, **JSON).status_code == 409
    assert client.get("/api/v1/factor/").json()["recovery_codes_left"] == factors.RECOVERY_CODES
    used = {"code": totp.at(int(clock.now))}
    assert client.post("/api/v1/factor/remove/", used, **JSON).status_code == 400
    assert client.post("/api/v1/factor/remove/", {"code": totp.at(int(clock.now) + 30)}, **JSON).status_code == 200
    assert client.get("/api/v1/factor/").json()["since"] is None


def test_a_role_that_asks_leads_to_setting_it_up_and_to_nothing_else(world, clock):
    assert world.browser("root").post("/users/second-factors/", {"roles": ["end-user"]}).status_code == 302
    assert list(Role.objects.filter(needs_factor=True).values_list("codename", flat=True)) == ["end-user"]
    body = {"username": "alice", "password": PASSWORD, "name": "t"}
    refused = Client().post("/api/v1/tokens/", body, **JSON)
    assert (refused.status_code, "set it up first" in refused.json()["detail"]) == (403, True)
    client = Client()
    client.post("/login/", {"username": "alice", "password": PASSWORD})
    for path in ("/", "/machines/new/", f"/users/{world.place.users['alice'].pk}/", "/users/second-factors/"):
        answer = client.get(path)
        assert (answer.status_code, answer["Location"]) == (302, "/factor/"), path
    denied = client.get("/api/v1/vms/")
    assert (denied.status_code, denied.json()["code"]) == (403, "factor_owed")
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert user_of_session(key) is None, "no socket and no console either"
    page = client.get("/factor/").content.decode()
    secret, sealed = (re.search(rf'{name} value="([^"]+)"', page).group(1) for name in ('id="secret"', 'name="sealed"'))  # type: ignore[union-attr]
    wrong = client.post("/factor/add/", {"sealed": sealed, "code": "1"})
    assert (wrong.status_code, secret in wrong.content.decode()) == (400, True)
    client.post("/factor/add/", {"sealed": sealed, "code": pyotp.TOTP(secret).at(int(clock.now))})
    assert client.get("/").status_code == 200
    assert user_of_session(client.cookies[settings.SESSION_COOKIE_NAME].value) is not None
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != key
    assert user_of_session(key) is None
    code = pyotp.TOTP(secret).at(int(clock.now) + 30)
    assert client.post("/api/v1/factor/remove/", {"code": code}, **JSON).json()["asked"] is True
    assert client.get("/")["Location"] == "/factor/", "by the API as by the page"


def test_a_lost_factor_is_taken_away_by_super_admins_never_their_own_or_at_the_server(world, phone):
    alice, root = world.place.users["alice"].pk, world.place.users["root"].pk
    assert world.api("admin").delete(f"/api/v1/users/{alice}/factor/").status_code == 403
    assert world.api("root").delete(f"/api/v1/users/{root}/factor/").status_code == 409
    assert world.browser("root").post(f"/users/{alice}/factor/reset/").status_code == 302
    assert Event.objects.filter(code="FACTOR_RESET_DONE", object_name="alice", actor_name="root").count() == 1
    assert not RecoveryCode.objects.filter(user=alice).exists()
    assert Client().post("/login/", {"username": "alice", "password": PASSWORD}).status_code == 302
    SecondFactor.objects.create(user_id=root, sealed_secret="x")
    call_command("reset_factor", "root")
    assert not SecondFactor.objects.filter(user_id=root).exists()
