"""Giving and taking roles: what fits where, for how long, by whom, to whom."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import uuid4

import lxml.html
import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.common.access import access_version
from portal.common.actor import system_actor
from portal.common.errors import Invalid, NotFound, NotPermitted
from portal.events.models import Event
from tenants import policy
from tenants.directory.membership import put_in_groups
from tenants.fitting import fits
from tenants.models import Directory, DirectoryGroup, User
from tenants.permits import Permit
from tenants.predefined import PREDEFINED
from tenants.services import grantees
from tenants.services.directory_groups import unmap_group
from tenants.services.grantees import GrantRequest
from tenants.services.grants import grant_role, revoke_role
from tenants.tasks import end_grants
from tests.tenants.conftest import as_actor


@pytest.mark.once
def test_a_role_is_given_where_it_means_something():
    on = {
        kind: {role.codename for role in PREDEFINED if fits(role.permits, kind)}
        for kind in ("vm", "template", "network", "vnic_profile", "image", "data_center", "system")
    }
    assert on["vm"] == {"user-role", "user-vm-manager"}
    assert on["template"] == {"user-template-based-vm", "template-owner"}
    assert on["network"] == on["vnic_profile"] == {"vnic-profile-user"}
    assert on["image"] == {"disk-operator"}
    assert on["system"] - on["data_center"] == {"super-admin"}
    assert not fits({"VM_VIEW", "SYSTEM_MANAGE"}, "vm")


def test_AZ05_a_department_admin_appoints_peers_and_users_of_his_own_and_nobody_above(people):  # noqa: N802
    admin, physics, system = as_actor(people.physics_admin), people.physics, policy.system()
    for role in ("data-center-admin", "end-user", "read-only-admin", "power-user-role"):
        grant_role(admin, role, people.charlie, physics)
        revoke_role(admin, role, people.charlie, physics)
    for target, told in ((people.informatics, NotFound), (system, NotPermitted)):
        for work in (grant_role, revoke_role):
            with pytest.raises(told):
                work(admin, "end-user", people.physics_admin, target)
    with pytest.raises(NotPermitted):
        revoke_role(admin, "super-admin", people.super_admin, system)
    with pytest.raises(Invalid) as refused:
        grant_role(admin, "super-admin", people.physics_admin, physics)
    assert [reason.field for reason in refused.value.reasons] == ["role"]
    assert people.charlie.pk not in policy.people_of(physics)
    refusals = Event.objects.filter(code="GRANT_REFUSED", actor_uid=people.physics_admin.pk)
    assert {event.object_name for event in refusals} >= {"system", "physics"}


def test_what_has_an_end_is_not_given_beyond_it_not_even_to_oneself(people):
    """Else whoever is admin for a week makes himself one for good."""
    now = timezone.now()
    week, day = now + timedelta(days=7), now + timedelta(days=1)
    grant_role(system_actor(), "data-center-admin", people.alice, people.physics, expires_at=week)
    alice = as_actor(people.alice)
    for subject, end in ((people.alice, None), (people.charlie, None), (people.charlie, week + timedelta(seconds=1))):
        with pytest.raises(NotPermitted) as refused:
            grant_role(alice, "data-center-admin", subject, people.physics, expires_at=end)
        assert [reason.field for reason in refused.value.reasons] == ["expires_at"]
    grant_role(alice, "data-center-admin", people.charlie, people.physics, expires_at=day)
    # What she holds without an end besides, as an end user, is hers to give so; GRANT she has for a week.
    grant_role(alice, "end-user", people.charlie, people.physics)
    with pytest.raises(Invalid) as refused:
        grant_role(alice, "end-user", people.bob, people.physics, expires_at=now - timedelta(seconds=1))
    assert [reason.field for reason in refused.value.reasons] == ["expires_at"]
    group = Group.objects.create(name="lab")
    people.alice.groups.add(group)
    grant_role(system_actor(), "data-center-admin", group, people.physics)
    grant_role(alice, "data-center-admin", people.charlie, people.physics)  # the later of two ways counts


def test_an_end_that_passes_ends_it_and_the_list_says_so(people):
    end = timezone.now() + timedelta(hours=1)
    grant_role(system_actor(), "audit-log-manager", people.charlie, people.physics, expires_at=end)
    [told] = [one for one in grantees.page_of(system_actor(), people.physics)[0] if one.subject == people.charlie]
    assert [(given.role, given.expires_at, given.ended, given.grantor) for given in told.roles] == [
        ("audit-log-manager", end, False, "portal")
    ]
    assert policy.explain(as_actor(people.charlie), Permit.EVENT_VIEW, people.physics).allowed
    policy.grant(
        system_actor(), "audit-log-manager", people.charlie, people.physics, expires_at=end - timedelta(hours=2)
    )
    assert not policy.explain(as_actor(people.charlie), Permit.EVENT_VIEW, people.physics).allowed
    [told] = [one for one in grantees.page_of(system_actor(), people.physics)[0] if one.subject == people.charlie]
    assert [given.ended for given in told.roles] == [True]
    grantees.take(as_actor(people.physics_admin), people.physics, role="audit-log-manager", user=people.charlie.pk)
    assert people.charlie not in grantees.users_of(system_actor(), people.physics)


def test_a_group_is_named_as_its_directory_names_it(people, monkeypatch):
    admin = as_actor(people.physics_admin)
    directory = Directory.objects.create(name="UNI", kind="openldap")
    for guid in ("one", "two"):
        subject = Group.objects.create(name=f"UNI\\students {guid}")
        DirectoryGroup.objects.create(directory=directory, guid=guid, name="students", group=subject)
    with pytest.raises(Invalid) as refused:
        grantees.give(admin, people.physics, GrantRequest("end-user", group="uni\\STUDENTS"))
    assert "UNI\\students one, UNI\\students two" in refused.value.detail
    DirectoryGroup.objects.filter(guid="two").delete()
    given = grantees.give(admin, people.physics, GrantRequest("end-user", group="uni\\STUDENTS"))
    assert (given.kind, given.name) == ("group", "UNI\\students")
    for request in (GrantRequest("end-user"), GrantRequest("end-user", user="bob", group="lab")):
        with pytest.raises(Invalid):
            grantees.give(admin, people.physics, request)
    monkeypatch.setattr(grantees, "MOST_GROUPS", 0)  # what a page does not list can be taken all the same
    assert grantees.page_of(admin, people.physics)[2] == 1
    taken = grantees.take(admin, people.physics, role="end-user", group=given.subject.pk)
    assert taken.name == "UNI\\students"
    with pytest.raises(NotFound):
        grantees.take(admin, people.physics, role="end-user", group=given.subject.pk)


def test_a_group_that_holds_more_than_its_mapping_outlives_it(people):
    directory = Directory.objects.create(name="UNI", kind="openldap")
    subject = Group.objects.create(name="UNI\\students")
    row = DirectoryGroup.objects.create(directory=directory, guid=str(uuid4()), name="students", group=subject)
    for center in (people.physics, people.informatics):
        grant_role(system_actor(), "end-user", subject, center)
    root = as_actor(people.super_admin)
    unmap_group(root, directory.pk, row.pk, role="end-user", target=people.physics)
    assert Group.objects.filter(pk=subject.pk).exists()
    for role, target in (
        ("end-user", people.physics),
        ("user-vm-manager", people.informatics),
        ("\x00", people.physics),
    ):
        with pytest.raises(NotFound):
            unmap_group(root, directory.pk, row.pk, role=role, target=target)
    assert Event.objects.filter(code="GROUP_UNMAP_DONE").count() == 1, "what is not held is not taken"
    unmap_group(root, directory.pk, row.pk, role="end-user", target=people.informatics)
    assert not Group.objects.filter(pk=subject.pk).exists()


def test_an_end_that_passed_is_told_once_to_all_whom_it_concerns(people):
    group = Group.objects.create(name="lab")
    people.bob.groups.add(group)
    passed = timezone.now() - timedelta(minutes=1)
    for subject in (people.charlie, group):
        policy.grant(system_actor(), "end-user", subject, people.physics, expires_at=passed)
    policy.grant(system_actor(), "end-user", people.alice, people.informatics, expires_at=passed + timedelta(days=1))
    before = [access_version(user.pk) for user in (people.alice, people.bob, people.charlie)]
    assert [end_grants(), end_grants()] == [2, 0]
    after = [access_version(user.pk) for user in (people.alice, people.bob, people.charlie)]
    assert [new - old for old, new in zip(before, after, strict=True)] == [0, 1, 1]
    told = Event.objects.filter(code="GRANT_END", data_center_uid=people.physics.pk)
    assert {str(event.data) for event in told} == {
        str({"role": "end-user", "user": str(people.charlie.pk)}),
        str({"role": "end-user", "group": "lab"}),
    }


def test_the_grants_of_an_object_are_read_in_a_number_of_queries_that_does_not_grow(people):
    def count():
        with CaptureQueriesContext(connection) as queries:
            rows, more, _unnamed = grantees.page_of(system_actor(), people.physics)
        return len(queries), len(rows), bool(more)

    few, there, _more = count()
    for number in range(60):
        user = User.objects.create(username=f"zz-{number:02}")
        policy.grant(system_actor(), "end-user", user, people.physics)
        policy.grant(system_actor(), "user-role", Group.objects.create(name=f"lab {number}"), people.physics)
    assert there == 3
    assert count() == (few + 3, 60 + grantees.PER_PAGE, True)  # what the groups hold, and their names


def test_a_group_cannot_be_chosen_where_none_could_be_named_and_the_page_says_what_would_help(people):
    physics, told = people.physics, "There is no group yet. Groups come with a directory, which a super-admin connects."

    def choice() -> tuple[bool, str]:
        client = Client()
        client.force_login(people.physics_admin)
        page = lxml.html.document_fromstring(client.get(f"/grants/data_center/{physics.pk}/").content)
        [who], [group] = page.xpath("//select[@id='who']"), page.xpath("//option[@value='group']")
        hints = [page.get_element_by_id(name).text_content() for name in who.get("aria-describedby", "").split()]
        return group.get("disabled") is not None, " ".join(hints)

    assert choice() == (True, told)
    row = Directory.objects.create(name="lab", kind="openldap")
    assert choice() == (False, "")
    Directory.objects.update(enabled=False)
    assert choice() == (True, told)
    group = Group.objects.create(name="lab\\staff")
    DirectoryGroup.objects.create(directory=row, guid="g", name="staff", group=group)
    assert choice() == (False, "")


def forgotten_while(group: Group, *works: Callable[[], Any]) -> list[Any]:
    """What comes of works that each wait for a transaction that forgets a group."""
    answers: list[Any] = []

    def work_in_thread(work: Callable[[], Any]) -> None:
        try:
            answers.append(work())
        except IntegrityError as error:
            answers.append(error)
        finally:
            connection.close()

    threads = [Thread(target=work_in_thread, args=(work,)) for work in works]
    until = time.monotonic() + 10
    with transaction.atomic():
        group.delete()
        for thread in threads:
            thread.start()
        while waiting() < len(threads) and time.monotonic() < until:
            time.sleep(0.05)
    for thread in threads:
        thread.join()
    return answers


def waiting() -> int:
    """How many transactions wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])


@pytest.mark.postgres
def test_what_is_given_to_a_group_that_is_forgotten_in_the_same_moment_is_refused(lasting_people):
    group, path = Group.objects.create(name="lab\\gone"), f"/grants/data_center/{lasting_people.physics.pk}/"
    body = {"role": "end-user", "group": group.name}

    def by_api(**headers: str) -> Any:
        return browser().post(f"/api/v1{path}", body, content_type="application/json", headers=headers)

    def browser() -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(lasting_people.super_admin)
        return client

    answers = forgotten_while(
        group,
        lambda: browser().post(path, {"who": "group", "name": group.name, "role": "end-user"}),
        by_api,
        lambda: by_api(**{"Idempotency-Key": "k"}),
    )
    assert [answer.status_code for answer in answers] == [409] * 3
    assert all("in this very moment" in answer.content.decode() for answer in answers)
    assert Event.objects.filter(code="GRANT_REFUSED").count() == 3


@pytest.mark.postgres
def test_whose_group_is_forgotten_while_he_logs_in_is_put_in_the_others(lasting_people):
    row = Directory.objects.create(name="lab", kind="openldap")
    alice = lasting_people.alice
    gone, stays = (Group.objects.create(name=name) for name in ("lab\\gone", "lab\\stays"))
    for group in (gone, stays):
        DirectoryGroup.objects.create(directory=row, guid=group.name, name=group.name, group=group)
    alice.directory, guids = row, {gone.name, stays.name}
    [moves] = forgotten_while(gone, lambda: put_in_groups(alice, guids))
    assert [one.group for one in moves.joined] == list(alice.groups.all()) == [stays]
