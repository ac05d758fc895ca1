"""Following many people of the lab's Active Directory in few searches: the same groups as each by himself, whatever may be read."""

from __future__ import annotations

import pytest

from tenants.directory import reading, upwards
from tenants.directory.following import asking
from tenants.directory.nesting import groups_of_all
from tenants.directory.reading import accounts_named, groups_of
from tests.lab.samba_server import PORTAL, SUFFIX
from tests.tenants.directory.conftest import ad_row, fresh

SECRET = "Prima-vera-1642"
# The attributes' schemaIDGUIDs.
MEMBER_OF, MEMBER = "bf967991-0de6-11d0-a285-00aa003049e2", "bf9679c0-0de6-11d0-a285-00aa003049e2"


@pytest.fixture
def crowd(samba):
    """Names: in groups in circles, by the primary group alone, through a group outside of the base, in none, hidden, and in a group whose members are."""
    names = [fresh(name) for name in ("circle", "primary", "around", "loner", "hidden", "veiled")]
    circle, primary, around, _loner, hidden, veiled = (samba.person(name, SECRET) for name in names)
    unit = f"OU={fresh('groups')},{SUFFIX}"
    samba.add(unit, objectClass="organizationalUnit")

    def group(*members: str, below: str = unit) -> str:
        name = fresh("a, (b) ")
        dn = f"CN={name.replace(',', chr(92) + ',')},{below}"
        samba.add(dn, objectClass="group", sAMAccountName=fresh("group"), **({"member": members} if members else {}))
        return dn

    inner = group(circle, hidden)
    outer = group(inner)
    samba.change(inner, member=[circle, hidden, outer])
    group(group(around, below=SUFFIX))
    home = group(primary)
    group(home)
    with samba.as_admin() as admin:
        [(_dn, found)] = admin.search_s(home, 0, attrlist=["objectSid"])
    samba.change(primary, primaryGroupID=str(int.from_bytes(found["objectSid"][0][-4:], "little")))
    veil = group(veiled)
    group(veil)
    for dn, attribute in ((hidden, MEMBER_OF), (veil, MEMBER)):
        samba.tool("dsacl", "set", f"--objectdn={dn}", f"--sddl=(OD;;RP;{attribute};;{_sid(samba, PORTAL)})")
    return names, ad_row(samba, group_base_dn=unit)


def _sid(samba, dn):
    """As an access list writes it."""
    with samba.as_admin() as admin:
        [(_dn, found)] = admin.search_s(dn, 0, attrlist=["objectSid"])
    sid = found["objectSid"][0]
    numbers = [int.from_bytes(sid[place : place + 4], "little") for place in range(8, len(sid), 4)]
    return "-".join(["S", str(sid[0]), str(int.from_bytes(sid[2:8], "big")), *map(str, numbers)])


@pytest.mark.long
def test_many_at_once_are_in_the_same_groups_as_each_alone(db, crowd, monkeypatch):
    names, row = crowd
    with asking(row, seconds=60) as connection:
        accounts = [account for name in names for account in accounts_named(connection, name, name)]
        expected = {account.guid: frozenset(groups_of(connection, account)) for account in accounts}
        assert [len(groups) for groups in expected.values()] == [2, 2, 1, 0, 2, 0]
        assert [bool(account.member_of) for account in accounts] == [True, True, True, False, False, True]
        alone: list[str] = []
        monkeypatch.setattr(upwards, "groups_of", lambda *asked: alone.append(asked[1].name) or groups_of(*asked))
        assert groups_of_all(connection, accounts) == expected
        assert alone == names[4:], "asked for by themselves are those alone of whom it is not clear"
        monkeypatch.setattr(reading, "MOST_GROUPS", 1)
        found = groups_of_all(connection, accounts)
    assert [groups if groups is None else len(groups) for groups in found.values()] == [None, None, 1, 0, None, 0]


@pytest.mark.long
def test_a_group_that_is_called_almost_like_another_is_not_taken_for_it(db, samba):
    """A Kelvin sign is no K to Samba; to Python its small letter is a k."""
    names = [fresh("insider"), fresh("lookalike")]
    unit = f"OU={fresh('groups')},{SUFFIX}"
    samba.add(unit, objectClass="organizationalUnit")
    for name, group in zip(names, ("bank", "ban\N{KELVIN SIGN}"), strict=True):
        dn = samba.person(name, SECRET)
        samba.add(f"CN={group},{unit}", objectClass="group", sAMAccountName=fresh("group"), member=dn)
    with asking(ad_row(samba, group_base_dn=unit), seconds=60) as connection:
        accounts = [account for name in names for account in accounts_named(connection, name, name)]
        for some in (accounts, accounts[::-1]):
            found = groups_of_all(connection, some)
            assert found == {one.guid: frozenset(groups_of(connection, one)) for one in some}
    assert len(set.union(*map(set, found.values()))) == 2
