"""Tokens that are for some permits or some objects alone, and those of a data center (AN17, AZ06)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import lxml.html
import pytest
from django.test import Client

from compute.models import Template, Vm
from portal.common.access import access_version
from portal.common.actor import Actor, Door
from portal.common.errors import NotAuthenticated, NotPermitted
from portal.common.models import Session
from portal.events.models import Event
from tenants import bounds, policy
from tenants.models import ApiToken, DataCenter, User
from tenants.permits import Permit
from tenants.services.tokens import TokenWish, choosable, create_service_token, create_token, token_behind
from tenants.services.users import set_active, set_password
from tests.edge.world import World
from tests.people import PASSWORD


@pytest.fixture
def other(world: World) -> Vm:
    """A second machine of alice's."""
    row = Vm.objects.get(pk=world.vm.pk)
    row.pk, row.name, row.external_id, row._state.adding = uuid4(), "web-9", str(uuid4()), True
    row.save()
    policy.grant(world.place.actor("root"), "user-vm-manager", world.place.users["alice"], row)
    return row


def bearer(text: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {text}"})


def token_for(world: World, name: str = "alice", **more: Any) -> tuple[ApiToken, Client]:
    row, text = create_token(world.place.actor(name), name="t", scope="write", expires_in=3600, **more)
    return row, bearer(text)


def names(client: Client, path: str) -> list[str]:
    return [row["name"] for row in client.get(path).json()["results"]]


def service(world: World, name: str = "deploy", role: str = "data-center-admin", **more: Any) -> tuple[ApiToken, str]:
    wish = TokenWish(name, "write", 3600, **more)
    return create_service_token(world.place.actor("physics-admin"), world.place.centers["physics"].pk, wish, role=role)


def test_looking_comes_with_what_is_chosen():
    assert bounds.with_looking([]) == frozenset()
    assert bounds.with_looking([Permit.VM_SHUT_DOWN, Permit.QUOTA_CONSUME]) == {
        Permit.VM_SHUT_DOWN,
        Permit.VM_VIEW,
        Permit.QUOTA_CONSUME,
        Permit.QUOTA_VIEW,
    }


def test_AN17_a_token_for_one_machine_knows_no_other_thing(world, other):  # noqa: N802
    row, client = token_for(world, objects=[world.vm.pk])
    assert names(client, "/api/v1/vms/") == ["web-1"]
    assert names(client, "/api/v1/data-centers/") == names(client, "/api/v1/templates/") == []
    assert client.get(f"/api/v1/vms/{other.pk}/").status_code == 404
    assert client.post(f"/api/v1/vms/{other.pk}/stop/", content_type="application/json").status_code == 404
    assert client.post(f"/api/v1/vms/{world.vm.pk}/stop/?dry_run=1", content_type="application/json").status_code == 200
    own = {row["object"]["name"] for row in client.get("/api/v1/events/").json()["results"]}
    assert own <= {"web-1"}
    assert [one["target"]["id"] for one in client.get("/api/v1/jobs/").json()["results"]] == [str(world.vm.pk)]
    assert row.chosen == [{"kind": "vm", "id": str(world.vm.pk), "name": "web-1"}]


def test_AN17_a_token_for_a_data_center_reaches_what_is_in_it_and_what_it_may_use(world, other):  # noqa: N802
    physics = world.place.centers["physics"]
    _row, client = token_for(world, "root", objects=[physics.pk])
    assert names(client, "/api/v1/data-centers/") == ["physics"]
    assert names(client, "/api/v1/templates/") == ["Tiny Linux"]
    assert len(names(client, "/api/v1/vms/")) == 2
    assert client.get("/api/v1/users/").status_code == 403
    assert (
        client.patch(
            f"/api/v1/templates/{world.place.template.pk}/", {"name": "x"}, content_type="application/json"
        ).status_code
        == 403
    )
    assert client.get(f"/api/v1/data-centers/{world.place.centers['informatics'].pk}/").status_code == 404


@pytest.mark.parametrize("meanwhile", ["a new password", "disabled"])
def test_no_token_is_made_by_a_log_in_that_ended_while_it_was_checked(world, meanwhile):
    alice, root = world.place.actor("alice"), world.place.actor("root")
    person = User.objects.get(pk=alice.uid)
    if meanwhile == "disabled":
        set_active(root, person, active=False)
    else:
        set_password(root, person, password="an entirely new one 7")
    with pytest.raises(NotAuthenticated, match="meanwhile"):
        create_token(alice, name="t", scope="write", expires_in=3600)
    assert not ApiToken.objects.filter(user=person).exists()


def test_what_was_on_its_way_while_an_account_was_disabled_is_gone_when_it_is_enabled(world):
    root, alice = world.place.actor("root"), world.place.users["alice"]
    session = Session.objects.filter(user_uid=alice.pk).values().first()
    set_active(root, User.objects.get(pk=alice.pk), active=False)
    Session.objects.create(**session)
    set_active(root, User.objects.get(pk=alice.pk), active=True)
    assert not Session.objects.filter(user_uid=alice.pk).exists()
    Session.objects.create(**session)
    set_active(root, User.objects.get(pk=alice.pk), active=True)
    assert Session.objects.filter(user_uid=alice.pk).exists(), "it was enabled already"


def test_AN17_a_token_for_some_permits_says_which_it_lacks(world):  # noqa: N802
    _row, client = token_for(world, permits=["VM_SHUT_DOWN"])
    assert (
        client.post(f"/api/v1/vms/{world.vm.pk}/shut_down/?dry_run=1", content_type="application/json").status_code
        == 200
    )
    refused = client.post(f"/api/v1/vms/{world.vm.pk}/stop/", content_type="application/json")
    assert refused.status_code == 403
    assert "does not carry the permit VM_STOP" in refused.json()["detail"]
    assert client.get("/api/v1/events/").json()["results"] == []


@pytest.mark.parametrize("permits", [[], ["GRANT", "USER_MANAGE", "DATA_CENTER_VIEW"]])
def test_AN17_a_token_with_bounds_is_nothing_for_accounts(world, permits):  # noqa: N802
    row, client = token_for(world, "physics-admin", permits=permits)
    assert [one["id"] for one in client.get("/api/v1/tokens/").json()["results"]] == [str(row.pk)]
    other = ApiToken.objects.exclude(pk=row.pk).filter(user=row.user).first()
    before = Session.objects.count()
    assert client.get("/api/v1/sessions/").status_code == 403
    for path in (
        "/api/v1/sessions/",
        f"/api/v1/sessions/{Session.objects.first().uid}/",
        f"/api/v1/tokens/{other.pk}/",
    ):
        refused = client.delete(path)
        assert (refused.status_code, "names the permit ALL" in refused.json()["detail"]) == (403, True), path
    assert (Session.objects.count(), ApiToken.objects.filter(pk=other.pk).exists()) == (before, True)
    me = world.place.users["physics-admin"].pk
    changed = client.patch(
        f"/api/v1/users/{me}/",
        {"password": "another long one 42", "present_password": PASSWORD},
        content_type="application/json",
    )
    assert changed.status_code == 403
    new = {"username": "physics-admin", "password": PASSWORD, "name": "wide"}
    assert client.post("/api/v1/tokens/", new, content_type="application/json").status_code == 403
    center = world.ids["data_center"]
    new = {"name": "wide", "role": "end-user"}
    path = f"/api/v1/data-centers/{center}/tokens/"
    assert client.post(path, new, content_type="application/json").status_code == 403
    given = client.post(
        f"/api/v1/data-centers/{center}/people/",
        {"username": "charlie", "role": "end-user"},
        content_type="application/json",
    )
    assert given.status_code == 403, "it gives only what it carries itself"


def lasting_acts(world: World, client: Client) -> dict[str, Any]:
    """What stays when the token is gone, and the answer to each."""
    center, bob = world.ids["data_center"], world.place.users["bob"].pk
    acts = {
        "a role, by its object": ("post", f"/grants/vm/{world.vm.pk}/", {"user": "bob", "role": "user-role"}),
        "a role, by people": ("post", f"/data-centers/{center}/people/", {"username": "charlie", "role": "end-user"}),
        "a program": ("post", f"/data-centers/{center}/tokens/", {"name": "x", "role": "end-user", "expires_in": 60}),
        "an account": ("post", "/users/", {"username": "eve", "password": "another long one 42"}),
        "a password": ("patch", f"/users/{bob}/", {"password": "another long one 42"}),
        "an account let in": ("patch", f"/users/{bob}/", {"enabled": True}),
        "a group's role": (
            "post",
            f"/directories/{world.ids['directory']}/groups/",
            {"group": "x", "role": "end-user", "target": f"data_center:{center}"},
        ),
        "where people log in": ("patch", f"/directories/{world.ids['directory']}/", {"name": "new"}),
        "more for all of a role": ("patch", f"/roles/{world.ids['custom_role']}/", {"permits": ["VM_VIEW", "VM_RUN"]}),
    }
    return {
        name: getattr(client, verb)(f"/api/v1{path}", body, content_type="application/json")
        for name, (verb, path, body) in acts.items()
    }


def test_AN17_a_token_does_nothing_that_would_outlast_it_unless_that_is_named(world):  # noqa: N802
    _row, client = token_for(world, "root")
    for name, answer in lasting_acts(world, client).items():
        assert (answer.status_code, name) == (403, name), answer.content
        assert "token" in answer.json()["detail"], name
    assert client.get("/api/v1/users/").status_code == 403
    assert names(client, "/api/v1/providers/"), "all else that its user holds"
    edited = {"description": "fewer words"}
    path = f"/api/v1/roles/{world.ids['custom_role']}/"
    assert client.patch(path, edited, content_type="application/json").status_code == 200
    assert not User.objects.filter(username="eve").exists()


def test_AN17_a_token_that_names_it_does_what_outlasts_it(world):  # noqa: N802
    _row, client = token_for(world, "root", permits=["ALL", "VM_RUN"])
    refused = {name for name, answer in lasting_acts(world, client).items() if answer.status_code in {401, 403, 404}}
    assert refused == set()
    _row, clerk = token_for(world, "root", permits=["USER_MANAGE"])
    done = {name for name, answer in lasting_acts(world, clerk).items() if answer.status_code in {200, 201}}
    assert done == {"an account let in"}, "passwords take all, and the account is there since above"
    row, client = token_for(world, "physics-admin", permits=["GRANT", "DATA_CENTER_VIEW", "VM_VIEW", "VM_RUN"])
    role = {"user": "bob", "role": "user-role"}
    path = f"/api/v1/grants/vm/{world.vm.pk}/"
    assert client.post(path, role, content_type="application/json").status_code == 403, "beyond what it carries"
    row.permits = [*row.permits, "VM_STOP", "VM_SHUT_DOWN", "VM_REBOOT", "VM_CONNECT"]
    row.save()
    assert client.post(path, role, content_type="application/json").status_code == 201


def test_AN17_a_token_that_names_nothing_makes_none_that_does_more(world):  # noqa: N802
    _row, client = token_for(world, "physics-admin")
    wide = {"username": "physics-admin", "password": PASSWORD, "name": "wide", "permits": ["ALL"]}
    assert client.post("/api/v1/tokens/", wide, content_type="application/json").status_code == 403
    assert Client().post("/api/v1/tokens/", wide, content_type="application/json").json()["permits"] == ["ALL"]


def test_what_a_token_makes_is_its_owners_although_it_gives_no_roles(world):
    _row, client = token_for(world)
    new = {"name": "by-token", "data_center": world.ids["data_center"], "template": world.ids["template"]}
    made = client.post("/api/v1/vms/", new, content_type="application/json")
    assert made.status_code == 202
    held = policy.permits_on(world.place.actor("alice"), Vm.objects.filter(name="by-token"))
    assert Permit.GRANT in held[Vm.objects.get(name="by-token").pk]


@pytest.mark.parametrize(
    ("field", "value"), [("permits", ["VM_FLY"]), ("objects", [str(uuid4())]), ("objects", [str(uuid4())] * 51)]
)
def test_a_token_for_what_is_not_there_is_refused_by_field(world, field, value):
    body = {"username": "alice", "password": PASSWORD, "name": "t", field: value}
    answer = Client().post("/api/v1/tokens/", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["reasons"][0]["field"] == field


def test_a_data_centers_token_acts_under_its_own_name_and_outlives_its_maker(world):
    row, text = service(world)
    client = bearer(text)
    assert client.get("/api/v1/me/").json()["username"] == "physics/deploy"
    new = {"name": "by-program", "data_center": world.ids["data_center"], "template": world.ids["template"]}
    assert client.post("/api/v1/vms/", new, content_type="application/json").status_code == 202
    asked = Event.objects.filter(code="VM_CREATE_REQUESTED", object_name="by-program").get()
    assert (asked.actor_name, row.maker_name) == ("physics/deploy", "physics-admin")
    assert names(client, "/api/v1/data-centers/") == ["physics"]
    set_active(world.place.actor("root"), world.place.users["physics-admin"], active=False)
    assert len(names(client, "/api/v1/vms/")) == 2
    DataCenter.objects.filter(pk=world.ids["data_center"]).update(enabled=False)
    assert names(client, "/api/v1/vms/") == []


def test_a_data_centers_token_ends_at_once_and_its_name_can_be_used_again(world):
    row, text = service(world)
    with pytest.raises(Exception, match="A token of this name lives"):
        service(world)
    before = access_version(row.user_id)
    path = f"/api/v1/data-centers/{world.ids['data_center']}/tokens/{row.pk}/"
    assert world.api("admin").delete(path).status_code == 204
    assert token_behind(text) is None
    assert access_version(row.user_id) > before
    again, _text = service(world, role="end-user")
    assert again.user_id == row.user_id
    held = policy.permits_on(
        Actor(user=User.objects.get(pk=again.user_id), door=Door.API), [world.place.centers["physics"]]
    )
    assert Permit.GRANT not in held[world.place.centers["physics"].pk]


def test_nobody_logs_in_as_a_data_centers_token_and_no_super_admin_gives_it_a_password(world):
    row, _text = service(world)
    assert Client().post("/login/", {"username": "physics/deploy", "password": " "}).status_code == 401
    client = world.api("root")
    changed = client.patch(
        f"/api/v1/users/{row.user_id}/", {"password": "another long one 42"}, content_type="application/json"
    )
    assert changed.status_code == 404
    added = world.api("other_admin").post(
        f"/api/v1/data-centers/{world.place.centers['informatics'].pk}/people/",
        {"username": "physics/deploy", "role": "end-user"},
        content_type="application/json",
    )
    assert added.status_code == 400


def test_nobody_makes_a_data_centers_token_that_holds_more_than_he(world):
    physics = world.place.centers["physics"]
    policy.revoke(world.place.actor("root"), "data-center-admin", world.place.users["physics-admin"], physics)
    policy.grant(world.place.actor("root"), "user-vm-manager", world.place.users["physics-admin"], physics)
    policy.grant(world.place.actor("root"), "end-user", world.place.users["physics-admin"], physics)
    with pytest.raises(NotPermitted, match="only what you hold yourself"):
        service(world)


def test_AZ06_an_admin_sees_of_his_own_departments_tokens_what_they_are_never_the_secret(world):  # noqa: N802
    row, text = service(world, permits=["VM_RUN"])
    listed = world.api("admin").get(f"/api/v1/data-centers/{world.ids['data_center']}/tokens/").content.decode()
    page = world.browser("admin").get(f"/data-centers/{world.ids['data_center']}/tokens/").content.decode()
    for shown in (listed, page):
        assert "VM_RUN" in shown
        assert text not in shown
        assert row.hash not in shown
    assert world.api("other_admin").get(f"/api/v1/data-centers/{world.ids['data_center']}/tokens/").status_code == 404


def test_the_page_shows_a_new_token_once_and_a_form_sent_twice_makes_one(world):
    browser = world.browser("owner")
    form = {"name": "ci", "scope": "read", "expires_in": "86400", "key": "n" * 32, "objects": [world.ids["vm"]]}
    form["password"] = PASSWORD
    made = browser.post("/tokens/new/", form)
    text = made.content.decode().split('value="stegi_')[1].split('"')[0]
    assert names(bearer(f"stegi_{text}"), "/api/v1/vms/") == ["web-1"]
    assert browser.post("/tokens/new/", form).status_code == 409
    account = browser.get(f"/users/{world.place.users['alice'].pk}/").content.decode()
    assert account.count(">ci<") == 1
    assert text not in account
    wrong = browser.post("/tokens/new/", form | {"objects": [str(uuid4())], "key": "m" * 32})
    assert wrong.status_code == 400


def test_what_was_ticked_stays_ticked_beside_the_refusal(world):
    form = {"name": "ci", "scope": "read", "expires_in": "86400", "key": "n" * 32, "password": PASSWORD}
    wrong = world.browser("owner").post(
        "/tokens/new/", form | {"permits": ["VM_RUN", "NO_SUCH"], "objects": [world.ids["vm"], str(uuid4())]}
    )
    page = lxml.html.document_fromstring(wrong.content)
    assert set(page.xpath("//input[@type='checkbox'][@checked]/@value")) == {"VM_RUN", world.ids["vm"]}
    for name in ("permits", "objects"):
        [told] = page.xpath(f"//fieldset[.//input[@name='{name}']]/@aria-describedby")
        assert page.xpath(f"//*[@id='{told}']/text()")[0].strip()


def test_tokens_of_one_moment_are_each_on_one_page_of_a_data_centers_list(world, monkeypatch):
    monkeypatch.setattr("tenants.views.tokens.PER_PAGE", 2)
    for number in range(4):
        service(world, f"of-one-moment-{number}")
    first = ApiToken.objects.filter(user__service_of=world.place.centers["physics"]).first()
    ApiToken.objects.filter(user__service_of__isnull=False).update(created_at=first.created_at)
    path, seen = f"/data-centers/{world.ids['data_center']}/tokens/", []
    after = ""
    while path:
        page = lxml.html.fromstring(world.browser("admin").get(f"{path}{after}").content)
        seen += [name for name in page.xpath("//td[1]//text()") if "of-one-moment" in name]
        following = page.xpath("//a[contains(@href, 'after=')]/@href")
        path, after = (path, following[0][following[0].index("?") :]) if following else ("", "")
    assert sorted(name.strip() for name in seen) == [f"of-one-moment-{number}" for number in range(4)]


def test_templates_that_are_called_alike_are_told_apart_where_a_token_is_for_some_alone(world: World):
    row = Template.objects.get(pk=world.ids["template"])
    name, first = row.name, row.pk
    row.pk, row.version, row._state.adding = uuid4(), row.version + 1, True
    row.save()
    offered = dict(choosable(world.place.actor("root"), most=50)["template"])
    assert offered[first] == f"{name} (version 1)"
    assert offered[row.pk] == f"{name} (version 2)"
