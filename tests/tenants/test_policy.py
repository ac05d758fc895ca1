"""The permission policy: who may what, who may not even see, and why."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from portal.common.access import access_version
from portal.common.actor import Bounds, Door, system_actor
from portal.common.errors import NotFound, NotPermitted
from portal.jobs.models import Job
from tenants import policy, selectors
from tenants.gate import gate
from tenants.models import DataCenter, Role, User
from tenants.permits import Permit
from tests.tenants.conftest import as_actor


def test_an_end_user_may_create_in_his_data_center_and_knows_no_other(people):
    policy.authorize(as_actor(people.alice), Permit.VM_CREATE, people.physics)
    with pytest.raises(NotFound):
        policy.authorize(as_actor(people.alice), Permit.VM_CREATE, people.informatics)
    with pytest.raises(NotFound):
        policy.authorize(as_actor(people.informatics_admin), Permit.DATA_CENTER_EDIT, people.physics)


def test_a_refusal_names_the_grant_that_would_help_and_who_can_give_it(people):
    with pytest.raises(NotPermitted) as caught:
        policy.authorize(as_actor(people.alice), Permit.DATA_CENTER_EDIT, people.physics)
    explanation = caught.value.data["explanation"]
    assert explanation["helping_roles"][0] == "data-center-admin"
    assert explanation["who_can_grant"] == ["physics_admin"]
    assert "The role Data center admin would give it" in explanation["sentence"], "as the pages call it"


def test_a_yes_is_derived_through_the_group(people):
    group = Group.objects.create(name="lab")
    people.charlie.groups.add(group)
    policy.grant(system_actor(), "end-user", group, people.physics)
    explanation = policy.explain(as_actor(people.charlie), Permit.VM_CREATE, people.physics)
    assert explanation.allowed
    way = {"group": "lab", "role": "end-user", "ancestor": "data_center", "uid": people.physics.pk, "assigned": False}
    assert explanation.derivation == ({"subject": "charlie", "permit": "VM_CREATE"} | way,)
    people.charlie.groups.clear()
    with pytest.raises(NotFound):
        policy.authorize(as_actor(people.charlie), Permit.VM_CREATE, people.physics)


def test_the_super_admin_and_the_portal_may_everything_everywhere(people):
    for permit in Permit:
        policy.authorize(as_actor(people.super_admin), permit, people.physics)
        policy.authorize(system_actor(), permit, people.physics)


def test_AZ11_flags_and_global_permissions_of_django_widen_nothing(people):  # noqa: N802
    """Neither a model's permissions, nor those that roles are kept as; and nobody is guardian's anonymous user."""
    people.alice.is_superuser = people.alice.is_staff = True
    people.alice.save()
    people.alice.user_permissions.set(Permission.objects.all())
    with pytest.raises(NotFound):
        policy.authorize(as_actor(people.alice), Permit.DATA_CENTER_VIEW, people.informatics)
    assert list(policy.visible(as_actor(people.alice), Permit.DATA_CENTER_VIEW, DataCenter.objects.all())) == [
        people.physics
    ]
    system = policy.system()
    assert not policy.permits_on(as_actor(people.alice), [system])[system.pk]
    assert settings.ANONYMOUS_USER_NAME is None
    assert not User.objects.filter(username__iexact="AnonymousUser").exists()


def test_a_read_token_may_only_look(people):
    reader = as_actor(people.physics_admin, scope="read")
    policy.authorize(reader, Permit.DATA_CENTER_VIEW, people.physics)
    with pytest.raises(NotPermitted):
        policy.authorize(reader, Permit.DATA_CENTER_EDIT, people.physics)
    assert not policy.visible(reader, Permit.VM_CREATE, DataCenter.objects.all())
    assert Permit.GRANT not in policy.permits_on(reader, [people.physics])[people.physics.pk]


@pytest.mark.parametrize("how", ["inactive", "disabled", "expired"])
def test_what_is_over_conveys_nothing(people, how):
    if how == "inactive":
        type(people.alice).objects.filter(pk=people.alice.pk).update(is_active=False)
    elif how == "disabled":
        DataCenter.objects.filter(pk=people.physics.pk).update(enabled=False)
    else:
        policy.grant(
            system_actor(), "end-user", people.alice, people.physics, expires_at=timezone.now() - timedelta(seconds=1)
        )
    actor = as_actor(people.alice)
    with pytest.raises(NotFound):
        policy.authorize(actor, Permit.DATA_CENTER_VIEW, people.physics)
    assert not policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all())


def test_AZ05_nobody_grants_more_than_he_holds(people):  # noqa: N802
    admin = as_actor(people.physics_admin)
    policy.grant(admin, "end-user", people.charlie, people.physics)
    policy.grant(admin, "data-center-admin", people.bob, people.physics)
    with pytest.raises(NotFound):
        policy.grant(admin, "end-user", people.alice, people.informatics)
    with pytest.raises(NotPermitted):
        policy.grant(admin, "super-admin", people.physics_admin, policy.system())
    with pytest.raises(NotPermitted):
        policy.grant(as_actor(people.alice), "end-user", people.charlie, people.physics)
    Role.objects.create(name="everything", codename="everything", permits=[p.value for p in Permit])
    with pytest.raises(NotPermitted) as caught:
        policy.grant(admin, "everything", people.physics_admin, people.physics)
    assert "SYSTEM_MANAGE" in str(caught.value.detail)


def test_revoking_ends_it_and_tells_open_sockets(people):
    before = access_version(people.alice.pk)
    policy.revoke(as_actor(people.physics_admin), "end-user", people.alice, people.physics)
    assert access_version(people.alice.pk) > before
    policy.revoke(as_actor(people.physics_admin), "end-user", people.alice, people.physics)
    with pytest.raises(NotFound):
        policy.authorize(as_actor(people.alice), Permit.DATA_CENTER_VIEW, people.physics)


def test_a_role_is_taken_back_by_its_name_whatever_row_of_permissions_stands_for_it(people, monkeypatch):
    policy.grant(system_actor(), "end-user", people.charlie, people.physics)
    known, other = ContentType.objects._cache["default"], ContentType.objects.get_for_model(User)
    # Remembered as it was before the tables were restored, say.
    monkeypatch.setitem(known, ("tenants", "datacenter"), other)
    policy.revoke(system_actor(), "end-user", people.charlie, people.physics)
    assert people.charlie.pk not in policy.people_of(people.physics)


def test_a_custom_role_counts_and_revoking_one_of_two_keeps_the_other(people):
    Role.objects.create(name="editor", codename="editor", permits=["DATA_CENTER_VIEW", "DATA_CENTER_EDIT"])
    policy.grant(system_actor(), "editor", people.alice, people.physics)
    policy.authorize(as_actor(people.alice), Permit.DATA_CENTER_EDIT, people.physics)
    policy.revoke(system_actor(), "editor", people.alice, people.physics)
    policy.authorize(as_actor(people.alice), Permit.DATA_CENTER_VIEW, people.physics)


def test_a_user_sees_his_own_jobs_and_an_admin_those_of_the_data_center(people):
    mine, other = (
        Job.objects.create(
            operation="x", actor_uid=user.pk, actor_name=user.username, target_kind="vm", target_uid=user.pk,
            data_center_uid=people.physics.pk,
        )
        for user in (people.alice, people.bob)
    )  # fmt: skip

    def seen(user):
        return set(selectors.jobs(as_actor(user)))

    assert seen(people.alice) == {mine}
    assert seen(people.physics_admin) == seen(people.super_admin) == {mine, other}
    assert seen(people.informatics_admin) == set()


def test_AZ09_the_gate_asks_again(people):  # noqa: N802
    alice = as_actor(people.alice, door=Door.JOB)
    gate(alice, "VM_CREATE", "data_center", people.physics.pk)
    policy.revoke(system_actor(), "end-user", people.alice, people.physics)
    with pytest.raises(NotFound):
        gate(alice, "VM_CREATE", "data_center", people.physics.pk)
    User.objects.filter(pk=people.alice.pk).delete()
    with pytest.raises(NotPermitted):
        gate(alice, "VM_CREATE", "data_center", people.physics.pk)


def test_the_number_of_queries_does_not_grow(people, django_assert_max_num_queries):
    actor = as_actor(people.physics_admin, door=Door.PAGE)
    for number in range(20):
        DataCenter.objects.create(name=f"dc{number}")
    everything = list(DataCenter.objects.all())
    with django_assert_max_num_queries(7):
        assert len(policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all())) == 1
    with django_assert_max_num_queries(7):
        held = policy.permits_on(actor, everything)
    assert [dc.name for dc in everything if held[dc.pk]] == ["physics"]


def test_somebody_disabled_meanwhile_may_nothing_even_by_an_object_read_before(people):
    """An open socket keeps its user for hours."""
    actor = as_actor(User.objects.get(pk=people.alice.pk))
    User.objects.filter(pk=people.alice.pk).update(is_active=False)
    with pytest.raises(NotFound):
        policy.authorize(actor, Permit.VM_CREATE, people.physics)


def test_what_may_not_be_seen_answers_as_if_it_were_not_there(people):
    """Looking itself must not tell either: no 403, no names of its admins."""
    for permit in Permit:
        with pytest.raises(NotFound) as caught:
            policy.authorize(as_actor(people.charlie), permit, people.physics)
        assert caught.value.data == {}


@pytest.mark.turns
@pytest.mark.long
def test_authorize_explain_permits_on_and_visible_agree(people):
    """On a random graph of grants, for everybody, every permit and every data center."""
    rng = random.Random(20)
    group = Group.objects.create(name="lab")
    Role.objects.create(name="odd", codename="odd", permits=["VM_RUN", "DATA_CENTER_VIEW", "NO_SUCH_PERMIT"])
    everyone = [people.alice, people.bob, people.charlie, people.physics_admin, people.super_admin]
    for user in everyone[:3]:
        user.groups.set([group] if rng.random() < 0.5 else [])
    centers = [DataCenter.objects.create(name=f"dc{n}", enabled=n != 2) for n in range(5)]
    for _ in range(12):
        subject = rng.choice([*everyone[:4], group])
        ends = rng.choice([None, timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)])
        role = rng.choice(["end-user", "data-center-admin", "odd", "user-role"])
        policy.grant(system_actor(), role, subject, rng.choice(centers), expires_at=ends)
    for user in everyone:
        for login in ({"scope": "read"}, {}, _some_bounds(rng, centers), _some_bounds(rng, centers)):
            actor = as_actor(user, **login)
            held = policy.permits_on(actor, centers)
            for permit in rng.sample(list(Permit), 5):
                seen = set(policy.visible(actor, permit, DataCenter.objects.filter(pk__in=[c.pk for c in centers])))
                for center in centers:
                    answers = {
                        center in seen,
                        permit in held[center.pk],
                        policy.explain(actor, permit, center).allowed,
                        policy.holds_in(actor, permit, center),
                        _passes(actor, permit, center),
                    }
                    assert len(answers) == 1, (user.username, login, permit, center.name)
            full = policy.permits_on(as_actor(user), centers)
            assert all(held[center.pk] <= full[center.pk] for center in centers), "a token never adds anything"


def _some_bounds(rng, centers):
    permits = frozenset(permit.value for permit in rng.sample(list(Permit), 15))
    objects = frozenset(center.pk for center in rng.sample(centers, 2))
    return {"bounds": Bounds(rng.choice([None, permits]), rng.choice([None, objects]))}


def test_holding_anywhere_and_everywhere(people):
    def held(user, permit, **more):
        actor = as_actor(user, **more)
        return policy.holds_anywhere(actor, permit), policy.holds_everywhere(actor, permit)

    assert held(people.super_admin, Permit.VM_CREATE) == (True, True)
    assert held(people.super_admin, Permit.VM_CREATE, scope="read") == (False, False)
    assert held(people.physics_admin, Permit.DATA_CENTER_EDIT) == (True, False)
    assert held(people.alice, Permit.DATA_CENTER_EDIT) == (False, False)
    DataCenter.objects.filter(pk=people.physics.pk).update(enabled=False)
    assert held(people.physics_admin, Permit.DATA_CENTER_EDIT) == (False, False)


def test_within_one_look_rights_are_read_once_and_after_it_anew(people, django_assert_num_queries):
    alice = as_actor(people.alice)
    with policy.one_look():
        first = list(policy.visible(alice, Permit.VM_CREATE, DataCenter.objects.all()))
        policy.revoke(system_actor(), "end-user", people.alice, people.physics)
        with django_assert_num_queries(1):
            assert list(policy.visible(alice, Permit.VM_CREATE, DataCenter.objects.all())) == first == [people.physics]
        assert list(policy.visible(as_actor(people.charlie), Permit.VM_CREATE, DataCenter.objects.all())) != first
    assert list(policy.visible(alice, Permit.VM_CREATE, DataCenter.objects.all())) == []


def _passes(actor, permit, target):
    try:
        policy.authorize(actor, permit, target)
    except (NotFound, NotPermitted):
        return False
    return True
