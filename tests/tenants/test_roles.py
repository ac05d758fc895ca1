"""Roles of the institute's own: made, changed, deleted; what changes counts at once, and somebody always rules."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.utils import timezone

from portal.common.access import access_version
from portal.common.actor import system_actor
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted, PreconditionFailed
from portal.events.models import Event
from tenants import policy
from tenants.models import Directory, Role, User
from tenants.permits import Permit
from tenants.predefined import PREDEFINED
from tenants.roles import sync_roles
from tenants.services.grants import grant_role, revoke_role
from tenants.services.role_uses import use_counts
from tenants.services.roles import (
    RoleEdit,
    RoleRequest,
    create_role,
    delete_role,
    edit_role,
    role_version,
)
from tenants.services.users import set_active
from tests.crowd import in_threads
from tests.tenants.conftest import as_actor


@pytest.fixture
def root(people):
    return as_actor(people.super_admin)


@pytest.fixture
def helper(people, root):
    """A role that bob holds himself, and alice through a group, in physics."""
    row = create_role(root, RoleRequest("Night shift", "at night", ("DATA_CENTER_VIEW", "JOB_VIEW", "JOB_CANCEL")))
    group = Group.objects.create(name="lab")
    people.alice.groups.add(group)
    for subject in (people.bob, group):
        grant_role(as_actor(people.super_admin), row.codename, subject, people.physics)
    return row


def may(user, permit, target):
    return permit in policy.permits_on(as_actor(user), [target])[target.pk]


def test_a_role_starts_from_another_and_what_is_wrong_with_it_is_said_by_field(root):
    start = Role.objects.get(codename="user-role")
    Role.objects.filter(pk=start.pk).update(needs_factor=True)
    made = create_role(root, RoleRequest("Lab helper", start_from=start.pk))
    assert (made.codename, set(made.permits), made.predefined) == ("custom-lab-helper", set(start.permits), False)
    assert made.needs_factor, "what is asked of a role is asked of what is made from it"
    bad = (
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "two  blanks"}, "name"),
        ({"name": "<b>"}, "name"),
        ({"name": "Διαχειριστής"}, "name"),
        ({"description": "x" * 301}, "description"),
        ({"permits": ("VM_FLY",)}, "permits"),
        ({"permits": ()}, "permits"),
        ({"permits": None, "start_from": system_actor().uid or root.uid}, "start_from"),
    )
    for changes, field in bad:
        with pytest.raises(Invalid) as refused:
            create_role(root, RoleRequest(**{"name": "Good", "permits": ("VM_VIEW",)} | changes))
        assert [reason.field for reason in refused.value.reasons] == [field], changes
    for name in ("lab.helper", "LAB HELPER", "super admin", "UserRole"):
        with pytest.raises(Conflict):
            create_role(root, RoleRequest(name, permits=("VM_VIEW",)))


def test_an_edit_counts_at_once_for_all_who_hold_it_and_the_record_has_the_difference(people, root, helper):
    assert may(people.bob, Permit.JOB_CANCEL, people.physics)
    assert may(people.alice, Permit.JOB_CANCEL, people.physics)
    before = [access_version(user.pk) for user in (people.alice, people.bob, people.charlie)]
    seen = role_version(helper)
    edit_role(root, helper.pk, RoleEdit(name="Day shift", permits=("DATA_CENTER_VIEW", "JOB_VIEW", "EVENT_VIEW")))
    for user in (people.alice, people.bob):
        assert not may(user, Permit.JOB_CANCEL, people.physics)
        assert may(user, Permit.EVENT_VIEW, people.physics)
    after = [access_version(user.pk) for user in (people.alice, people.bob, people.charlie)]
    assert [new > old for old, new in zip(before, after, strict=True)] == [True, True, False]
    record = Event.objects.get(code__startswith="ROLE_EDIT", outcome="done")
    assert record.data == {
        "added": ["EVENT_VIEW"],
        "removed": ["JOB_CANCEL"],
        "name": {"before": "Night shift", "after": "Day shift"},
    }
    assert set(Permission.objects.filter(codename="role_custom-night-shift").values_list("name", flat=True)) == {
        "Day shift"
    }
    with pytest.raises(PreconditionFailed):
        edit_role(root, helper.pk, RoleEdit(permits=("VM_VIEW",), version=seen))


def test_those_that_come_with_the_portal_stay_as_they_are(root):
    for role in PREDEFINED:
        row = Role.objects.get(codename=role.codename)
        for work in (lambda row=row: edit_role(root, row.pk, RoleEdit(permits=("VM_VIEW",))), lambda row=row: delete_role(root, row.pk)):  # fmt: skip
            with pytest.raises(Conflict) as refused:
                work()
            assert [reason.code for reason in refused.value.reasons] == ["predefined"]
        row.refresh_from_db()
        assert set(row.permits) == role.permits


def test_AZ05_nobody_but_a_super_admin_makes_roles_and_nobody_puts_in_what_he_lacks(people, root, helper):  # noqa: N802
    for user in (people.physics_admin, people.alice):
        for work in (
            lambda actor: create_role(actor, RoleRequest("Mine", permits=("VM_VIEW",))),
            lambda actor: edit_role(actor, helper.pk, RoleEdit(permits=("GRANT",))),
            lambda actor: delete_role(actor, helper.pk),
        ):
            with pytest.raises(NotPermitted):
                work(as_actor(user))
    some = create_role(root, RoleRequest("Role maker", permits=("SYSTEM_MANAGE", "VM_VIEW")))
    grant_role(root, some.codename, people.charlie, policy.system())
    charlie = as_actor(people.charlie)
    create_role(charlie, RoleRequest("Looking", permits=("VM_VIEW",)))
    for work in (
        lambda: edit_role(charlie, some.pk, RoleEdit(permits=("SYSTEM_MANAGE", "VM_VIEW", "GRANT"))),
        lambda: create_role(charlie, RoleRequest("More", permits=("GRANT",))),
        lambda: create_role(as_actor(people.super_admin, scope="read"), RoleRequest("More", permits=("VM_VIEW",))),
    ):
        with pytest.raises(NotPermitted):
            work()
    assert not may(people.charlie, Permit.GRANT, policy.system())


def test_a_role_that_is_held_is_not_deleted_and_the_refusal_counts_where(people, root, helper):
    with pytest.raises(Conflict) as refused:
        delete_role(root, helper.pk)
    [reason] = refused.value.reasons
    assert reason.data == {"kind": "data_center", "objects": 1, "user": 1, "group": 1}
    assert "Data centers (physics): held by 1 user and 1 group." in reason.text
    assert use_counts()["custom-night-shift"] == 2
    revoke_role(root, helper.codename, Group.objects.get(name="lab"), people.physics)
    policy.grant(root, helper.codename, people.bob, people.physics, expires_at=timezone.now() - timedelta(seconds=1))
    delete_role(root, helper.pk)
    assert not Permission.objects.filter(codename="role_custom-night-shift").exists()
    with pytest.raises(NotFound):
        grant_role(root, "custom-night-shift", people.bob, people.physics)


def test_a_new_role_of_the_portal_keeps_its_name_from_one_of_the_institutes(people, helper):
    Role.objects.filter(pk=helper.pk).update(name="TEMPLATEOWNER")
    Role.objects.filter(codename="template-owner").update(name="of before")
    sync_roles()
    helper.refresh_from_db()
    assert Role.objects.get(codename="template-owner").name == "TemplateOwner"
    assert helper.name.startswith("TEMPLATEOWNER own ")
    assert may(people.bob, Permit.JOB_VIEW, people.physics)


def test_a_name_that_a_role_had_once_and_a_long_one_that_begins_alike_are_free(people, root, helper):
    edit_role(root, helper.pk, RoleEdit(name="Day shift"))
    names = ("Night shift", "n" * 63 + "1", "n" * 63 + "2")
    made = {create_role(root, RoleRequest(name, permits=("VM_VIEW",))).codename for name in names}
    assert (len(made), helper.codename in made) == (3, False)
    assert use_counts()[helper.codename] == 2, "who held it holds the one that is called otherwise now"


def refused_as_last(work):
    with pytest.raises(Conflict) as refused:
        work()
    return [reason.code for reason in refused.value.reasons] == ["last_super_admin"]


def test_the_last_super_admin_cannot_be_removed_in_any_way(people, root):
    soon = timezone.now() + timedelta(days=1)
    system, boss = policy.system(), people.super_admin
    full = create_role(root, RoleRequest("Everything", permits=tuple(Permit)))
    grant_role(root, full.codename, people.bob, system)
    revoke_role(as_actor(people.bob), "super-admin", boss, system)
    bob = as_actor(people.bob)
    # A directory's account, one with an end, one that is disabled: none of them will surely be there.
    away = User.objects.create(username="UNI\\eve", directory=Directory.objects.create(name="UNI", kind="openldap"))
    grant_role(bob, "super-admin", away, system)
    grant_role(bob, "super-admin", people.alice, system, expires_at=soon)
    grant_role(bob, "super-admin", boss, system)
    set_active(bob, boss, active=False)
    assert refused_as_last(lambda: revoke_role(bob, full.codename, people.bob, system))
    assert refused_as_last(lambda: grant_role(bob, full.codename, people.bob, system, expires_at=soon))
    assert refused_as_last(lambda: edit_role(bob, full.pk, RoleEdit(permits=("SYSTEM_MANAGE",))))
    assert refused_as_last(lambda: set_active(as_actor(people.alice), User.objects.get(username="bob"), active=False))
    assert may(people.bob, Permit.SYSTEM_MANAGE, system)
    set_active(bob, boss, active=True)
    revoke_role(bob, full.codename, people.bob, system)
    assert not may(people.bob, Permit.SYSTEM_MANAGE, system)


def test_of_two_changes_at_once_the_second_sees_the_first(lasting_people):
    """Neither do two last super-admins go together, nor is a role given that goes in the same moment."""
    people, system = lasting_people, policy.system()
    bosses = (people.super_admin, people.bob)
    grant_role(system_actor(), "super-admin", people.bob, system)

    def take(number):
        try:
            revoke_role(system_actor(), "super-admin", bosses[number], system)
        except Conflict:
            return "refused"
        return "done"

    assert sorted(in_threads(2, take)) == ["done", "refused"]
    boss = next(as_actor(one) for one in bosses if may(one, Permit.SYSTEM_MANAGE, system))
    row = create_role(boss, RoleRequest("Night shift", permits=("DATA_CENTER_VIEW",)))

    def give_or_delete(number):
        try:
            if number:
                delete_role(boss, row.pk)
            else:
                grant_role(boss, row.codename, people.charlie, people.physics)
        except (Conflict, NotFound):
            return "refused"
        return "done"

    assert sorted(in_threads(2, give_or_delete)) == ["done", "refused"]
    assert Role.objects.filter(pk=row.pk).exists() == may(people.charlie, Permit.DATA_CENTER_VIEW, people.physics)
