"""Logging in by the lab's OpenLDAP (AN01, AN02, AN03, AN05, AN07, AN09, AN10, AN12; S23)."""

from __future__ import annotations

import ldap
import pytest
from django.test import Client

from portal.events.models import Event
from tenants.directory.connection import Connection
from tenants.models import Directory, LoginTries, User
from tenants.services.throttle import MOST_PER_ADDRESS
from tests.compute.console.certificates import Authority
from tests.lab.slapd_server import PEOPLE, PORTAL, SlapdServer
from tests.people import PASSWORD
from tests.tenants.directory.conftest import fresh, log_in, openldap_row, token

SECRET = "Prima-vera-1642"
KEPT_OUT = "The user name or the password is wrong, or the directory does not let the account in"


def asked(server: SlapdServer, since: int) -> list[str]:
    """What slapd was asked: its searches and binds."""
    lines = server.lines_logged(since)
    return [line for line in lines if " SRCH base=" in line or " BIND dn=" in line]


def test_a_person_logs_in_and_is_known_by_the_guid(openldap, slapd):
    name = fresh("galileo")
    slapd.person(name, SECRET, mail=f"{name}@lab.example", displayName="Galileo Γαλιλαίος")
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    user = User.objects.get(directory=openldap)
    assert (user.username, user.display_name, user.email) == (
        f"lab\\{name}",
        "Galileo Γαλιλαίος",
        f"{name}@lab.example",
    )
    assert len(user.guid) == 36
    assert not user.has_usable_password()
    assert browser.get("/api/v1/me/").status_code == 200
    assert Event.objects.filter(code="LOGIN_DONE", object_uid=user.pk).exists()


def test_a_token_by_the_page_takes_the_directorys_password_once_more(openldap, slapd):
    name, browser = fresh("faraday"), Client()
    slapd.person(name, SECRET)
    log_in(name, SECRET, browser)
    form = {"name": "t", "scope": "read", "expires_in": "86400", "key": "d" * 32}
    codes = [browser.post("/tokens/new/", form | {"password": text}).status_code for text in ("wrong", SECRET)]
    assert codes == [400, 200]


def test_each_way_to_write_the_name_is_the_same_person(openldap, slapd):
    name = fresh("Kepler")
    slapd.person(name, SECRET)
    for typed in (
        name,
        name.lower(),
        name.upper(),
        f"LAB\\{name}",
        f"lab\\{name.lower()}",
        f"{name}@LAB.example",
        f" {name} ",
    ):
        assert log_in(typed, SECRET).status_code == 302, typed
    assert User.objects.filter(directory=openldap).count() == 1


def test_starttls_does_as_well_and_nothing_goes_over_in_the_clear(openldap, slapd):
    name = fresh("tycho")
    slapd.person(name, SECRET)
    Directory.objects.update(urls=[slapd.ldap_url], starts_tls=True)
    since = len(slapd.lines_logged())
    assert token(name, SECRET).status_code == 201
    lines = slapd.lines_logged(since)
    first_bind = next(place for place, line in enumerate(lines) if " BIND dn=" in line)
    assert any("TLS established" in line for line in lines[:first_bind])


def test_a_wrong_password_is_401_and_makes_nobody(openldap, slapd):
    name = fresh("brahe")
    slapd.person(name, SECRET)
    assert log_in(name, "wrong").status_code == 401
    assert not User.objects.filter(directory=openldap).exists()


@pytest.mark.parametrize("password", ["", "   ", "\t", "\x00", "\x00" + SECRET, SECRET + "\x00"])
def test_AN01_an_empty_password_is_401_and_the_server_is_not_asked(openldap, slapd, password):  # noqa: N802
    name = fresh("empty")
    slapd.person(name, SECRET)
    since = len(slapd.lines_logged())
    assert log_in(name, password).status_code == 401
    assert not [line for line in asked(slapd, since) if PORTAL not in line and "cn=admin" not in line]
    assert not User.objects.filter(directory=openldap).exists()


HOSTILE = {
    "*": r"\2a",
    "admin)(|(uid=*": r"admin\29\28|\28uid=\2a",
    "a\\00b": r"a\5c00b",
    ',+"\\<>;=#': r',+"\5c<>;=#',
    "))(&": r"\29\29\28&",
}


@pytest.mark.parametrize("username", HOSTILE)
def test_AN02_a_hostile_name_is_401_and_one_escaped_search(openldap, slapd, username):  # noqa: N802
    slapd.person(fresh("bystander"), SECRET)
    since = len(slapd.lines_logged())
    assert token(username, SECRET).status_code == 401
    [search] = [line for line in asked(slapd, since) if " SRCH base=" in line]
    assert f"(uid={HOSTILE[username]}))".lower() in search.lower()
    assert not [line for line in asked(slapd, since) if " BIND dn=" in line and PORTAL not in line]


@pytest.mark.parametrize("bad", [["a"], {"a": 1}, 7, None])
def test_AN03_a_name_that_is_no_string_is_400_and_never_asked_for(openldap, slapd, bad):  # noqa: N802
    since = len(slapd.lines_logged())
    assert token(bad, SECRET).status_code == 400
    assert token("galileo", bad).status_code == 400
    assert asked(slapd, since) == []


def test_AN05_a_local_accounts_name_in_a_directory_is_somebody_else(openldap, slapd):  # noqa: N802
    name = fresh("admin")
    local = User.objects.create_user(name, password=PASSWORD)
    before = User.objects.filter(pk=local.pk).values().get()
    slapd.person(name, SECRET)
    since = len(slapd.lines_logged())
    assert log_in(name, SECRET).status_code == 401
    assert asked(slapd, since) == []  # the local account's name: nobody else is asked
    browser = Client()
    assert log_in(f"lab\\{name}", SECRET, browser).status_code == 302
    other = User.objects.get(directory=openldap)
    assert browser.get("/api/v1/me/").json()["id"] == str(other.pk) != str(local.pk)
    assert User.objects.filter(pk=local.pk).values().get() == before
    assert log_in(f"lab\\{name}", PASSWORD).status_code == 401
    assert log_in(f".\\{name}", PASSWORD).status_code == 302


def test_a_name_that_is_given_to_somebody_new_is_another_user(openldap, slapd):
    name = fresh("kuhn")
    dn = slapd.person(name, SECRET)
    assert log_in(name, SECRET).status_code == 302
    first = User.objects.get(directory=openldap)
    slapd.remove(dn)
    slapd.person(name, "another-password-9")
    assert log_in(name, SECRET).status_code == 401
    assert log_in(name, "another-password-9").status_code == 302
    second = User.objects.get(directory=openldap, username=f"lab\\{name}")
    assert second.pk != first.pk
    first.refresh_from_db()
    assert first.username == f"lab\\{name}~{first.guid[:8]}"


def test_a_renamed_person_is_the_same_user_by_a_new_name(openldap, slapd):
    name, later = fresh("curie"), fresh("sklodowska")
    dn = slapd.person(name, SECRET)
    assert log_in(name, SECRET).status_code == 302
    slapd.rename(dn, f"uid={later}")
    assert log_in(name, SECRET).status_code == 401
    assert log_in(later, SECRET).status_code == 302
    assert User.objects.get(directory=openldap).username == f"lab\\{later}"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"pwdAccountLockedTime": "000001010000Z"},
            "",
        ),  # slapd says of a locked account what it says of a wrong password
        ({"pwdReset": "TRUE"}, "must_change"),
        ({"objectClass": ["inetOrgPerson", "shadowAccount"], "shadowExpire": "100"}, "expired"),
    ],
)
def test_AN07_an_account_that_is_kept_out_is_401_like_any_other(openldap, slapd, change, why):  # noqa: N802
    name = fresh("banned")
    dn = slapd.person(name, SECRET)
    slapd.change(dn, **change)
    answer, unknown = token(name, SECRET), token("nobody-at-all", SECRET)
    assert (answer.status_code, answer.json()["detail"]) == (401, unknown.json()["detail"])
    assert answer.json()["detail"].startswith(KEPT_OUT)
    assert not User.objects.filter(directory=openldap).exists()
    noted = [event.data["why"] for event in Event.objects.filter(code="LOGIN_KEPT_OUT")]
    assert noted == ([why] if why else [])


def test_a_person_whom_a_super_admin_disabled_stays_out(openldap, slapd):
    name = fresh("disabled")
    slapd.person(name, SECRET)
    assert log_in(name, SECRET).status_code == 302
    User.objects.filter(directory=openldap).update(is_active=False)
    assert log_in(name, SECRET).status_code == 401


def refused_as_unreachable(directory: Directory, name: str) -> None:
    """503 that names the directory, no second backend, nothing counted against the person, and local accounts log in."""
    User.objects.create_user("breakglass", password=PASSWORD)
    User.objects.create_user(f"decoy-{name}", password=SECRET)
    answer = token(name, SECRET)
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"
    assert directory.name in answer.json()["detail"]
    page = log_in(name, SECRET)
    assert page.status_code == 503
    assert f"The directory {directory.name} cannot be asked" in page.content.decode()
    assert sorted(LoginTries.objects.values_list("tries", flat=True)) == [0, 2]  # the name's, and the address's
    assert Event.objects.filter(code="LOGIN_REFUSED", data__code="unavailable").count() == 2
    assert log_in("breakglass", PASSWORD).status_code == 302


def test_S23_AN09_a_directory_that_is_down_is_503_and_break_glass_works(openldap, slapd):  # noqa: N802
    name = fresh("stranded")
    slapd.person(name, SECRET)
    slapd.stop()
    refused_as_unreachable(openldap, name)


def test_AN10_an_address_has_a_directory_that_is_down_asked_only_so_often(openldap, slapd):  # noqa: N802
    slapd.stop()
    codes = [token(f"name{number}", SECRET).status_code for number in range(MOST_PER_ADDRESS + 1)]
    assert codes == [503] * MOST_PER_ADDRESS + [429]


def test_AN09_a_certificate_of_an_authority_nobody_trusts_is_503(openldap, slapd):  # noqa: N802
    name = fresh("untrusted")
    slapd.person(name, SECRET)
    Directory.objects.update(ca_pem=Authority.make("Somebody else").pem)
    since = len(slapd.lines_logged())
    refused_as_unreachable(openldap, name)
    assert asked(slapd, since) == []


def test_AN09_a_certificate_for_another_name_is_503(db, slapd):  # noqa: N802
    server = SlapdServer(address="127.0.0.2")
    server.start()
    server.fill()
    try:
        since = len(server.lines_logged())
        refused_as_unreachable(openldap_row(server), "anybody")
        assert asked(server, since) == []
    finally:
        server.stop()


def test_AN09_a_refused_starttls_is_503_and_the_password_never_goes_out_in_the_clear(db, slapd):  # noqa: N802
    server = SlapdServer(has_tls=False)
    server.start()
    server.fill()
    try:
        since = len(server.lines_logged())
        refused_as_unreachable(openldap_row(server, urls=[server.ldap_url], starts_tls=True), "anybody")
        assert asked(server, since) == []
    finally:
        server.stop()


def test_AN09_an_address_without_tls_is_never_spoken_to(openldap, slapd):  # noqa: N802
    Directory.objects.update(urls=[slapd.ldap_url])
    since = len(slapd.lines_logged())
    refused_as_unreachable(openldap, "anybody")
    assert asked(slapd, since) == []


def test_AN09_a_wrong_password_of_the_portals_own_account_is_503(openldap, slapd):  # noqa: N802
    Directory.objects.update(bind_dn=f"cn=nobody,{PORTAL}")
    refused_as_unreachable(openldap, "anybody")


def test_AN10_a_directory_that_is_silent_is_given_up_after_its_time(openldap, slapd, monkeypatch):  # noqa: N802
    name = fresh("patient")
    slapd.person(name, SECRET)
    slapd.freeze()
    answer = token(name, SECRET)  # it comes at all: the server is not let go on before the test ends
    assert answer.status_code == 503
    assert openldap.name in answer.json()["detail"]
    # The next ones do not wait, so that a silent directory does not take the portal's threads one by one.
    monkeypatch.setattr("tenants.directory.backend.Connection", lambda *_, **__: pytest.fail("it was asked again"))
    assert token(name, SECRET).status_code == 503


@pytest.mark.parametrize(
    "answer",
    [ldap.CONSTRAINT_VIOLATION, ldap.INAPPROPRIATE_AUTH, ldap.INSUFFICIENT_ACCESS, ldap.UNWILLING_TO_PERFORM],
)
def test_whatever_a_server_refuses_an_account_with_is_401_and_the_directory_is_well(
    openldap, slapd, monkeypatch, answer
):
    name, other = fresh("refused"), fresh("welcome")
    dn = slapd.person(name, SECRET)
    slapd.person(other, SECRET)
    bind = Connection.bind

    def refuse(self, bound, password):
        if bound == dn:
            raise answer({"desc": "no"})
        bind(self, bound, password)

    monkeypatch.setattr(Connection, "bind", refuse)
    assert token(name, SECRET).status_code == 401
    assert sum(LoginTries.objects.values_list("tries", flat=True)) == 2  # of the name and of the address
    assert log_in(other, SECRET).status_code == 302


def test_the_second_server_of_a_directory_is_asked_when_the_first_is_down(openldap, slapd):
    name = fresh("second")
    slapd.person(name, SECRET)
    Directory.objects.update(urls=["ldaps://127.0.0.1:1", slapd.ldaps_url])
    assert log_in(name, SECRET).status_code == 302


def test_two_directories_keep_apart_who_has_the_same_name(openldap, slapd):
    other = SlapdServer()
    other.start()
    other.fill()
    try:
        openldap_row(other, name="other", domains=["other.example"])
        name = fresh("twin")
        slapd.person(name, SECRET)
        other.person(name, "of-the-other-one-2")
        since = len(slapd.lines_logged()), len(other.lines_logged())
        assert log_in(name, SECRET).status_code == 401  # neither is the default one: nobody gets the password
        assert (asked(slapd, since[0]), asked(other, since[1])) == ([], [])
        assert log_in(f"{name}@lab.example", SECRET).status_code == 302
        assert asked(other, since[1]) == []
        assert log_in(f"OTHER\\{name}", SECRET).status_code == 401
        assert log_in(f"OTHER\\{name}", "of-the-other-one-2").status_code == 302
        Directory.objects.filter(name="other").update(is_default=True)
        assert log_in(name, "of-the-other-one-2").status_code == 302
        assert sorted(User.objects.values_list("username", flat=True)) == [f"lab\\{name}", f"other\\{name}"]
    finally:
        other.stop()


def test_a_name_that_two_accounts_have_is_nobodys(openldap, slapd):
    name, unit = fresh("double"), f"ou={fresh('unit')},{PEOPLE}"
    slapd.person(name, SECRET)
    slapd.add(unit, objectClass="organizationalUnit")
    slapd.add(f"uid={name},{unit}", objectClass="inetOrgPerson", cn="Other", sn="Other", uid=name, userPassword=SECRET)
    assert log_in(name, SECRET).status_code == 401


def test_a_disabled_directory_is_asked_by_nobody(openldap, slapd):
    name = fresh("closed")
    slapd.person(name, SECRET)
    Directory.objects.update(enabled=False)
    since = len(slapd.lines_logged())
    assert log_in(f"lab\\{name}", SECRET).status_code == 401
    assert asked(slapd, since) == []


def test_a_directory_that_is_disabled_while_it_is_asked_lets_nobody_in(openldap, slapd, monkeypatch):
    name, first = fresh("late"), fresh("first")
    slapd.person(name, SECRET)
    slapd.person(first, SECRET)
    assert log_in(name, SECRET).status_code == 302

    def asked(*_):
        Directory.objects.update(enabled=False)
        User.objects.filter(directory=openldap).update(is_active=False, kept_out="directory")
        return {}

    monkeypatch.setattr("tenants.directory.backend.groups_of", asked)
    for each in (name, first):
        Directory.objects.update(enabled=True)
        assert log_in(each, SECRET).status_code == 401
    assert [(user.is_active, user.kept_out) for user in User.objects.filter(directory=openldap)] == [
        (False, "directory")
    ]


def test_no_secret_is_logged_or_recorded(openldap, slapd, caplog):
    caplog.set_level("DEBUG")
    name = fresh("discreet")
    slapd.person(name, SECRET)
    log_in(name, SECRET)
    log_in(name, SECRET + "-wrong")
    log_in(SECRET, name)  # the password in the wrong field
    slapd.stop()
    log_in(name, SECRET)
    kept = caplog.text + str(list(Event.objects.values()))
    assert SECRET not in kept
    assert "reads-the-whole-tree" not in kept + str(list(Directory.objects.values()))
