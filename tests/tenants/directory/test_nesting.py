"""The groups of many people asked at once are those of each asked alone, however members are written."""

from __future__ import annotations

import pytest

from tenants.directory import nesting, reading
from tenants.directory.following import asking
from tenants.directory.nesting import groups_of_all
from tenants.directory.reading import accounts_named, groups_of, members_of, ways_to
from tests.lab.slapd_server import GROUPS, PEOPLE
from tests.tenants.directory.conftest import fresh, openldap_row

SECRET = "Prima-vera-1642"
NOBODY = "cn=nobody,dc=lab,dc=example"


@pytest.fixture
def crowd(slapd):
    """Ann, Anna, a loner and Ánn: written in other ways, by name, through circles, and in no group."""
    ann, anna, loner = fresh("ann"), fresh("anna"), fresh("loner")
    accented = f"á{ann[1:]}"  # somebody else, whom a careless comparison takes for Ann
    names = [ann, anna, loner, accented]
    dns = {name: slapd.person(name, SECRET) for name in names}
    inner = slapd.group(fresh("inner"), [dns[ann].upper().replace(",", " , "), dns[anna]])
    middle = slapd.group(fresh("middle"), [inner, dns[accented]])
    slapd.change(inner, member=[dns[ann].upper(), dns[anna], middle])
    name = fresh("posix")
    slapd.add(f"cn={name},{GROUPS}", objectClass="posixGroup", cn=name, gidNumber="7", memberUid=[anna, ann.upper()])
    slapd.group(fresh("empty"), [NOBODY])
    assert PEOPLE in dns[loner]
    return names


def of_each(connection, names):
    accounts = [account for name in names for account in accounts_named(connection, name, name)]
    assert len(accounts) == len(names)
    return accounts, {account.guid: frozenset(groups_of(connection, account)) for account in accounts}


@pytest.mark.parametrize("knows_matched_values", [True, False])
def test_many_at_once_are_in_the_same_groups_as_each_alone(openldap, crowd, monkeypatch, knows_matched_values):
    if not knows_matched_values:
        monkeypatch.setattr(nesting._Parents, "_together", lambda *_: None)
    with asking(openldap) as connection:
        accounts, expected = of_each(connection, crowd)
        assert groups_of_all(connection, accounts) == expected
        if knows_matched_values:  # without him nobody is asked for by himself
            monkeypatch.setattr(nesting._Parents, "_by_itself", lambda *_: pytest.fail("asked for by himself"))
        assert groups_of_all(connection, accounts[:-1]).items() <= expected.items()
    assert [len(groups) for groups in expected.values()] == [2, 3, 0, 2]


@pytest.mark.parametrize("attribute", ["", "mail"])
def test_posix_groups_hold_people_by_their_uids_whatever_they_log_in_by(slapd, db, attribute):
    name, second, thief = fresh("kepler"), fresh("johannes"), fresh("thief")
    slapd.person(name, SECRET, uid=[name, second], mail=f"{name}@lab.example")
    slapd.person(thief, SECRET, mail=[name, second], cn=[second])  # of people's own writing
    for uid in (name, second):
        slapd.add(f"cn={uid},{GROUPS}", objectClass="posixGroup", cn=uid, gidNumber="7", memberUid=[uid])
    with asking(openldap_row(slapd, login_attribute=attribute)) as connection:
        people = {uid: f"{uid}@lab.example" if attribute and uid == name else uid for uid in (name, thief)}
        people[thief] = name if attribute else thief
        [member] = accounts_named(connection, people[name], people[name])
        [other] = [one for one in accounts_named(connection, people[thief], people[thief]) if one.guid != member.guid]
        posix = [group for uid in (name, second) for group in reading.groups_named(connection, uid, most=2)]
        assert groups_of_all(connection, [member, other]) == {
            member.guid: frozenset(group.guid for group in posix),
            other.guid: frozenset(),
        }
        assert (set(groups_of(connection, member)), groups_of(connection, other)) == ({one.guid for one in posix}, {})
        ways = ways_to(connection, member, {group.guid: group for group in posix})
        assert {way[-1].guid for way in ways.values()} == {group.guid for group in posix}
        assert [[one.guid for one in members_of(connection, group)] for group in posix] == [[member.guid]] * 2


def test_too_many_are_told_of_whom_they_are_alone(openldap, crowd, monkeypatch):
    monkeypatch.setattr(reading, "MOST_GROUPS", 2)
    with asking(openldap) as connection:
        accounts = [account for name in crowd for account in accounts_named(connection, name, name)]
        found = list(groups_of_all(connection, accounts).values())
    assert [groups if groups is None else len(groups) for groups in found] == [2, None, 0, 2]


def test_a_chain_that_is_deeper_than_is_read_is_told(openldap, slapd, monkeypatch):
    name = fresh("deep")
    below = slapd.person(name, SECRET)
    for _level in range(4):
        below = slapd.group(fresh("level"), [below])
    with asking(openldap) as connection:
        [account] = accounts_named(connection, name, name)
        assert len(groups_of_all(connection, [account])[account.guid]) == 4
        monkeypatch.setattr(nesting, "DEEPEST", 4)
        monkeypatch.setattr(reading, "DEEPEST", 4)
        assert groups_of_all(connection, [account]) == {account.guid: None}
        with pytest.raises(reading.TooManyGroups):
            groups_of(connection, account)
