"""Groups hold roles, and what a directory says of people reaches their open sessions (AN07, AN08; S22, S23)."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from portal.common.access import access_version
from portal.common.actor import Actor, Door
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted
from portal.events.models import Event
from tenants import policy
from tenants.directory.following import read_people
from tenants.directory.membership import put_in_groups
from tenants.models import Directory, DirectoryGroup, User
from tenants.services.directories import set_directory_enabled
from tenants.services.directory_groups import map_group, mappings, unmap_group
from tenants.services.users import set_active, set_password
from tenants.sync import LATE, LEAST_TO_BRAKE, carry_out, follow_directory, plan_of
from tenants.tasks import follow_directories
from tests.lab.audit import opened
from tests.lab.samba_server import SUFFIX
from tests.lab.slapd_server import GROUPS
from tests.people import PASSWORD
from tests.tenants.conftest import as_actor
from tests.tenants.directory.conftest import follow, fresh, log_in, token

SECRET = "Prima-vera-1642"


def centers_of(browser: Client) -> list[str]:
    """The data centers that a browser sees over the API; none for whoever is not logged in."""
    answer = browser.get("/api/v1/data-centers/")
    return [row["name"] for row in answer.json()["results"]] if answer.status_code == 200 else ["401"]


@pytest.fixture
def member(people, openldap, slapd):
    """Somebody of a group that holds department admin of physics: his DN, the group's DN, his browser."""
    name = fresh("member")
    dn = slapd.person(name, SECRET)
    group = fresh("physics-admins")
    group_dn = slapd.group(group, [dn])
    map_group(as_actor(people.super_admin), openldap.pk, group=group, role="data-center-admin", target=people.physics)
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    return dn, group_dn, browser


def test_S22_a_member_administers_his_data_center_and_no_other(people, openldap, member):  # noqa: N802
    _dn, _group, browser = member
    assert centers_of(browser) == ["physics"]
    user = User.objects.get(directory=openldap)
    explained = policy.explain(as_actor(user), policy.Permit.GRANT, people.physics)
    assert explained.allowed
    assert explained.derivation[0]["group"].startswith("lab\\physics-admins")
    assert not policy.explain(as_actor(user), policy.Permit.VM_VIEW, people.informatics).allowed


def test_S22_AN08_leaving_the_group_ends_it_with_the_next_sync(people, openldap, slapd, member):  # noqa: N802
    dn, group, browser = member
    user = User.objects.get(directory=openldap)
    before = access_version(user.pk)
    slapd.change(group, member=["cn=nobody,dc=lab,dc=example"])
    plan = follow(openldap)
    assert (plan.looked_at, plan.losing) == (1, 1)
    assert centers_of(browser) == []
    assert access_version(user.pk) > before  # by which open pages, websockets and consoles ask anew
    assert Event.objects.get(code="DIRECTORY_FOLLOW").object_uid == user.pk
    slapd.change(group, member=[dn])
    follow(openldap)
    assert centers_of(browser) == ["physics"]


def test_a_group_in_a_group_counts_and_circles_end(people, openldap, slapd, member):
    name = fresh("inside")
    dn = slapd.person(name, SECRET)
    inner = slapd.group(fresh("inner"), [dn])
    middle = slapd.group(fresh("middle"), [inner])
    slapd.change(inner, member=[dn, middle])
    _dn, group, _browser = member
    slapd.change(group, member=[middle])
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    assert centers_of(browser) == ["physics"]


@pytest.mark.parametrize("change", [{"pwdAccountLockedTime": "000001010000Z"}, {"pwdReset": "TRUE"}])
def test_AN07_an_account_that_is_kept_out_loses_its_sessions_until_it_is_let_in(  # noqa: N802
    people, openldap, slapd, member, change
):
    dn, _group, browser = member
    slapd.change(dn, **change)
    follow(openldap)
    assert centers_of(browser) == ["401"]
    user = User.objects.get(directory=openldap)
    assert (user.is_active, bool(user.kept_out)) == (False, True)
    with pytest.raises(Conflict, match="does not let this account in"):
        set_active(as_actor(people.super_admin), user, active=True)
    slapd.change(dn, **dict.fromkeys(change))
    follow(openldap)
    assert User.objects.get(directory=openldap).is_active


def test_an_account_that_is_gone_is_out_and_its_tokens_with_it(people, openldap, slapd, member):
    dn, _group, browser = member
    name = dn.partition(",")[0].removeprefix("uid=")
    bearer = {"Authorization": f"Bearer {token(name, SECRET).json()['token']}"}
    slapd.remove(dn)
    follow(openldap)
    assert User.objects.get(directory=openldap).kept_out == "gone"
    assert browser.get("/api/v1/me/").status_code == 401
    assert Client().get("/api/v1/me/", headers=bearer).status_code == 401


def test_whom_a_super_admin_disabled_no_sync_lets_in(people, openldap, member):
    user = User.objects.get(directory=openldap)
    set_active(as_actor(people.super_admin), user, active=False)
    follow(openldap)
    user.refresh_from_db()
    assert (user.is_active, user.kept_out) == (False, "")


def test_S23_sessions_go_on_while_the_directory_is_unreachable(people, openldap, slapd, member):  # noqa: N802
    _dn, _group, browser = member
    slapd.stop()
    assert follow(openldap) is None
    assert centers_of(browser) == ["physics"]
    assert Directory.objects.get().sync_error
    slapd.start()
    assert follow(openldap) is not None
    assert Directory.objects.get().sync_error == ""


def late() -> None:
    Directory.objects.update(synced_at=timezone.now() - LATE * 1.1)


def test_a_directory_that_is_not_followed_for_long_is_told_of_once_each_time(people, openldap, slapd, member):
    told = Event.objects.filter(code="DIRECTORY_FOLLOW_LATE", severity="alert", object_uid=openldap.pk)
    Directory.objects.update(group_base_dn="ou=typo,dc=lab,dc=example")
    assert follow(openldap) is None
    assert not told.exists()
    for times in (1, 2):
        late()
        with opened() as events:
            events.update(at=timezone.now() - 2 * LATE)
        for _ in range(3):
            assert follow(openldap) is None
        assert told.count() == times
    assert told.first().data["why"] == "no_such_object"


def test_one_persons_change_that_fails_keeps_no_others_from_being_done(
    people, openldap, slapd, member, monkeypatch, client
):
    first, group, others = member
    name = fresh("zeno")  # after the member, by name
    dn = slapd.person(name, SECRET)
    slapd.change(group, member=[first, dn])
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    slapd.change(group, member=["cn=nobody,dc=lab,dc=example"])
    late()

    def fails_for_the_first(user, groups):
        if not user.username.endswith(name):
            raise IntegrityError("something is the matter with this one")
        return put_in_groups(user, groups)

    with monkeypatch.context() as patched:
        patched.setattr("tenants.sync.put_in_groups", fails_for_the_first)
        assert follow(openldap) is not None
    assert centers_of(browser) == []
    assert Directory.objects.get().sync_error == "changes_failed"
    assert Event.objects.filter(code="DIRECTORY_FOLLOW_LATE").count() == 1
    client.force_login(people.super_admin)
    assert "followed in part" in client.get(f"/directories/{openldap.pk}/").content.decode()
    follow(openldap)
    assert centers_of(others) == []
    assert Directory.objects.get().sync_error == ""


def test_a_base_that_is_not_there_takes_nothing_from_anybody(people, openldap, member):
    _dn, _group, browser = member
    Directory.objects.update(group_base_dn="ou=typo,dc=lab,dc=example")
    assert follow(openldap) is None
    assert centers_of(browser) == ["physics"]


def test_the_brake_holds_a_sync_that_would_take_from_many(people, openldap, slapd):
    names = [fresh("many") for _ in range(LEAST_TO_BRAKE)]
    dns = [slapd.person(name, SECRET) for name in names]
    group = fresh("physics-users")
    group_dn = slapd.group(group, dns)
    map_group(as_actor(people.super_admin), openldap.pk, group=group, role="end-user", target=people.physics)
    browsers = [Client() for _ in names]
    for name, browser in zip(names, browsers, strict=True):
        assert log_in(name, SECRET, browser).status_code == 302
    slapd.change(group_dn, member=["cn=nobody,dc=lab,dc=example"])
    plan = follow(openldap)
    assert (plan.is_held, plan.losing) == (True, LEAST_TO_BRAKE)
    assert centers_of(browsers[0]) == ["physics"]
    assert Directory.objects.get().held_people == LEAST_TO_BRAKE
    follow(openldap)
    assert Event.objects.filter(code="DIRECTORY_FOLLOW_HELD").count() == 1
    follow(openldap, passes_brake=True)
    assert [centers_of(browser) for browser in browsers] == [[]] * LEAST_TO_BRAKE
    assert Directory.objects.get().held_people == 0


def test_locked_accounts_neither_hold_a_sync_nor_are_held_by_one(people, openldap, slapd):
    names = [fresh("many") for _ in range(2 * LEAST_TO_BRAKE)]
    dns = [slapd.person(name, SECRET) for name in names]
    group = fresh("physics-users")
    group_dn = slapd.group(group, dns)
    map_group(as_actor(people.super_admin), openldap.pk, group=group, role="end-user", target=people.physics)
    browsers = [Client() for _ in names]
    for name, browser in zip(names, browsers, strict=True):
        assert log_in(name, SECRET, browser).status_code == 302
    for dn in dns[:LEAST_TO_BRAKE]:  # a stranger's wrong passwords
        slapd.change(dn, pwdAccountLockedTime="000001010000Z")
    slapd.change(group_dn, member=dns[:-1])  # and one is dismissed
    plan = follow(openldap)
    assert (plan.is_held, plan.losing) == (False, 1)
    told = [["401"]] * LEAST_TO_BRAKE + [["physics"]] * (LEAST_TO_BRAKE - 1) + [[]]
    assert [centers_of(browser) for browser in browsers] == told
    slapd.change(group_dn, member=["cn=nobody,dc=lab,dc=example"])
    slapd.change(dns[-2], pwdAccountLockedTime="000001010000Z")
    assert follow(openldap).is_held
    assert centers_of(browsers[-2]) == ["401"]
    assert User.objects.get(username=f"lab\\{names[-2]}").groups.exists()  # that is held
    assert centers_of(browsers[-3]) == ["physics"]
    noted = Event.objects.count()
    assert follow(openldap).is_held
    assert Event.objects.count() == noted


def test_a_sync_of_a_directory_that_is_disabled_meanwhile_lets_nobody_in(people, openldap, slapd, member, monkeypatch):
    dn, _group, browser = member
    slapd.change(dn, displayName="Another Name")
    found = read_people

    def asked(*arguments, **more):
        answer = found(*arguments, **more)
        set_directory_enabled(as_actor(people.super_admin), openldap.pk, enabled=False)
        return answer

    monkeypatch.setattr("tenants.sync.read_people", asked)
    follow(openldap)
    user = User.objects.get(directory=openldap)
    assert (user.is_active, user.kept_out) == (False, "directory")
    assert centers_of(browser) == ["401"]


def test_a_plan_changes_nothing(people, openldap, slapd, member):
    _dn, group, browser = member
    slapd.change(group, member=["cn=nobody,dc=lab,dc=example"])
    plan = plan_of(openldap)
    assert [row.name for row in plan.changes[0].moves.left] == [DirectoryGroup.objects.get().name]
    assert centers_of(browser) == ["physics"]


def followed() -> list[Event]:
    return list(Event.objects.filter(code="DIRECTORY_FOLLOW"))


def test_two_syncs_of_one_moment_tell_once_what_was_done_and_only_that(people, openldap, slapd, member):
    dn, group, _browser = member
    stays = slapd.person(name := fresh("stays"), SECRET)
    slapd.change(group, member=[dn, stays])
    log_in(name, SECRET)
    slapd.change(group, member=[stays])
    slapd.change(stays, displayName="Another Name")
    joined = DirectoryGroup.objects.create(
        directory=openldap, guid=fresh("guid"), name="forgotten", group=Group.objects.create(name=fresh("group"))
    )
    leaves = User.objects.get(directory=openldap, username__endswith=dn.partition(",")[0].removeprefix("uid="))
    leaves.groups.add(joined.group)  # of a group that nobody is in there
    plans = [plan_of(openldap) for _ in range(2)]
    assert sorted(len(change.moves.left) for change in plans[0].changes) == [0, 2]
    joined.group.delete()  # whose last role is taken in the same moment
    version = 0
    for plan in plans:
        carry_out(openldap.pk, plan)
        told = [(one.severity, one.object_uid, one.data["left"]) for one in followed()]
        assert sorted(told) == [
            ("normal", User.objects.get(display_name="Another Name").pk, []),
            ("warning", leaves.pk, [group.partition(",")[0].removeprefix("cn=")]),
        ]
        assert version in {0, access_version(leaves.pk)}  # open pages ask anew once
        version = access_version(leaves.pk)
    slapd.remove(dn)
    for plan in [plan_of(openldap) for _ in range(2)]:
        carry_out(openldap.pk, plan)
    assert sorted(event.data["kept_out"] for event in followed()) == ["", "", "gone"]


def test_two_syncs_at_once_are_one(people, openldap, member):
    assert follow(openldap) is not None
    assert follow_directory(openldap.pk) is None


def test_the_tick_sends_a_task_for_each_enabled_directory(openldap, monkeypatch):
    sent = []
    monkeypatch.setattr("tenants.tasks.follow.apply_async", lambda arguments, **_: sent.append(arguments))
    assert follow_directories() == 1
    Directory.objects.update(enabled=False)
    assert follow_directories() == 0
    assert sent == [(str(openldap.pk),)]


def test_groups_are_mapped_by_super_admins_alone_and_by_a_name_that_is_there(people, openldap, slapd):
    boss = as_actor(people.super_admin)
    group = fresh("staff")
    dn = slapd.group(group, ["cn=nobody,dc=lab,dc=example"])
    with pytest.raises(Invalid) as raised:
        map_group(boss, openldap.pk, group="no-such-*", role="end-user", target=people.physics)
    assert raised.value.reasons[0].field == "group"
    with pytest.raises(NotPermitted):
        map_group(as_actor(people.physics_admin), openldap.pk, group=group, role="end-user", target=people.physics)
    with pytest.raises(NotFound):
        map_group(boss, openldap.pk, group=group, role="no-such-role", target=people.physics)
    mapped = map_group(boss, openldap.pk, group=group, role="end-user", target=people.physics)
    row = mapped.group
    assert mapped.dn == dn
    map_group(boss, openldap.pk, group=group.upper(), role="end-user", target=policy.system())
    assert [(one.role, one.target) for one in mappings(boss, openldap.pk)] == [
        ("end-user", policy.system()), ("end-user", people.physics),
    ]  # fmt: skip
    unmap_group(boss, openldap.pk, row.pk, role="end-user", target=policy.system())
    assert DirectoryGroup.objects.exists()
    unmap_group(boss, openldap.pk, row.pk, role="end-user", target=people.physics)
    assert not DirectoryGroup.objects.exists()


def test_a_group_is_found_among_any_number_whose_names_begin_alike_and_of_two_none_is_taken(people, openldap, slapd):
    boss, group = as_actor(people.super_admin), fresh("crowd")
    for number in range(25):
        slapd.group(f"{group}-{number}", ["cn=nobody,dc=lab,dc=example"])
    dn = slapd.group(group, ["cn=nobody,dc=lab,dc=example"])
    assert map_group(boss, openldap.pk, group=group, role="end-user", target=people.physics).dn == dn
    other = f"cn={group},ou={fresh('unit')},{GROUPS}"
    slapd.add(other.partition(",")[2], objectClass="organizationalUnit")
    slapd.add(other, objectClass="groupOfNames", member="cn=nobody,dc=lab,dc=example")
    with pytest.raises(Invalid, match="more than one group") as raised:
        map_group(boss, openldap.pk, group=group, role="data-center-admin", target=people.physics)
    assert dn in raised.value.detail
    assert other in raised.value.detail
    assert [one.role for one in mappings(boss, openldap.pk)] == ["end-user"]


def test_nobody_sets_here_what_is_the_directorys_password(people, openldap, member):
    user = User.objects.get(directory=openldap)
    with pytest.raises(Conflict, match="directory's"):
        set_password(as_actor(people.super_admin), user, password=PASSWORD)
    own = Actor(user=user, door=Door.PAGE, request_id="r", client_address="")
    with pytest.raises(Conflict):
        set_password(own, user, password=PASSWORD, present=SECRET)


def test_S22_AN08_AN07_in_active_directory_too(people, ad, samba, monkeypatch):  # noqa: N802
    boss = as_actor(people.super_admin)
    name = fresh("ritz")
    dn = samba.person(name, SECRET)
    inner, outer = fresh("inner"), fresh("outer")
    inner_dn = samba.group(inner, [dn])
    samba.group(outer, [inner_dn])
    map_group(boss, ad.pk, group=outer, role="data-center-admin", target=people.physics)
    map_group(boss, ad.pk, group="Domain Users", role="end-user", target=people.informatics)
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    assert centers_of(browser) == ["informatics", "physics"]
    samba.change(inner_dn, member=None)
    follow(ad)
    assert centers_of(browser) == ["informatics"]  # which his primary group holds
    samba.change(dn, userAccountControl="514")
    follow(ad)
    assert centers_of(browser) == ["401"]
    samba.change(dn, userAccountControl="512")
    follow(ad)
    assert centers_of(browser) == ["informatics"]
    monkeypatch.setattr("tenants.directory.reading.MOST_GROUPS", 1)
    follow(ad)
    assert (centers_of(browser), User.objects.get(directory=ad).kept_out) == (["401"], "groups")
    assert SUFFIX not in str(list(Event.objects.values()))
