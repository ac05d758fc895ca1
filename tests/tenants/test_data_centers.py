"""Data centers: made, changed, disabled, and who may."""

from __future__ import annotations

import pytest

from portal.common.access import access_version
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted, PreconditionFailed
from tenants.models import DataCenter
from tenants.selectors import data_centers
from tenants.services.data_centers import (
    DataCenterEdit,
    create_data_center,
    data_center_version,
    edit_data_center,
    set_data_center_enabled,
)
from tests.tenants.conftest import as_actor


def test_a_name_is_checked_and_taken_once_whatever_its_case(people):
    root = as_actor(people.super_admin)
    for name in ("", "a b", "x" * 65, "<script>"):
        with pytest.raises(Invalid) as refused:
            create_data_center(root, name=name)
        assert refused.value.reasons[0].field == "name"
    with pytest.raises(Conflict):
        create_data_center(root, name="PHYSICS")
    with pytest.raises(NotPermitted):
        create_data_center(as_actor(people.physics_admin), name="more")


def test_its_admin_changes_the_description_and_only_a_super_admin_the_name(people):
    admin, root = as_actor(people.physics_admin), as_actor(people.super_admin)
    assert edit_data_center(admin, people.physics.pk, DataCenterEdit(description="ours")).description == "ours"
    with pytest.raises(NotPermitted):
        edit_data_center(admin, people.physics.pk, DataCenterEdit(name="chemistry"))
    with pytest.raises(NotFound):
        edit_data_center(as_actor(people.informatics_admin), people.physics.pk, DataCenterEdit(description="theirs"))
    assert edit_data_center(root, people.physics.pk, DataCenterEdit(name="Physics")).name == "Physics"
    assert DataCenter.objects.get(pk=people.physics.pk).description == "ours"


def test_an_edit_of_what_another_changed_meanwhile_is_refused(people):
    root, seen = as_actor(people.super_admin), data_center_version(people.physics)
    edit_data_center(root, people.physics.pk, DataCenterEdit(description="first", version=seen))
    with pytest.raises(PreconditionFailed):
        edit_data_center(root, people.physics.pk, DataCenterEdit(description="second", version=seen))
    assert DataCenter.objects.get(pk=people.physics.pk).description == "first"


def test_AZ15_a_disabled_data_center_is_there_for_nobody_but_super_admins_until_enabled_again(people):  # noqa: N802
    root, alice = as_actor(people.super_admin), as_actor(people.alice)
    before = access_version(people.alice.pk)
    with pytest.raises(NotPermitted):
        set_data_center_enabled(as_actor(people.physics_admin), people.physics.pk, enabled=False)
    set_data_center_enabled(root, people.physics.pk, enabled=False)
    assert people.physics not in data_centers(alice)
    assert people.physics in data_centers(root)
    assert access_version(people.alice.pk) > before
    set_data_center_enabled(root, people.physics.pk, enabled=True)
    assert people.physics in data_centers(alice)
