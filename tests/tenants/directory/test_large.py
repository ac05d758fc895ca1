"""A directory of 20,000 people is asked within the times that log-ins and syncs have, which would end as 503 otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.common.models import Session
from portal.events.models import Event
from tenants.models import Directory, DirectoryGroup, User
from tenants.services.directory_groups import map_group
from tests.lab.big_directory import LARGE, OUTER, PASSWORD, POPULAR, big_directory, guid_of, name_of
from tests.lab.slapd_server import SlapdServer
from tests.tenants.conftest import as_actor
from tests.tenants.directory.conftest import follow, log_in, openldap_row, token

PEOPLE, MEMBERS, OTHERS, MORE_THAN_READ = 20_000, 5_000, 100, 2_001

pytestmark = [pytest.mark.long, pytest.mark.slapd]


@pytest.fixture(scope="module")
def server() -> Iterator[SlapdServer]:
    with big_directory(people=PEOPLE, members=MEMBERS, popular_in=MORE_THAN_READ) as server:
        yield server


@pytest.fixture
def big(db: None, server: SlapdServer) -> Directory:
    return openldap_row(server)


def sign_in(directory: Directory, count: int) -> None:
    """The first so many people of the directory, as if each had logged in."""
    named = ((guid_of(number), name_of(number)) for number in range(count))
    users = User.objects.bulk_create(
        User(directory=directory, guid=guid, username=f"lab\\{name}", display_name=name, email=f"{name}@lab.example")
        for guid, name in named
    )
    end = timezone.now() + timedelta(hours=1)
    Session.objects.bulk_create(Session(session_key=user.pk.hex, user_uid=user.pk, expire_date=end) for user in users)


def test_log_in_preview_and_simulation_with_a_group_of_5000(people, big, django_assert_max_num_queries):
    boss = Client()
    boss.force_login(people.super_admin)
    address = f"/api/v1/directories/{big.pk}"
    map_group(as_actor(people.super_admin), big.pk, group=LARGE, role="end-user", target=people.physics)
    map_group(as_actor(people.super_admin), big.pk, group=OUTER, role="end-user", target=people.informatics)
    browser = Client()
    assert log_in(name_of(MEMBERS - 1), PASSWORD, browser).status_code == 302
    centers = browser.get("/api/v1/data-centers/").json()["results"]
    assert [row["name"] for row in centers] == ["informatics", "physics"]
    User.objects.filter(directory=big).delete()
    sign_in(big, MEMBERS + OTHERS)
    with django_assert_max_num_queries(30):
        plan = boss.get(f"{address}/sync/").json()
    assert (plan["looked_at"], plan["losing"], plan["is_held"]) == (MEMBERS + OTHERS, 0, False)
    assert [row["username"] for row in plan["changes"]] == [f"lab\\{name_of(number)}" for number in range(MEMBERS)]
    assert {tuple(sorted(row["joined"])) for row in plan["changes"]} == {(LARGE, OUTER)}
    simulated = boss.post(f"{address}/simulate/", {"username": name_of(0)}, content_type="application/json").json()
    ways = {group["name"]: group["way"] for group in simulated["groups"]}
    assert (simulated["kept_out"], ways) == ("", {LARGE: [LARGE], OUTER: [LARGE, OUTER]})


def test_who_is_in_more_groups_than_are_read_is_kept_out_and_no_other(people, big):
    map_group(as_actor(people.super_admin), big.pk, group=LARGE, role="end-user", target=people.physics)
    sign_in(big, 1)
    popular = User.objects.create(directory=big, guid=guid_of(PEOPLE), username=f"lab\\{POPULAR}")
    end = timezone.now() + timedelta(hours=1)
    Session.objects.create(session_key="s", user_uid=popular.pk, expire_date=end)
    popular.groups.add(DirectoryGroup.objects.get().group)
    plan = follow(big)
    assert (plan.looked_at, plan.losing) == (2, 1)
    popular.refresh_from_db()
    assert (popular.is_active, popular.kept_out) == (False, "groups")
    assert User.objects.get(guid=guid_of(0)).groups.count() == 1
    assert Directory.objects.get().sync_error == ""
    told = Event.objects.get(code="DIRECTORY_FOLLOW", severity="alert")
    assert (told.object_uid, told.data["kept_out"]) == (popular.pk, "groups")
    assert not [change for change in follow(big).changes if change.user == popular]  # told once
    assert token(POPULAR, PASSWORD).status_code == 401
    assert Event.objects.get(code="LOGIN_KEPT_OUT").data["why"] == "groups"
    boss = Client()
    boss.force_login(people.super_admin)
    simulated = boss.get(f"/directories/{big.pk}/simulate/?username={POPULAR}").content.decode()
    assert "is in more groups than are read" in simulated
