"""Nobody becomes more than he is by what he may do to others: to their accounts, programs, roles, jobs and log-ins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from compute.models import FoundVm
from compute.services import adoption, moves
from compute.services.adoption import Adoption
from compute.services.moves import Move
from compute.services.owners import expected_owner
from network.models import Network, NetworkAssignment
from portal.common.actor import Actor, Bounds, system_actor
from portal.common.errors import Invalid, NotPermitted
from portal.common.models import Session
from portal.events.models import Event
from portal.jobs.models import Job
from tenants import policy
from tenants.directory.diagnosis import Told
from tenants.kinds import kind_of
from tenants.models import ApiToken, DataCenterUserGrant, Directory, LoginTries, Role, SecondFactor, User
from tenants.services import directories, factors
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


def for_a_time(world: World, *names: str) -> Actor:
    """The first of these, who are super-admins until the same moment of tomorrow."""
    end = timezone.now() + timedelta(days=1)
    for name in names:
        policy.grant(system_actor(), "super-admin", user(name), policy.system(), expires_at=end)
    return world.place.actor(names[0])


def test_AZ05_who_rules_for_a_time_is_let_in_as_nobody_who_rules_for_longer(world):  # noqa: N802
    bob, root = for_a_time(world, "bob", "charlie"), user("root")
    SecondFactor.objects.create(user=root, sealed_secret="x")
    acts = (
        lambda: set_password(bob, root, password=OTHER),
        lambda: factors.reset(bob, root),
        lambda: set_active(bob, root, active=True),
    )
    for act in acts:
        with pytest.raises(NotPermitted, match="for longer"):
            act()
    for name in ("charlie", "alice"):
        set_password(bob, user(name), password=OTHER)
    set_password(world.place.actor("root"), bob.user, password=OTHER)


def test_AZ05_nobody_leads_a_directory_elsewhere_whose_people_are_more_than_he(world):  # noqa: N802
    clerk, row = given_on_the_system(world, "bob", "USER_MANAGE", "SYSTEM_MANAGE"), Directory.objects.get()
    there = replace(directories.values_of(row), urls=("ldaps://his.own.example",), password="x")
    policy.grant(system_actor(), "super-admin", row.groups.get().group, policy.system())
    for actor, why in ((clerk, "what you do not"), (for_a_time(world, "charlie"), "for longer")):
        with pytest.raises(NotPermitted, match=why):
            directories.store_edit(actor, row.pk, there, (Told("bind", "", "ok"),))
        with pytest.raises(NotPermitted, match=why):
            directories.store_tried(
                actor, replace(there, name="HIS", domains=(), is_default=True), (Told("bind", "", "ok"),)
            )
    same = replace(directories.values_of(row), brake_percent=40)
    assert directories.store_edit(clerk, row.pk, same, ()).brake_percent == 40
    root = world.place.actor("root")
    assert directories.store_edit(root, row.pk, there, (Told("bind", "", "ok"),)).urls == list(there.urls)


def test_AZ05_nobody_has_what_others_type_at_log_in_sent_to_a_directory_of_his(world):  # noqa: N802
    clerk, root = given_on_the_system(world, "bob", "USER_MANAGE", "SYSTEM_MANAGE"), world.place.actor("root")
    uni, steps = Directory.objects.get(), (Told("bind", "", "ok"),)
    policy.grant(system_actor(), "super-admin", uni.groups.get().group, policy.system())
    values = replace(directories.values_of(uni), is_default=True, domains=("uni.example",))
    his = replace(values, name="HIS", domains=(), is_default=False, password="x")

    def refused(work):
        with pytest.raises(NotPermitted, match="what you do not"):
            work()

    directories.store_edit(root, uni.pk, values, ())
    refused(lambda: directories.set_directory_enabled(clerk, uni.pk, enabled=True))
    refused(lambda: directories.store_tried(clerk, his, steps))  # it would be the only one
    directories.set_directory_enabled(root, uni.pk, enabled=True)
    refused(lambda: directories.store_tried(clerk, replace(his, name="mail.uni.example"), steps))
    row = directories.store_tried(clerk, his, steps)
    his = replace(his, password="")
    refused(lambda: directories.store_edit(clerk, row.pk, replace(his, domains=("mail.uni.example",)), ()))
    refused(lambda: directories.set_directory_enabled(clerk, uni.pk, enabled=False))
    directories.store_edit(root, row.pk, replace(his, is_default=True), ())
    refused(lambda: directories.store_edit(clerk, uni.pk, replace(values, is_default=False, domains=()), ()))
    assert Directory.objects.filter(enabled=True).count() == 2
    assert Directory.objects.get(pk=uni.pk).domains == ["uni.example"]
    assert not directories.set_directory_enabled(clerk, row.pk, enabled=False).enabled, "his own"


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


def test_AN11_no_name_typed_at_log_in_takes_tries_of_somebodys_password_or_code(world, monkeypatch):  # noqa: N802
    monkeypatch.setattr("tenants.services.throttle.MOST_PER_NAME", 1)
    uid = user("alice").pk
    for name in (str(uid), f"password of {uid}"):
        for _ in range(2):
            Client().post("/login/", {"username": name, "password": "x"}, REMOTE_ADDR="203.0.113.9")
    form = {"name": "t", "scope": "write", "expires_in": "86400", "key": "p" * 32, "password": PASSWORD}
    assert world.browser("owner").post("/tokens/new/", form).status_code == 200


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
    assert world.api("admin").post(path, body | {"name": "v", "expires_in": 600}, **JSON).status_code == 201


def test_who_looks_after_people_does_not_learn_when_they_logged_in(world):
    listed = world.api("admin").get(f"/api/v1/data-centers/{world.ids['data_center']}/people/").json()["results"]
    assert {"username", "enabled"} <= set(listed[0]["user"])
    assert "last_login" not in listed[0]["user"]


# -- programs


def physics_token(world: World, name: str, by: str, role: str, seconds: int = 3600) -> ApiToken:
    wish = TokenWish(name, "write", seconds)
    return create_service_token(world.place.actor(by), world.place.centers["physics"].pk, wish, role=role)[0]


def test_AN17_a_token_makes_no_program_that_outlives_it(world):  # noqa: N802
    path = f"/api/v1/data-centers/{world.ids['data_center']}/tokens/"
    body = {"name": "v", "role": "end-user", "expires_in": 7200}
    refused = world.api("admin").post(path, body, **JSON)
    reason = refused.json()["reasons"][0]
    assert (refused.status_code, reason["code"], reason["field"]) == (403, "longer_than_own", "expires_in")
    left = (ApiToken.objects.get(name="admin").expires_at - timezone.now()).total_seconds()
    assert left - 1 < reason["maximum"] < left + 60, "what is left of the token itself"
    assert world.api("admin").post(path, body | {"expires_in": reason["maximum"] - 60}, **JSON).status_code == 201
    row, gone = ApiToken.objects.get(name="v"), replace(world.place.actor("physics-admin"), token_uid=uuid4())
    assert row.expires_at < ApiToken.objects.get(name="admin").expires_at
    with pytest.raises(NotPermitted, match="no later than the token"):
        create_token(gone, name="w", scope="read", expires_in=60)


def test_a_program_ends_with_its_givers_role(world):
    center, friday = world.place.centers["physics"], timezone.now() + timedelta(days=3)
    policy.grant(system_actor(), "data-center-admin", user("physics-admin"), center, expires_at=friday)
    with pytest.raises(NotPermitted, match="Give it until then") as refused:
        physics_token(world, "deploy", "physics-admin", "data-center-admin", LONGEST_SECONDS)
    assert [reason.field for reason in refused.value.reasons] == ["expires_in"]
    made = physics_token(world, "deploy", "physics-admin", "data-center-admin")
    held = DataCenterUserGrant.objects.get(user=made.user)
    assert abs(held.expires_at - made.expires_at) < timedelta(seconds=5)


def test_AZ05_nobody_wakes_a_program_that_holds_for_longer_what_he_holds_for_a_time(world):  # noqa: N802
    center, boss = world.place.centers["physics"], world.place.actor("physics-admin")
    made = physics_token(world, "deploy", "physics-admin", "end-user")
    policy.grant(system_actor(), "user-vm-manager", made.user, world.vm)
    revoke_service_token(boss, center.pk, made.pk)
    policy.grant(system_actor(), "end-user", user("bob"), center)
    friday = timezone.now() + timedelta(days=3)
    policy.grant(system_actor(), "data-center-admin", user("bob"), center, expires_at=friday)
    with pytest.raises(NotPermitted, match="holds for longer") as refused:
        physics_token(world, "deploy", "bob", "end-user")
    assert [(reason.code, reason.field) for reason in refused.value.reasons] == [("longer_than_own", "name")]
    policy.grant(system_actor(), "user-vm-manager", made.user, world.vm, expires_at=friday - timedelta(days=1))
    assert physics_token(world, "deploy", "bob", "end-user").user == made.user


def test_a_password_is_looked_at_before_the_transaction_that_keeps_the_key(world, monkeypatch):
    deep, looked = len(connection.savepoint_ids), []

    def looks(*_args, **_more):
        looked.append(len(connection.savepoint_ids) - deep)

    monkeypatch.setattr("tenants.services.proving.password_refusal", looks)
    form = {"name": "t", "scope": "write", "expires_in": "86400", "key": "p" * 32, "password": PASSWORD}
    assert world.browser("owner").post("/tokens/new/", form).status_code == 200
    page = f"/data-centers/{world.ids['data_center']}/tokens/new/"
    assert world.browser("admin").post(page, form | {"role": "end-user", "key": "q" * 32}).status_code == 200
    path, body = f"/api/v1/data-centers/{world.ids['data_center']}/tokens/", {"name": "u", "role": "end-user"}
    answer = world.browser("admin").post(path, body, **JSON, headers={"Idempotency-Key": "k" * 32})
    assert (answer.status_code, looked) == (201, [0, 0, 0])


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
        expected_owner("physics/deploy", None)


def test_AZ05_nobody_makes_an_owner_of_more_than_he_could_give(world):  # noqa: N802
    physics, informatics = (world.place.centers[name].pk for name in ("physics", "informatics"))
    network = Network.objects.get(owner=physics)
    Network.objects.filter(pk=network.pk).update(owner=None)
    NetworkAssignment.objects.bulk_create(
        NetworkAssignment(network=network, data_center_id=center) for center in (physics, informatics)
    )
    clerk = given_on_the_system(world, "bob", "SYSTEM_MANAGE", "PROVIDER_MANAGE", "VM_VIEW")
    for actor, why in ((clerk, "Its owner would get"), (for_a_time(world, "charlie"), "would keep for good")):
        acts = (
            lambda owner, by=actor: moves.move_vm(by, world.vm.pk, Move(informatics, owner)),
            lambda owner, by=actor: moves.plan_move(by, world.vm.pk, Move(informatics, owner)),
            lambda owner, by=actor: adoption.adopt(by, Adoption((FoundVm.objects.get().pk,), physics, owner)),
        )
        for act in acts:
            with pytest.raises(NotPermitted, match=why) as refused:
                act(actor.name)
            assert [reason.field for reason in refused.value.reasons] == ["owner"]
    assert moves.move_vm(clerk, world.vm.pk, Move(informatics)).owner is None
    assert moves.move_vm(world.place.actor("root"), world.vm.pk, Move(physics, "alice")).owner == user("alice")


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
