"""An institute made from the command line, by the same services as the pages use."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from portal.events.models import Event
from tenants import policy, quota
from tenants.models import DataCenter, Role, User
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tests.people import PASSWORD
from tests.tenants.conftest import as_actor


def test_a_data_center_with_its_admin_and_quota(db, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    call_command("create_data_center", "physics")
    call_command("create_user", "alice")
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    call_command("create_user", "bob", password_file=str(secret))
    call_command("grant_role", "data-center-admin", "alice", data_center="physics")
    call_command("set_quota", "physics", "machines=7", "storage_gib=none")
    alice, physics = User.objects.get(username="alice"), DataCenter.objects.get()
    assert alice.check_password(PASSWORD)
    policy.authorize(as_actor(alice), Permit.GRANT, physics)
    assert [(row.dimension, row.limit) for row in quota.usage(physics)] == [(Dimension.MACHINES, 7)]
    alice.groups.add(Group.objects.create(name="students"))
    call_command("set_quota", "physics", "vcpus_running=4", group="students")
    of_groups = [row for row in quota.usage(physics, alice.pk) if row.subject == "group"]
    assert [(row.dimension, row.limit) for row in of_groups] == [(Dimension.VCPUS_RUNNING, 4)]
    assert PASSWORD not in str(list(Event.objects.values()))
    assert set(Event.objects.values_list("outcome", flat=True)) == {"done"}


@pytest.mark.parametrize(
    "words",
    [
        ("create_user", "alice", "--password-file", "/nowhere"),
        ("create_data_center", "no spaces"),
        ("grant_role", "end-user", "nobody"),
        ("set_quota", "nowhere", "machines=1"),
        ("set_quota", "nowhere", "machines=1", "--group", "nobody"),
        ("set_quota", "nowhere", "sandwiches=1"),
    ],
)
def test_what_cannot_be_done_is_one_line(db, words):
    with pytest.raises(CommandError):
        call_command(*words)
    assert not User.objects.exists()
    assert not DataCenter.objects.exists()


def test_predefined_roles_follow_this_version_and_custom_ones_stay(db):
    call_command("sync_roles")
    Role.objects.filter(codename="end-user").update(permits=[], name="of another version")
    Role.objects.create(name="our own", codename="our-own", permits=["VM_VIEW"])
    call_command("sync_roles")
    assert Permit.VM_CREATE in Role.objects.get(codename="end-user").permits
    assert Role.objects.get(codename="our-own").permits == ["VM_VIEW"]
