"""What is asked with every request is written once: the same text, the same rows, and nothing of an answer kept."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from portal.common.actor import system_actor
from tenants import holdings, policy, shares
from tenants.holdings import CODENAME, _told, grants_to
from tenants.holdings import holdings as read
from tenants.models import DataCenter, DataCenterGroupGrant, DataCenterUserGrant, Role, User
from tests.tenants.conftest import as_actor

GRANTS = (DataCenterUserGrant, DataCenterGroupGrant)


def both_ways(people) -> None:
    """Alice holds one role herself and another through a group; one of bob's, one expired and one of nobody stand beside."""
    group = Group.objects.create(name="readers")
    people.alice.groups.add(group)
    policy.grant(system_actor(), "read-only-admin", group, people.physics)
    past = timezone.now() - timedelta(minutes=1)
    policy.grant(system_actor(), "data-center-admin", people.alice, people.physics, expires_at=past)


def test_a_compiled_query_has_the_text_and_the_rows_of_a_fresh_one(people):
    both_ways(people)
    for user in (people.alice, people.charlie):
        fresh = _told(grants_to(user.pk, *GRANTS))[: holdings.FEW + 1]
        kept = holdings._few(*GRANTS, holdings.FEW + 1)
        assert kept is holdings._few(*GRANTS, holdings.FEW + 1)
        text, values = fresh.query.sql_with_params()  # where no expression stands in brackets
        assert (kept.sql.replace("(%s)", "%s"), tuple(kept._filled({"user": user.pk}))) == (text, values)
        assert sorted(kept.rows(user=user.pk)) == sorted(fresh)
    assert {name for _uid, _role, name in holdings._few(*GRANTS, 9).rows(user=people.alice.pk)} == {"", "readers"}


def test_a_compiled_subquery_is_the_querysets_own(people):
    both_ways(people)
    codenames = (CODENAME + "end-user", CODENAME + "read-only-admin")
    for which in (0, 1):
        rows = grants_to(people.alice.pk, *GRANTS)[which].filter(permission__codename__in=codenames)
        kept = shares._shared_by(which, *GRANTS, codenames).subquery(user=people.alice.pk)
        there = DataCenter.objects.filter(pk__in=kept)
        assert list(there) == list(DataCenter.objects.filter(pk__in=rows.values("content_object"))) == [people.physics]
        assert not there.filter(pk__in=shares._shared_by(which, *GRANTS, codenames).subquery(user=uuid4()))


def test_a_slot_that_nothing_fills_is_an_error(db):
    with pytest.raises(KeyError):
        holdings._above().rows()


def test_a_text_outlives_what_it_is_asked_about(people, django_assert_num_queries):
    """A grant taken, one that runs out, a role that is worth less, an account and a data center disabled: all at once."""
    alice = as_actor(people.alice)

    def worth() -> tuple[bool, bool]:
        mine = read(alice)
        return people.physics.pk in mine.enabled, "VM_CREATE" in {
            permit for role in mine.centers.roles(people.physics.pk) for permit in mine.permits[role]
        }

    assert worth() == (True, True)
    with django_assert_num_queries(1):
        worth()
    own = DataCenterUserGrant.objects.filter(user=people.alice)
    own.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert worth() == (False, False)
    own.update(expires_at=timezone.now() + timedelta(hours=1))
    DataCenter.objects.filter(pk=people.physics.pk).update(enabled=False)
    assert worth() == (False, True)
    DataCenter.objects.filter(pk=people.physics.pk).update(enabled=True)
    Role.objects.filter(codename="end-user").update(permits=["VM_VIEW"])
    assert worth() == (True, False)
    Role.objects.filter(codename="end-user").update(permits=["VM_VIEW", "VM_CREATE"])
    assert worth() == (True, True)
    User.objects.filter(pk=people.alice.pk).update(is_active=False)
    assert worth() == (False, False)
