"""What a super-admin lets through is what he looked at, whatever the directory says by then. On the lab's OpenLDAP."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from portal.events.models import Event
from tenants.models import Directory, User
from tenants.services.directory_groups import map_group
from tests.tenants.conftest import as_actor
from tests.tenants.directory.conftest import follow, fresh, log_in

SECRET = "Prima-vera-1642"
LOSING = 2  # held already
NOBODY = "cn=nobody,dc=lab,dc=example"


class Crowd:
    """People who are signed in and in two groups with roles; the first group has lost all but the last of them, and that is held."""

    def __init__(self, people, openldap, slapd) -> None:
        self.slapd = slapd
        self.names = [fresh("crowd") for _ in range(LOSING + 1)]
        self.dns = [slapd.person(name, SECRET) for name in self.names]
        self.groups = [slapd.group(name, self.dns) for name in (fresh("users"), fresh("friends"))]
        for dn in self.groups:
            map_group(as_actor(people.super_admin), openldap.pk, group=dn, role="end-user", target=people.physics)
        for name in self.names:
            assert log_in(name, SECRET).status_code == 302
        slapd.change(self.groups[0], member=self.dns[-1:])
        assert follow(openldap).is_held
        self.page = f"/directories/{openldap.pk}/sync/"

    def groups_of(self, place: int) -> int:
        return User.objects.get(username=f"lab\\{self.names[place]}").groups.count()


@pytest.fixture
def crowd(people, openldap, slapd, monkeypatch):
    monkeypatch.setattr("tenants.sync.LEAST_TO_BRAKE", LOSING)
    return Crowd(people, openldap, slapd)


def look_at(boss: Client, crowd: Crowd) -> str:
    """What the page and the API give to be given back of what they show: the same."""
    page = boss.get(crowd.page).content.decode()
    look = re.search(r'name="look" value="([^"]+)"', page)[1]
    assert boss.get(f"/api/v1{crowd.page}").json()["look"] == look
    return look


MORE = {
    "one more leaves": lambda crowd: crowd.slapd.change(crowd.groups[0], member=NOBODY),
    "one leaves another group too": lambda crowd: crowd.slapd.change(crowd.groups[1], member=crowd.dns[1:]),
    "one is gone": lambda crowd: crowd.slapd.remove(crowd.dns[0]),
    "another leaves in the place of one": lambda crowd: crowd.slapd.change(crowd.groups[0], member=crowd.dns[:1]),
}


@pytest.mark.long
@pytest.mark.parametrize("more", MORE)
def test_what_takes_more_or_other_than_what_was_looked_at_takes_nothing_and_is_shown(boss, crowd, more):
    look = look_at(boss, crowd)
    MORE[more](crowd)
    answer = boss.post(crowd.page, {"look": look})
    shown = answer.content.decode()
    assert (answer.status_code, "would take more or other things" in shown) == (412, True)
    assert [crowd.groups_of(place) for place in range(len(crowd.names))] == [2] * len(crowd.names)
    assert Directory.objects.get().held_people == LOSING
    [refused] = Event.objects.filter(code="DIRECTORY_RELEASE_REFUSED")
    assert (refused.object_name, refused.data["code"]) == ("lab", "precondition_failed")
    assert boss.post(crowd.page, {"look": look_at(boss, crowd)}).status_code == 302
    assert crowd.groups_of(1) == 1


def test_what_takes_less_is_done(boss, crowd):
    look = look_at(boss, crowd)
    crowd.slapd.change(crowd.groups[0], member=crowd.dns[-2:])
    crowd.slapd.change(crowd.dns[-1], pwdAccountLockedTime="000001010000Z")  # a stranger's wrong passwords
    assert boss.post(crowd.page, {"look": look}).status_code == 302
    assert [crowd.groups_of(place) for place in (0, -2, -1)] == [1, 2, 2]


def test_who_looked_at_nothing_lets_nothing_through(boss, crowd):
    assert boss.post(crowd.page).status_code == 412
    assert crowd.groups_of(0) == 2


def test_of_more_than_a_form_holds_the_same_alone_is_let_through(boss, crowd, monkeypatch):
    monkeypatch.setattr("tenants.sync.MOST_LOOKED_AT", 1)
    look = look_at(boss, crowd)
    assert len(look) == 32
    crowd.slapd.change(crowd.groups[0], member=NOBODY)
    assert boss.post(crowd.page, {"look": look}).status_code == 412
    assert boss.post(crowd.page, {"look": look_at(boss, crowd)}).status_code == 302


@pytest.mark.long
def test_the_api_lets_through_what_was_looked_at_and_all_where_no_look_is_given(boss, crowd):
    look, address = look_at(boss, crowd), f"/api/v1{crowd.page}"
    crowd.slapd.change(crowd.groups[0], member=NOBODY)
    for query, key in (("", "a"), ("", ""), ("?dry_run=1", "")):
        named = {"Idempotency-Key": key} if key else {}
        refused = boss.post(address + query, {"look": look}, content_type="application/json", headers=named)
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert Event.objects.filter(code="DIRECTORY_RELEASE_REFUSED").count() == 3
    assert crowd.groups_of(0) == 2
    assert boss.post(address, {"look": look_at(boss, crowd)}, content_type="application/json").status_code == 200
    assert crowd.groups_of(0) == 1
    crowd.slapd.change(crowd.groups[1], member=NOBODY)
    assert boss.post(address, {}, content_type="application/json").json()["losing"] == LOSING + 1
    assert crowd.groups_of(0) == 0
