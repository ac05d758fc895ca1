"""Why somebody may or may not: every way to a yes, the smallest grant that would help, and nobody named who may not be."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from uuid import uuid4

import lxml.html
import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from compute.models import Template
from portal.common.actor import system_actor
from tenants import policy
from tenants.models import Directory, DirectoryGroup, Role
from tenants.services.tokens import TokenWish, create_service_token, create_token

MOST_QUERIES = 40  # of the page, the frame included


def ask(world, rank, about, permit="", user="", *, status=HTTPStatus.OK):
    query = {"object": about, "permit": permit, "user": user}
    answer = world.api(rank).get("/api/v1/explain/", {name: value for name, value in query.items() if value})
    assert answer.status_code == status, answer.content
    return answer.json()


def vm(world):
    return f"vm:{world.vm.pk}"


def reasons(answer):
    return [reason.get("field") for reason in answer["reasons"]]


def test_a_yes_tells_every_way_to_it(world):
    alice = world.place.users["alice"]
    group = DirectoryGroup.objects.get().group
    alice.groups.add(group)
    until = timezone.now() + timedelta(days=2)
    policy.grant(system_actor(), "user-role", group, world.vm, expires_at=until)
    answer = ask(world, "owner", vm(world), "VM_RUN")
    assert (answer["allowed"], answer["remedy"], answer["user"]["username"]) == (True, None, "alice")
    ways = {link["role"]: link for link in answer["derivation"]}
    assert set(ways) == {"user-vm-manager", "user-role"}
    assert ways["user-role"] | {"on": ways["user-role"]["on"]["kind"], "expires_at": ""} == {
        "role": "user-role", "role_name": "UserRole", "on": "vm", "assigned": False,
        "group": group.name, "directory": Directory.objects.get().name, "expires_at": "",
    }  # fmt: skip
    assert ways["user-role"]["expires_at"] == until.isoformat().replace("+00:00", "Z")
    assert ways["user-vm-manager"]["expires_at"] is None


def test_a_no_tells_the_smallest_grant_its_place_and_who_can_give_it(world):
    policy.grant(system_actor(), "user-role", world.place.users["bob"], world.vm)
    answer = ask(world, "peer", vm(world), "VM_DELETE")
    assert answer["allowed"] is False
    assert answer["remedy"] == {
        "role": "user-vm-manager",
        "role_name": "UserVmManager",
        "on": {"kind": "vm", "id": str(world.vm.pk), "name": "web-1"},
        "givers": ["alice", "physics-admin"],
    }
    center = ask(world, "peer", f"data_center:{world.ids['data_center']}", "DATA_CENTER_EDIT")
    assert center["remedy"]["givers"] == ["physics-admin"]
    image = ask(world, "admin", f"image:{world.ids['image']}", "IMAGE_DELETE")
    assert image["derivation"][0]["on"]["name"] == "physics"


def test_whoever_cannot_give_all_of_the_role_is_not_named(world):
    policy.grant(system_actor(), "user-role", world.place.users["bob"], world.vm)
    Role.objects.create(name="giver", codename="giver", permits=["GRANT", "VM_VIEW"])
    helper = world.place.users["informatics-admin"]
    policy.grant(system_actor(), "giver", helper, world.vm)
    assert ask(world, "peer", vm(world), "VM_DELETE")["remedy"]["givers"] == ["alice", "physics-admin"]


def test_people_of_another_department_are_not_named(world):
    """Neither to whom a machine was shared with, nor to those who may merely use a template of theirs."""
    policy.grant(system_actor(), "user-role", world.place.users["charlie"], world.vm)
    assert ask(world, "outsider", vm(world), "VM_DELETE")["remedy"]["givers"] == ["alice"]
    physics, informatics = world.place.centers["physics"], world.place.centers["informatics"]
    template = Template.objects.get(pk=world.place.template.pk)
    Template.objects.filter(pk=template.pk).update(owner=physics)
    assert template.assignments.filter(data_center=informatics).exists()
    assert ask(world, "outsider", f"template:{template.pk}", "TEMPLATE_EDIT")["remedy"]["givers"] == []
    answer = world.api("outsider").patch(
        f"/api/v1/templates/{template.pk}/", {"description": "ours"}, content_type="application/json"
    )
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "physics-admin" not in answer.content.decode()


def test_what_is_asked_wrongly_names_its_field(world):
    for query, field in (
        ({"about": vm(world), "permit": "VM_FLY"}, "permit"),
        ({"about": vm(world), "permit": "TEMPLATE_EDIT"}, "permit"),
        ({"about": "rocket:1", "permit": "VM_RUN"}, "object"),
        ({"about": "vm:1", "permit": "VM_RUN"}, "object"),
        ({"about": vm(world), "permit": ""}, "permit"),
    ):
        assert reasons(ask(world, "owner", **query, status=HTTPStatus.BAD_REQUEST)) == [field], query
    assert reasons(ask(world, "root", vm(world), "VM_RUN", "nobody-here", status=HTTPStatus.NOT_FOUND)) == ["user"]


def test_of_others_only_those_are_told_whom_one_administers(world):
    assert ask(world, "owner", vm(world), "VM_RUN", "bob")["allowed"] is False
    assert ask(world, "admin", vm(world), "VM_RUN", str(world.place.users["alice"].pk))["allowed"] is True
    for rank, user in (("admin", "charlie"), ("admin", "root"), ("owner", "charlie"), ("owner", str(uuid4()))):
        ask(world, rank, vm(world), "VM_RUN", user, status=HTTPStatus.NOT_FOUND)
    ask(world, "outsider", vm(world), "VM_RUN", status=HTTPStatus.NOT_FOUND)
    ask(world, "outsider", vm(world), "VM_RUN", "alice", status=HTTPStatus.NOT_FOUND)
    ask(world, "peer", f"data_center:{world.ids['data_center']}", "VM_CREATE", "alice", status=HTTPStatus.FORBIDDEN)


def test_a_department_is_not_told_who_runs_the_institute(world):
    policy.grant(system_actor(), "super-admin", world.place.users["bob"], policy.system())
    told = ask(world, "admin", vm(world), "VM_STOP", "bob")["derivation"]
    assert [(link["role"], link["on"]["kind"]) for link in told] == [("", "system")]
    told = ask(world, "root", vm(world), "VM_STOP", "bob")["derivation"]
    assert [link["role"] for link in told] == ["super-admin"]


def test_what_no_grant_would_change_is_said(world):
    disabled = ask(world, "root", vm(world), "VM_RUN", "dora")
    assert (disabled["allowed"], disabled["remedy"]) == (False, None)
    assert "disabled" in disabled["sentence"]
    reading = ask(world, "reader", vm(world), "VM_RUN")
    assert (reading["allowed"], reading["remedy"]) == (False, None)
    assert "token" in reading["sentence"]
    world.vm.data_center.__class__.objects.filter(pk=world.vm.data_center_id).update(enabled=False)
    asleep = ask(world, "root", vm(world), "VM_RUN", "alice")
    assert "data center physics is disabled" in asleep["sentence"]


def test_a_token_of_chosen_permits_or_objects_is_told_what_it_lacks(world):
    """What its user may is bounded by it, and no grant widens it."""
    alice, center = world.place.actor("alice"), f"data_center:{world.ids['data_center']}"
    for rank, more in (
        ("stopper", {"permits": ["VM_STOP"]}),
        ("keeper", {"objects": [world.vm.pk], "permits": ["ALL"]}),
    ):
        world.tokens[rank] = create_token(alice, name=rank, scope="write", expires_in=3600, **more)[1]
    assert ask(world, "stopper", vm(world), "VM_STOP")["allowed"] is True
    assert ask(world, "keeper", vm(world), "VM_RUN")["allowed"] is True

    not_its_permit = ask(world, "stopper", vm(world), "VM_RUN")

    assert (not_its_permit["allowed"], not_its_permit["remedy"]) == (False, None)
    assert "token" in not_its_permit["sentence"]
    # An object that it does not reach is not there for it; what it may see of the rest is bounded as well.
    ask(world, "keeper", center, "VM_CREATE", status=HTTPStatus.NOT_FOUND)
    not_its_objects = ask(world, "keeper", vm(world), "GRANT", "bob")
    assert not_its_objects["allowed"] is False


def test_of_a_program_is_told_what_its_token_lets_it(world):
    center = world.place.centers["physics"]
    about, admin = f"data_center:{center.pk}", world.place.actor("physics-admin")
    create_service_token(admin, center.pk, TokenWish("reads", "read", 3600), role="end-user")
    create_service_token(admin, center.pk, TokenWish("runs", "write", 3600, ["QUOTA_CONSUME"]), role="end-user")
    create_service_token(admin, center.pk, TokenWish("makes", "write", 3600), role="end-user")
    told = {name: ask(world, "admin", about, "VM_CREATE", f"physics/{name}") for name in ("reads", "runs", "makes")}
    assert {name: answer["allowed"] for name, answer in told.items()} == {"reads": False, "runs": False, "makes": True}
    assert "may only read" in told["reads"]["sentence"]
    assert "does not carry the permit VM_CREATE" in told["runs"]["sentence"]
    assert told["runs"]["remedy"] is None, "no grant widens a token"


@pytest.mark.parametrize("permit", ["", "VM_RUN", "VM_DELETE"])
def test_the_page_says_the_same_in_so_many_queries(world, permit):
    """However many groups and grants there are."""
    bob = world.place.users["bob"]
    policy.grant(system_actor(), "user-role", bob, world.vm)
    for number in range(10):
        group = Group.objects.create(name=f"lab-{number}")
        bob.groups.add(group)
        policy.grant(system_actor(), "user-role", group, world.vm)
    client = world.browser("peer")
    with CaptureQueriesContext(
        connection,
    ) as caught:
        answer = client.get("/explain/", {"object": vm(world), "permit": permit})
    assert answer.status_code == HTTPStatus.OK
    assert len(caught) <= MOST_QUERIES
    text = answer.content.decode()
    assert {"": "VM_STOP", "VM_RUN": 'data-allowed="yes"', "VM_DELETE": "physics-admin"}[permit] in text


def test_of_a_data_center_is_told_that_makers_may_do_everything_with_their_own(world):
    client, told = world.browser("owner"), "gets the role UserVmManager"
    assert told in client.get(f"/explain/?object=data_center:{world.vm.data_center_id}").content.decode()
    assert told not in client.get(f"/explain/?object={vm(world)}").content.decode()


def test_a_greyed_verb_leads_to_what_would_help(world):
    policy.grant(system_actor(), "user-role", world.place.users["bob"], world.vm)
    page = world.browser("peer").get(f"/machines/{world.vm.pk}/").content.decode()
    link = f"/explain/?object=vm:{world.vm.pk}&amp;permit=VM_DELETE"
    assert f'aria-disabled="true" href="{link}" title="You lack the permit VM_DELETE on this machine."' in page
    refused = world.browser("peer").post(f"/machines/{world.vm.pk}/delete/", {"confirm": "web-1"})
    assert refused.status_code == HTTPStatus.FORBIDDEN
    assert link in refused.content.decode()


def test_who_writes_a_name_wrongly_is_told_so_beside_it_and_goes_on_there(world):
    query = {"object": vm(world), "user": "nobody-here", "permit": "VM_RUN"}
    answer = world.browser("root").get("/explain/", query)
    page = lxml.html.fromstring(answer.content)
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert page.get_element_by_id("user").get("value") == "nobody-here"
    assert page.get_element_by_id("user-error").text_content() == "There is no such user, or you may not know."
    assert page.find(".//*[@id='answer']") is None
