"""DO02: lists of 10,000 rows: pages of 200 at most, the same few queries for each, every row once however one walks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from compute.models import Vm
from compute.models.grants import VmUserGrant
from portal.common.models import Session
from portal.jobs.models import Job, Step
from tenants.models import ApiToken
from tests.edge.world import World, the_world

pytestmark = [pytest.mark.long, pytest.mark.turns]

MANY = 10_000
# Queries of one page by rank: one for the token, the rest for what its owner holds and for the rows, however many; of
# templates one more, for the data centers that may use them.
QUERIES = {
    "vms": {"owner": 4, "admin": 3, "root": 3},
    "jobs": {"owner": 4, "admin": 5, "root": 4},
    "templates": {"owner": 4, "admin": 4, "root": 4},
    "tokens": {"owner": 2, "admin": 2, "root": 2},
}


@pytest.fixture
def world(db, tmp_path) -> World:
    return the_world(tmp_path)


def copies(row: Any, count: int, **more: Callable[[int], Any]) -> list[Any]:
    """Rows like this one, each with a uid of its own."""
    fields = [field.attname for field in row._meta.concrete_fields]
    made = []
    for number in range(count):
        values = {name: getattr(row, name) for name in fields} | {"uid": uuid4()}
        made.append(type(row)(**values | {name: value(number) for name, value in more.items()}))
    return type(row).objects.bulk_create(made, batch_size=500)


def fill_vms(world: World, count: int) -> None:
    """Machines of alice's, hers by single shares."""
    there = Vm.objects.count()
    made = copies(world.vm, count, name=lambda number: f"m-{there + number:05}")
    permission = VmUserGrant.objects.get(content_object=world.vm).permission
    VmUserGrant.objects.bulk_create(
        [VmUserGrant(user=world.vm.owner, permission=permission, content_object=vm) for vm in made], batch_size=500
    )


def fill_jobs(world: World, count: int) -> None:
    """Jobs of alice's, with steps."""
    made = copies(world.job, count)
    Step.objects.bulk_create([Step(job=job, position=0, name="disk") for job in made], batch_size=500)


def fill_templates(world: World, count: int) -> None:
    """Templates of the department's own."""
    copies(
        world.place.template,
        count,
        name=lambda number: f"t-{number:05}",
        owner_id=lambda _: world.place.centers["physics"].pk,
    )


def fill_tokens(world: World, count: int) -> None:
    """Tokens of alice's."""
    token = ApiToken.objects.get(name="owner")
    copies(token, count, hash=lambda number: f"{number:064}", expires_at=lambda _: timezone.now() + timedelta(days=1))


FILL = {"vms": fill_vms, "jobs": fill_jobs, "templates": fill_templates, "tokens": fill_tokens}


@pytest.mark.parametrize("noun", FILL)
def test_DO02_ten_thousand_rows_take_the_same_queries_as_one_and_come_once_each(world, noun):  # noqa: N802
    for rank in QUERIES[noun]:
        asked(world, rank, "/api/v1/me/")  # notes that the token was used, once a minute
    few = {rank: len(asked(world, rank, f"/api/v1/{noun}/")[1]) for rank in QUERIES[noun]}
    FILL[noun](world, MANY)
    pages = {rank: asked(world, rank, f"/api/v1/{noun}/?page_size=1000000") for rank in QUERIES[noun]}
    assert {rank: len(sql) for rank, (_page, sql) in pages.items()} == few == QUERIES[noun]
    assert not [text for _page, sql in pages.values() for text in sql if "OFFSET" in text or "COUNT(" in text]
    assert len(pages["owner"][0]["results"]) == 200
    assert len(asked(world, "owner", f"/api/v1/{noun}/")[0]["results"]) == 50


def test_DO02_whoever_walks_ten_thousand_rows_of_one_moment_there_and_back_sees_each_once(world):  # noqa: N802
    fill_tokens(world, MANY)
    ApiToken.objects.update(created_at=timezone.now())  # so that their uids alone order them
    forward, last = walk(world, "/api/v1/tokens/?page_size=200", "next")
    assert len(forward) == len(set(forward)) >= MANY
    assert walk(world, last, "previous")[0] == forward


def asked(world: World, rank: str, address: str) -> tuple[dict[str, Any], list[str]]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = world.api(rank).get(address)
    assert answer.status_code == 200, answer.content
    return answer.json(), [query["sql"] for query in captured.captured_queries]


def walk(world: World, address: str, way: str) -> tuple[list[str], str]:
    """The ids of all pages from there, in the list's order, and the address of the last page."""
    found: list[str] = []
    client, there = world.api("owner"), address
    while there:
        page, address = client.get(there).json(), there
        ids = [row["id"] for row in page["results"]]
        found = found + ids if way == "next" else ids + found
        there = page[way]
    return found, address


def test_DO02_rows_that_come_and_go_while_one_walks_leave_none_out_and_show_none_twice(world):  # noqa: N802
    fill_vms(world, 100)
    client, seen = world.api("owner"), []
    page = client.get("/api/v1/vms/?page_size=10").json()
    stay = set(Vm.objects.filter(name__gte="m-00010").values_list("name", flat=True))
    while True:
        seen += [row["name"] for row in page["results"]]
        Vm.objects.filter(name=page["results"][-1]["name"]).update(name=f"gone-{len(seen)}")
        Vm.objects.filter(name=page["results"][0]["name"]).delete()
        copies(world.vm, 1, name=lambda _: f"a-{len(seen)}")  # noqa: B023
        if page["next"] is None:
            break
        page = client.get(page["next"]).json()
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)


PAGES = {("owner", "/"): 10, ("admin", "/"): 9, ("owner", "/jobs/"): 7, ("admin", "/jobs/"): 9}


def test_DO02_a_page_takes_the_same_queries_for_1_100_and_1000_machines(world):  # noqa: N802
    for count in (1, 100, 1000):
        fill_vms(world, count - Vm.objects.count())
        fill_jobs(world, count - Job.objects.filter(target_kind="vm").count())
        Session.objects.update(seen_at=timezone.now())  # that one is used is written once a minute, and not now
        found = {}
        for rank, path in PAGES:
            with CaptureQueriesContext(connection) as captured:
                assert world.browser(rank).get(path).status_code == 200
            found[rank, path] = len(captured)
        assert found == PAGES, count
