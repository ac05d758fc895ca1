"""Who can do what with an object: where each role comes from, page by page, and no department's people told to another."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from compute.models import Template
from portal.common.actor import system_actor
from tenants import policy
from tenants.models import DirectoryGroup, User
from tenants.services.holders import Cursor, holders

MOST_QUERIES = 30


def listed(world, rank, address):
    answer = world.api(rank).get(f"/api/v1/{address}/holders/")
    assert answer.status_code == HTTPStatus.OK, answer.content
    return {
        each["name"]: {(role["role"], role["on"]["kind"], role["group"]) for role in each["roles"]}
        for each in answer.json()["results"]
    }


def test_a_department_is_told_its_own_people_and_groups_and_where_each_role_comes_from(world):
    until = timezone.now() + timedelta(days=1)
    policy.grant(system_actor(), "user-role", world.place.users["bob"], world.vm, expires_at=until)
    policy.grant(system_actor(), "user-role", world.place.users["charlie"], world.vm, expires_at=timezone.now())
    assert listed(world, "admin", f"vms/{world.vm.pk}") == {
        "alice": {("user-vm-manager", "vm", "")},
        "bob": {("user-role", "vm", "")},
        "physics-admin": {("data-center-admin", "data_center", "")},
    }
    center = listed(world, "admin", f"data-centers/{world.ids['data_center']}")
    assert set(center) == {"staff everybody", "alice", "bob", "physics-admin", "physics/backup"}
    rows = world.api("admin").get(f"/api/v1/data-centers/{world.ids['data_center']}/holders/").json()["results"]
    assert [row["directory"] for row in rows if row["kind"] == "group"] == ["staff"]


def test_a_super_admin_is_told_of_the_whole_system_and_of_the_members_of_groups(world):
    group = DirectoryGroup.objects.get().group
    world.place.users["charlie"].groups.add(group)
    told = listed(world, "root", f"data-centers/{world.ids['data_center']}")
    assert told["root"] == {("super-admin", "system", "")}
    assert told["charlie"] == {("end-user", "data_center", "staff everybody")}
    assert "charlie" not in listed(world, "admin", f"data-centers/{world.ids['data_center']}")


def test_of_what_is_merely_assigned_each_department_is_told_its_own_people(world):
    template = f"templates/{world.place.template.pk}"
    assert set(listed(world, "admin", template)) == {
        "staff everybody",
        "alice",
        "bob",
        "physics-admin",
        "physics/backup",
    }
    assert set(listed(world, "other_admin", template)) == {"charlie", "informatics-admin"}
    Template.objects.filter(pk=world.place.template.pk).update(owner=world.place.centers["physics"])
    assert "charlie" not in listed(world, "admin", template)
    assert set(listed(world, "other_admin", template)) == {"charlie", "informatics-admin"}
    everybody = listed(world, "root", template)
    assert everybody["charlie"] == {("end-user", "data_center", "")}
    permits = {
        row["name"]: row["permits"] for row in world.api("root").get(f"/api/v1/{template}/holders/").json()["results"]
    }
    assert permits["informatics-admin"] == ["TEMPLATE_VIEW", "TEMPLATE_USE"], "use is all that an assignment conveys"
    assert "TEMPLATE_EDIT" in permits["physics-admin"]


@pytest.mark.parametrize("size", [1, 3, 200])
def test_pages_go_forth_and_back_and_miss_nobody(world, size):
    for number in range(4):
        policy.grant(system_actor(), "user-role", Group.objects.create(name=f"lab-{number}"), world.vm)
    client, address = world.api("admin"), f"/api/v1/vms/{world.vm.pk}/holders/?page_size={size}"
    forth, last = [], ""
    while address:
        page = client.get(address).json()
        forth.append([row["name"] for row in page["results"]])
        last, address = address, page["next"] and urlsplit(page["next"])._replace(scheme="", netloc="").geturl()
    assert [name for names in forth for name in names] == ["lab-0", "lab-1", "lab-2", "lab-3", "alice", "physics-admin"]
    back = []
    while last:
        page = client.get(last).json()
        back.append([row["name"] for row in page["results"]])
        last = page["previous"] and urlsplit(page["previous"])._replace(scheme="", netloc="").geturl()
    assert back[::-1] == forth
    bad = client.get(f"/api/v1/vms/{world.vm.pk}/holders/?cursor=nonsense")
    assert (bad.status_code, bad.json()["reasons"][0]["field"]) == (HTTPStatus.BAD_REQUEST, "cursor")


def test_the_number_of_queries_grows_with_nothing(world):
    users = User.objects.bulk_create(User(username=f"many-{number:03}") for number in range(60))
    groups = [Group.objects.create(name=f"many-{number:03}") for number in range(10)]
    for subject in [*users[:20], *groups]:
        policy.grant(system_actor(), "user-role", subject, world.vm)
    for each in groups:
        each.user_set.set(users)
    for rank in ("root", "admin"):
        with CaptureQueriesContext(connection) as caught:
            holders(world.place.actor({"admin": "physics-admin"}.get(rank, rank)), world.vm, cursor=Cursor("user"))
        assert len(caught) <= MOST_QUERIES, rank


@pytest.mark.parametrize("noun", ["data-centers", "templates", "images", "networks", "vnic-profiles"])
def test_every_noun_has_the_page_and_a_link_to_it(world, noun):
    uid = world.ids[noun.replace("-", "_").removesuffix("s")]
    client, address = world.browser("admin"), f"/{noun}/{uid}/who/"
    page = client.get(address).content.decode()
    assert "physics-admin" in page
    assert "/explain/?object=" in page
    linked = {
        "images": "/images/",
        "networks": f"/data-centers/{world.ids['data_center']}/",
        "vnic-profiles": f"/networks/{world.ids['network']}/who/",
    }
    assert address in client.get(linked.get(noun, f"/{noun}/{uid}/")).content.decode()
