"""Logging in by the lab's Active Directory (AN05, AN07, AN09), and its groups."""

from __future__ import annotations

import pytest

from portal.events.models import Event
from tenants.directory.address import address_of
from tenants.directory.connection import PAGE_SIZE, Connection
from tenants.directory.reading import (
    accounts_named,
    accounts_of,
    group_of,
    groups_like,
    groups_named,
    groups_of,
    members_of,
    ways_to,
)
from tenants.models import Directory, User
from tests.lab.samba_server import SUFFIX, SambaServer
from tests.people import PASSWORD
from tests.tenants.directory.conftest import fresh, log_in, token

SECRET = "Prima-vera-1642"


def test_each_way_to_write_the_name_is_the_same_person(ad, samba):
    name = fresh("Noether")
    samba.person(name, SECRET, displayName="Emmy Noether", mail="emmy@lab.example")
    for typed in (
        name,
        name.upper(),
        f"LAB\\{name}",
        f"lab\\{name.lower()}",
        f"{name}@lab.example",
        f"{name}@LAB.EXAMPLE",
    ):
        assert log_in(typed, SECRET).status_code == 302, typed
    user = User.objects.get(directory=ad)
    assert (user.username, user.display_name, user.email) == (f"LAB\\{name}", "Emmy Noether", "emmy@lab.example")
    assert len(user.guid) == 36


def test_a_second_name_that_ends_in_another_domain_is_good(ad, samba):
    name = fresh("hilbert")
    samba.person(name, SECRET, userPrincipalName=f"{name}@goettingen.example")
    assert log_in(f"{name}@goettingen.example", SECRET).status_code == 302
    assert User.objects.get(directory=ad).username == f"LAB\\{name}"


def test_starttls_does_as_well(ad, samba):
    name = fresh("cantor")
    samba.person(name, SECRET)
    Directory.objects.update(urls=[samba.ldap_url], starts_tls=True)
    assert log_in(name, SECRET).status_code == 302


def disabled(samba: SambaServer, dn: str) -> None:
    samba.change(dn, userAccountControl="514")


def expired(samba: SambaServer, dn: str) -> None:
    samba.change(dn, accountExpires="131000000000000000")  # in 2016


def must_change(samba: SambaServer, dn: str) -> None:
    samba.change(dn, pwdLastSet="0")


@pytest.mark.parametrize(("how", "why"), [(disabled, "disabled"), (expired, "expired"), (must_change, "must_change")])
def test_AN07_an_account_that_is_kept_out_is_401_like_any_other(ad, samba, how, why):  # noqa: N802
    name = fresh("banned")
    dn = samba.person(name, SECRET)
    how(samba, dn)
    answer, unknown = token(name, SECRET), token("nobody-at-all", SECRET)
    assert (answer.status_code, answer.json()["detail"]) == (401, unknown.json()["detail"])
    assert not User.objects.filter(directory=ad).exists()
    assert [event.data["why"] for event in Event.objects.filter(code="LOGIN_KEPT_OUT")] == [why]


def test_AN07_a_locked_account_is_401_with_the_right_password(ad, samba):  # noqa: N802
    name = fresh("locked")
    samba.person(name, SECRET)
    samba.tool("domain", "passwordsettings", "set", "--account-lockout-threshold=3")
    try:
        for number in range(4):
            assert log_in(name, f"wrong-{number}").status_code == 401
        assert log_in(name, SECRET).status_code == 401
        assert Event.objects.filter(code="LOGIN_KEPT_OUT", data__why="locked").exists()
        with Connection(address_of(ad)) as connection:
            [account] = accounts_named(connection, name, name)
        assert account.kept_out == "locked"
    finally:
        samba.tool("domain", "passwordsettings", "set", "--account-lockout-threshold=0")


def test_AN05_the_directorys_administrator_is_not_the_local_one(ad, samba):  # noqa: N802
    local = User.objects.create_user("administrator", password=PASSWORD)
    assert log_in("administrator", "Root-of-the-lab-1").status_code == 401
    assert log_in("LAB\\administrator", "Root-of-the-lab-1").status_code == 302
    assert User.objects.get(directory=ad).pk != local.pk


def test_a_re_used_name_is_another_user(ad, samba):
    name = fresh("galois")
    dn = samba.person(name, SECRET)
    assert log_in(name, SECRET).status_code == 302
    samba.remove(dn)
    samba.person(name, "Another-one-1832")
    assert log_in(name, "Another-one-1832").status_code == 302
    assert User.objects.filter(directory=ad).count() == 2


def test_AN09_a_domain_controller_that_is_down_is_503(ad, samba):  # noqa: N802
    samba.stop()
    answer = token("anybody", SECRET)
    assert answer.status_code == 503
    assert "LAB" in answer.json()["detail"]


def test_groups_are_found_through_groups_and_by_the_primary_one(ad, samba):
    name = fresh("emmy")
    dn = samba.person(name, SECRET)
    inner, middle, outer = fresh("inner"), fresh("middle"), fresh("outer")
    middle_dn = samba.group(middle, [samba.group(inner, [dn])])
    outer_dn, short = samba.group(outer, [middle_dn]), fresh("short")
    samba.change(outer_dn, sAMAccountName=short)
    other = samba.group(fresh("other"), [])
    with Connection(address_of(ad)) as connection:
        [account] = accounts_named(connection, name, name)
        groups = groups_of(connection, account)
        names = {group.name for group in groups.values()}
        assert {inner, middle, outer, "Domain Users"} <= names
        assert other not in names
        ways = {way[-1].name: [group.name for group in way] for way in ways_to(connection, account, groups).values()}
        assert ways[outer] == [inner, middle, outer]
        assert ways["Domain Users"] == ["Domain Users"]
        assert ways["Users"] == ["Domain Users", "Users"]
        [found] = groups_named(connection, outer, most=5)
        assert groups_named(connection, outer_dn.lower().replace(",", " , "), most=5) == [found]
        assert groups_named(connection, short, most=5) == [found]
        for part in (outer[1:].upper(), short[1:]):
            assert groups_like(connection, part, most=5) == [found]
        assert groups_like(connection, f"*{outer[1:]}", most=5) == []
        assert [one.name for one in members_of(connection, found)] == [name]
        assert group_of(connection, found.guid) == found
        [primary] = groups_named(connection, "Domain Users", most=5)
        assert name in [one.name for one in members_of(connection, primary)]


def test_a_moved_account_is_found_by_its_guid(ad, samba):
    name = fresh("abel")
    dn = samba.person(name, SECRET)
    with Connection(address_of(ad)) as connection:
        [account] = accounts_named(connection, name, name)
        samba.rename(dn, f"CN={name}-moved")
        found = accounts_of(connection, {account.guid: "as-before", "00000000-0000-4000-8000-000000000001": name})
    assert list(found) == [account.guid]
    assert f"CN={name}-moved" in found[account.guid].dn


def test_long_lists_come_whole_in_pages_and_ranges(ad, samba):
    prefix = fresh("crowd")
    people = []
    with samba.as_admin() as admin:
        for number in range(PAGE_SIZE + 5):
            name = f"{prefix}-{number:03d}"
            dn = f"CN={name},CN=Users,{SUFFIX}"
            admin.add_s(dn, [("objectClass", [b"user"]), ("sAMAccountName", [name.encode()])])
            people.append(dn)
    group = samba.group(prefix, people)
    with Connection(address_of(ad)) as connection:
        [found] = groups_named(connection, prefix, most=1)
        assert len(members_of(connection, found)) == len(people)
        entry = connection.entry(group, ["member;range=0-49"])
    assert sorted(value.decode() for value in entry["member"]) == sorted(people)
