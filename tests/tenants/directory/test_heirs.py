"""A name that the directory gave to somebody new is his wherever a person is named, before he was ever here. On the lab's OpenLDAP."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from compute.models import Cluster, Vm
from compute.services.launch import LaunchRequest, plan_launch, with_admin
from compute.services.owners import ask_for_owner, expected_owner, stored_owner
from portal.common.errors import Invalid
from portal.hypervisors.models import Provider
from tenants.models import DataCenterUserGrant, Directory, User
from tenants.services import grantees
from tenants.services import people as people_service
from tenants.services.person_search import known_person, person_meant, stored_person
from tests.lab.slapd_server import GROUPS, PEOPLE
from tests.tenants.conftest import as_actor
from tests.tenants.directory.conftest import fresh, log_in, openldap_row

SECRET, JSON = "Prima-vera-1642", "application/json"


@pytest.fixture
def vm(people) -> Vm:
    provider = Provider.objects.create(kind="double", name="p", address="double:///nowhere")
    cluster = Cluster.objects.create(name="c", provider=provider)
    row = Vm(name="webby", data_center=people.physics, cluster=cluster, provider=provider, memory_mib=256, vcpus=1)
    row.save()
    return row


def bearer(slapd, name: str) -> tuple[User, str]:
    """Somebody of that name who was here, and his DN."""
    dn = slapd.person(name, SECRET)
    assert log_in(name, SECRET).status_code == 302
    return User.objects.get(username=f"lab\\{name}"), dn


def heir(slapd, name: str) -> User:
    """A name's former bearer, who was here; the directory calls him otherwise now, and a new person so."""
    former, dn = bearer(slapd, name)
    slapd.rename(dn, f"uid={fresh('renamed')}")
    slapd.person(name, SECRET)
    return former


def by_the_page(people, _vm, typed):
    browser = Client()
    browser.force_login(people.physics_admin)
    page = f"/data-centers/{people.physics.pk}/people/"
    assert browser.post(page, {"username": typed, "role": "end-user"}).status_code == 302
    return DataCenterUserGrant.objects.exclude(user__directory=None).get().user


def by_the_api(people, vm, typed):
    browser = Client()
    browser.force_login(people.physics_admin)
    body = {"role": "user-role", "user": typed}
    where = f"/api/v1/grants/vm/{vm.pk}/"
    assert browser.post(f"{where}?dry_run=1", body, content_type=JSON).json()["possible"] is True
    assert browser.post(where, body, content_type=JSON).status_code == 201
    return grantees.users_of(as_actor(people.super_admin), vm).exclude(directory=None).get()


def as_an_owner(people, _vm, typed):
    asked = ask_for_owner(typed)
    assert expected_owner(typed, asked).username.lower() == typed.lower()
    return stored_owner(typed, asked)


def as_an_admin(people, _vm, typed):
    root = as_actor(people.super_admin)
    wanted = with_admin(root, LaunchRequest("chemistry", typed))
    assert not {one.code for one in plan_launch(root, wanted).reasons if one.field == "admin"}
    return stored_person(wanted.asked, field="admin")


@pytest.mark.parametrize("named", [by_the_page, by_the_api, as_an_owner, as_an_admin])
def test_what_is_given_to_a_name_is_the_heirs_and_not_its_former_bearers(people, openldap, slapd, vm, named):
    name = fresh("anna")
    former = heir(slapd, name)
    found = named(people, vm, f"LAB\\{name}")
    assert (found != former, found.username) == (True, f"lab\\{name}")
    former.refresh_from_db()
    assert former.username == f"lab\\{name}~{former.guid[:8]}"
    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    assert browser.get("/api/v1/me/").json()["id"] == str(found.pk), "he is it who logs in by the name"
    assert person_meant(former.username, field="user") is None, "nobody there is called as the former bearer is here"
    assert known_person(former.username) == former


def test_who_has_the_name_still_or_cannot_be_asked_for_is_meant_as_before(people, openldap, slapd):
    name = fresh("anna")
    former, dn = bearer(slapd, name)
    admin = as_actor(people.physics_admin)

    def added(typed):
        return people_service.add_person(admin, people.physics.pk, username=typed, role="end-user")

    with CaptureQueriesContext(connection) as queries:
        asked = person_meant(f"lab\\{name}", field="user")
    assert (asked.account.guid, len(queries)) == (former.guid, 2), "directories and who is known here, as ever"
    assert added(f"lab\\{name.upper()}") == former
    with CaptureQueriesContext(connection) as queries:
        assert person_meant("alice", field="user") is None
    assert len(queries) == 2
    slapd.rename(dn, f"uid={fresh('renamed')}")
    assert added(f"lab\\{name}") == former, "nobody else has the name"
    slapd.person(name, SECRET)
    slapd.stop()
    assert added(f"lab\\{name}") == former, "who is known here goes on while the directory is down"
    Directory.objects.update(enabled=False)
    assert added(f"lab\\{name}") == former


def test_of_two_who_have_a_name_the_one_who_is_known_here_is_meant_and_else_nobody(people, openldap, slapd):
    name = fresh("twin")
    former, dn = bearer(slapd, name)
    for place in (f"ou={fresh('unit')},{PEOPLE}", f"ou={fresh('unit')},{PEOPLE}"):
        slapd.add(place, objectClass="organizationalUnit")
        slapd.add(f"uid={name},{place}", objectClass="inetOrgPerson", uid=name, cn=name, sn=name)
    assert person_meant(f"lab\\{name}", field="user").account.guid == former.guid
    slapd.rename(dn, f"uid={fresh('renamed')}")
    root = as_actor(people.super_admin)
    with pytest.raises(Invalid, match=f"more than one account is called {name}") as refused:
        people_service.add_person(root, people.physics.pk, username=f"lab\\{name}", role="end-user")
    assert [one.field for one in refused.value.reasons] == ["username"]
    browser = Client()
    browser.force_login(people.super_admin)
    page = browser.post("/data-centers/launch/", {"name": "x", "admin": f"lab\\{name}", "at": "5", "go": "next"})
    assert "more than one account" in str(page.context["form"].errors["admin"])


def test_who_is_called_by_a_directorys_former_name_is_asked_for_in_that_one(people, openldap, slapd):
    name = fresh("anna")
    former = heir(slapd, name)
    Directory.objects.update(name="renamed", domains=[])
    openldap_row(slapd, name="other", base_dn=GROUPS, is_default=True)
    asked = person_meant(f"lab\\{name}", field="user")
    assert (asked.directory.name, asked.account.name, asked.account.guid != former.guid) == ("renamed", name, True)


def test_a_disabled_admin_is_refused_however_he_is_written(people, openldap, slapd):
    name, root = fresh("gone"), as_actor(people.super_admin)
    former, _dn = bearer(slapd, name)
    User.objects.filter(pk=former.pk).update(is_active=False)
    for typed in (name, f"lab\\{name}", f"{name}@lab.example"):
        plan = plan_launch(root, with_admin(root, LaunchRequest("chemistry", typed)))
        assert {one.code for one in plan.reasons if one.field == "admin"} == {"admin_disabled"}, typed
