"""Nobody becomes more than he is by what he may do to others: to their accounts, programs, roles, jobs and log-ins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from compute.services import adoption
from portal.common.actor import Actor, Bounds, system_actor
from portal.common.errors import Invalid, NotPermitted
from portal.common.models import Session
from portal.events.models import Event
from portal.jobs.models import Job
from tenants import policy
from tenants.kinds import kind_of
from tenants.models import ApiToken, DataCenterUserGrant, LoginTries, Role, SecondFactor, User
from tenants.services import factors
from tenants.services.makers import give_to_maker
from tenants.services.roles import RoleEdit, edit_role
from tenants.services.sessions import end_sessions
from tenants.services.throttle import MOST_PER_NAME
from tenants.services.tokens import (
    LONGEST_SECONDS,
    TokenWish,
    create_service_token,
    create_token,
    revoke_service_token,
)
from tenants.services.users import set_active, set_password
from tenants.services.viewing import begin_view
from tests.edge.world import World
from tests.people import PASSWORD

JSON = {"content_type": "application/json"}
OTHER = "another long one 42"


def user(name: str) -> User:
    return User.objects.get(username=name)


def given_on_the_system(world: World, name: str, *permits: str) -> Actor:
    """Somebody who holds these permits on the whole system and no others there."""
    role = Role.objects.create(name="Clerk", codename="custom-clerk", permits=sorted(permits))
    policy.grant(system_actor(), role.codename, user(name), policy.system())
    return world.place.actor(name)


# -- accounts


def test_who_manages_users_touches_nobody_who_holds_more_on_the_whole_system(world):
    clerk, root = given_on_the_system(world, "bob", "USER_MANAGE"), user("root")
    SecondFactor.objects.create(user=root, sealed_secret="x")
    acts = (
        lambda: set_password(clerk, root, password=OTHER),
        lambda: set_active(clerk, root, active=False),
        lambda: factors.reset(clerk, root),
        lambda: end_sessions(clerk, root),
    )
    for act in acts:
        with pytest.raises(NotPermitted, match="Ask somebody who holds that too"):
            act()
    with pytest.raises(NotPermitted):
        factors.ask_of(clerk, [])
    assert "second-factors" not in world.browser("peer").get("/users/").content.decode()
    User.objects.filter(pk=root.pk).update(is_active=False)
    with pytest.raises(NotPermitted, match="Ask somebody"):
        set_active(clerk, user("root"), active=True)
    set_password(clerk, user("charlie"), password=OTHER)
    User.objects.filter(pk=root.pk).update(is_active=True)
    set_password(world.place.actor("root"), user("bob"), password=OTHER)


def test_a_disabled_account_comes_back_without_its_log_ins_and_tokens(world):
    root = world.place.actor("root")
    assert world.browser("peer").get("/api/v1/me/").status_code == 200
    set_active(root, user("bob"), active=False)
    set_active(root, user("bob"), active=True)
    assert world.browser("peer").get("/api/v1/me/").status_code == 401
    assert world.api("peer").get("/api/v1/me/").status_code == 401
    SecondFactor.objects.create(user=user("alice"), sealed_secret="x")
    factors.reset(root, user("alice"))
    assert not Session.objects.filter(user_uid=user("alice").pk).exists()
    assert ApiToken.objects.filter(user=user("alice")).exists()


def test_ones_own_password_is_not_found_out_by_trying_and_each_try_is_on_record(world):
    body = {"password": OTHER, "present_password": "guess"}
    client, path = world.browser("owner"), f"/api/v1/users/{user('alice').pk}/"
    codes = [client.patch(path, body, **JSON).status_code for _ in range(MOST_PER_NAME + 2)]
    assert codes == [400] * MOST_PER_NAME + [429] * 2
    assert client.patch(path, body | {"present_password": PASSWORD}, **JSON).status_code == 429
    assert Event.objects.filter(code="PASSWORD_SET_REFUSED", object_name="alice").count() == MOST_PER_NAME + 1
    LoginTries.objects.all().delete()
    assert client.patch(path, body | {"present_password": PASSWORD}, **JSON).status_code == 200


def test_a_log_in_alone_makes_no_token_by_the_page(world):
    form = {"name": "t", "scope": "write", "expires_in": "86400", "key": "p" * 32}
    client = world.browser("owner")
    assert 'autocomplete="current-password"' in client.get("/tokens/new/").content.decode()
    assert client.post("/tokens/new/", form).status_code == 400
    wrong = client.post("/tokens/new/", form | {"password": "guess"})
    assert (wrong.status_code, 'id="password-error"' in wrong.content.decode()) == (400, True)
    assert "guess" not in wrong.content.decode()
    assert Event.objects.filter(code="TOKEN_PROVE_REFUSED", object_name="alice").count() == 1
    assert client.post("/tokens/new/", form | {"password": PASSWORD}).status_code == 200


def test_a_log_in_alone_makes_no_program_by_page_or_api(world):
    center, client = world.ids["data_center"], world.browser("admin")
    form = {"name": "t", "scope": "write", "expires_in": "86400", "role": "end-user", "key": "q" * 32}
    page = f"/data-centers/{center}/tokens/new/"
    assert 'autocomplete="current-password"' in client.get(page).content.decode()
    assert client.post(page, form).status_code == 400
    assert client.post(page, form | {"password": PASSWORD}).status_code == 200
    path, body = f"/api/v1/data-centers/{center}/tokens/", {"name": "u", "role": "end-user"}
    refused = client.post(path, body, **JSON)
    assert (refused.status_code, refused.json()["reasons"][0]["field"]) == (400, "password")
    assert client.post(path, body | {"password": PASSWORD}, **JSON).status_code == 201
    assert world.api("admin").post(path, body | {"name": "v"}, **JSON).status_code == 201


def test_who_looks_after_people_does_not_learn_when_they_logged_in(world):
    listed = world.api("admin").get(f"/api/v1/data-centers/{world.ids['data_center']}/people/").json()["results"]
    assert {"username", "enabled"} <= set(listed[0]["user"])
    assert "last_login" not in listed[0]["user"]


# -- programs


def physics_token(world: World, name: str, by: str, role: str, seconds: int = 3600) -> ApiToken:
    wish = TokenWish(name, "write", seconds)
    return create_service_token(world.place.actor(by), world.place.centers["physics"].pk, wish, role=role)[0]


def test_a_program_ends_with_its_givers_role(world):
    center, friday = world.place.centers["physics"], timezone.now() + timedelta(days=3)
    policy.grant(system_actor(), "data-center-admin", user("physics-admin"), center, expires_at=friday)
    with pytest.raises(NotPermitted, match="Give it until then") as refused:
        physics_token(world, "deploy", "physics-admin", "data-center-admin", LONGEST_SECONDS)
    assert [reason.field for reason in refused.value.reasons] == ["expires_in"]
    made = physics_token(world, "deploy", "physics-admin", "data-center-admin")
    held = DataCenterUserGrant.objects.get(user=made.user)
    assert abs(held.expires_at - made.expires_at) < timedelta(seconds=5)


def test_nobody_takes_over_a_programs_machines_by_its_name(world):
    center = world.place.centers["physics"]
    policy.grant(system_actor(), "template-admin", user("bob"), center)
    made = physics_token(world, "deploy", "physics-admin", "data-center-admin")
    policy.grant(system_actor(), "user-vm-manager", made.user, world.vm)
    with pytest.raises(NotPermitted):
        revoke_service_token(world.place.actor("bob"), center.pk, made.pk)
    revoke_service_token(world.place.actor("physics-admin"), center.pk, made.pk)
    with pytest.raises(NotPermitted, match="Choose another name") as refused:
        physics_token(world, "deploy", "bob", "template-creator")
    assert [reason.field for reason in refused.value.reasons] == ["name"]
    assert physics_token(world, "templates", "bob", "template-creator").user_id != made.user_id
    assert physics_token(world, "deploy", "physics-admin", "end-user").user_id == made.user_id


def test_no_machine_is_adopted_for_a_program(world):
    physics_token(world, "deploy", "physics-admin", "end-user")
    with pytest.raises(Invalid, match="There is no user"):
        adoption.owner_named("physics/deploy")


# -- what ends, and what a token is kept to


def test_who_rules_for_a_time_puts_nothing_into_a_role_for_good(world):
    policy.grant(
        system_actor(), "super-admin", user("bob"), policy.system(), expires_at=timezone.now() + timedelta(days=1)
    )
    row = Role.objects.get(codename="custom-helper")
    edit = RoleEdit(permits=("VM_VIEW", "SYSTEM_MANAGE"))
    with pytest.raises(NotPermitted, match="gives it for good"):
        edit_role(world.place.actor("bob"), row.pk, edit)
    edit_role(world.place.actor("bob"), row.pk, RoleEdit(description="fewer words"))
    edit_role(world.place.actor("root"), row.pk, edit)


def test_who_lacks_a_single_permit_sees_the_portal_as_nobody_else(world):
    clerk = given_on_the_system(world, "bob", "SYSTEM_MANAGE", "USER_MANAGE")
    with pytest.raises(NotPermitted, match="every permit on the whole system"):
        begin_view(clerk, {}, user("alice").pk)


def test_a_token_sees_and_stops_the_jobs_that_it_could_have_started(world):
    other = Job.objects.create(
        operation="none", permit="IMAGE_UPLOAD", actor_uid=user("alice").pk, target_kind="image", target_uid=world.vm.pk,
        target_name="secret",
    )  # fmt: skip

    def seen(*permits: str) -> tuple[set[str], int]:
        _row, text = create_token(world.place.actor("alice"), name="t", scope="write", expires_in=60, permits=permits)
        client = Client(headers={"Authorization": f"Bearer {text}"})
        rows = client.get("/api/v1/jobs/").json()["results"]
        return {row["id"] for row in rows}, client.post(f"/api/v1/jobs/{other.pk}/cancel/", {}, **JSON).status_code

    assert seen("NETWORK_VIEW") == (set(), 404)
    assert seen("VM_CREATE") == ({str(world.job.pk)}, 404)
    assert seen("JOB_VIEW") == ({str(world.job.pk), str(other.pk)}, 403)
    assert seen("IMAGE_UPLOAD") == ({str(other.pk)}, 409), "it has no step to stop before"


def test_what_a_token_lacks_is_not_given_to_its_owner_for_good(world):
    whole = world.place.actor("physics-admin")
    rows = kind_of(type(world.vm)).user_grants._default_manager.filter(user=whole.user)
    give_to_maker(replace(whole, bounds=Bounds(permits=frozenset({"VM_CREATE"}))), world.vm)
    assert not rows.exists()
