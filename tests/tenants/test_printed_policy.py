"""The policy in print is the policy: the page under version control, and what the roles are worth when they are held."""

from __future__ import annotations

from pathlib import Path

import polib
import pytest
from django.conf import settings

from portal.common.actor import system_actor
from tenants import policy
from tenants.fitting import fits
from tenants.kinds import kinds
from tenants.models import Role, User
from tenants.permits import Permit
from tenants.predefined import OF_SYSTEM, PREDEFINED
from tests.tenants.conftest import as_actor
from tests.tenants.printed_policy import KINDS, printed


@pytest.mark.once
def test_the_printed_policy_is_the_policy():
    there = (Path(settings.BASE_DIR) / "docs" / "policy.md").read_text()
    assert there == printed(), "print it anew: python -m tests.tenants.printed_policy > docs/policy.md"


@pytest.mark.once
def test_every_kind_of_object_is_in_it_and_can_be_given_a_role():
    assert {kind.name for kind in kinds()} == set(KINDS)
    assert [kind.name for kind in kinds() if kind.user_grants is None or kind.group_grants is None] == []
    makers = {role for kind in kinds() for role in kind.of_maker}
    assert makers <= {role.codename for role in PREDEFINED}


@pytest.mark.once
def test_what_the_roles_are_is_said_in_greek_too():
    file = Path(settings.BASE_DIR) / "portal" / "locale" / "el" / "LC_MESSAGES" / "django.po"
    known = {entry.msgid for entry in polib.pofile(str(file)) if entry.translated()}
    assert [role.name for role in PREDEFINED if role.description not in known] == []


def test_a_role_is_worth_what_is_printed_wherever_it_is_held(people):
    """Every role x permit x scope, by the policy itself."""
    for role in PREDEFINED:
        for scope in (policy.system(), people.physics):
            if not fits(role.permits, "system" if scope == policy.system() else "data_center"):
                continue
            user = User.objects.create(username=f"{role.codename}-{scope}")
            policy.grant(system_actor(), role.codename, user, scope)
            held = policy.permits_on(as_actor(user), [people.physics, people.informatics])
            assert held[people.physics.pk] == role.permits, (role.codename, scope)
            beyond = role.permits if scope == policy.system() else frozenset()
            assert held[people.informatics.pk] == beyond, (role.codename, scope)
            reader = policy.permits_on(as_actor(user, scope="read"), [people.physics])[people.physics.pk]
            assert reader == {permit for permit in role.permits if permit.endswith("_VIEW")}


def test_the_rows_are_what_is_printed(people):
    rows = {row.codename: set(row.permits) for row in Role.objects.filter(predefined=True)}
    assert rows == {role.codename: {permit.value for permit in role.permits} for role in PREDEFINED}
    assert {role.codename for role in PREDEFINED if OF_SYSTEM & role.permits} == {"super-admin"}
    assert {permit for role in PREDEFINED for permit in role.permits} == set(Permit)
