"""AZ01: every address and socket, asked by every rank, answers what this table says; one that is missing here fails."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from drf_spectacular.generators import SchemaGenerator

from compute.models import Nic, Template, Vm
from network.models import VnicProfile
from portal.jobs.models import Job
from tests.edge.access_bodies import address, body
from tests.edge.access_pages import PAGE_RANKS, PAGES
from tests.edge.access_table import API, API_RANKS, DRY_RUNS
from tests.edge.audit_trail import Trail
from tests.edge.greyed import mute, ways_out
from tests.edge.world import World, routes, undone

LED = ("peer", "admin")  # whose greyed controls have to lead somewhere
DOWN_FIRST = ("run", "delete")  # verbs of a machine that is off


def cell(answer: Any, *, rows: bool) -> str:
    if rows and answer.status_code == 200:
        return f"200:{len(answer.json()['results'])}"
    return str(answer.status_code)


def ready(world: World, operation: str) -> None:
    """The machine and its job as the operation wants them."""
    verb = operation.rstrip("/").rpartition("/")[2]
    off = verb in DOWN_FIRST or operation.startswith("DELETE")
    if verb == "move":
        Nic.objects.all().delete()  # on a network that stays in its department
    Vm.objects.update(status="down" if off else "up")
    wanted = {"cancel": "queued", "retry": "stuck", "close": "stuck"}.get(verb, "finished")
    Job.objects.filter(pk=world.job.pk).update(status=wanted)


def ask(world: World, operation: str, client: Any, *, kind: str) -> Any:
    method, path, *query = operation.split()
    ready(world, f"{method} {path}")
    asked = address(world, path) + "".join(query)
    as_json = {"content_type": "application/json"} if kind == "api" else {}
    if path.endswith("/content/"):
        return client.put(f"{asked}?offset=0", b"x", content_type="application/octet-stream")
    with_body = (body(world, f"{method} {path}"),) if method in {"POST", "PATCH", "PUT"} else ()
    return getattr(client, method.lower())(asked, *with_body, **(as_json if with_body else {}))


def look(client: Any, answer: Any, known: set[str] | None) -> list[str]:
    """What is wrong with the greyed controls of a page: they do not say why, or (each way out is tried once) lead nowhere."""
    if "html" not in answer.headers.get("Content-Type", "") or answer.status_code != HTTPStatus.OK:
        return []
    ways = ways_out(answer.content) - known if known is not None else set()
    if known is not None:
        known |= ways
    return mute(answer.content) + [way for way in ways if client.get(way).status_code != HTTPStatus.OK]


def walked(world: World, table: dict[str, str], ranks: tuple[str, ...], *, kind: str) -> dict[str, str]:
    """The answers, each of which left the record that it has to."""
    trail = Trail(world)
    found: dict[str, str] = {}
    known: dict[str, set[str]] = {rank: set() for rank in LED}
    for operation, expected in table.items():
        cells = []
        for rank in ranks:
            with undone():
                client = world.api(rank) if kind == "api" else world.browser(rank)
                answer = ask(world, operation, client, kind=kind)
                cells.append(cell(answer, rows=":" in expected))
                trail.look(operation, rank, answer)
                assert not (wrong := look(client, answer, known.get(rank))), (operation, rank, wrong)
        found[operation] = " ".join(cells)
    assert trail.gaps == []
    return found


@pytest.mark.turns
@pytest.mark.long
@pytest.mark.timeout(600)  # thousands of requests: it is work and not waiting
def test_AZ01_every_operation_answers_every_rank_as_the_table_says(world):  # noqa: N802
    assert walked(world, API, API_RANKS, kind="api") == API


@pytest.mark.long
@pytest.mark.once
def test_AZ01_a_dry_run_refuses_the_same_and_writes_nothing(world):  # noqa: N802
    asked = {f"{operation} ?dry_run=1": expected for operation, expected in DRY_RUNS.items()}
    assert walked(world, asked, API_RANKS, kind="api") == asked
    possible = [(operation, cells.split().index("200")) for operation, cells in asked.items() if "200" in cells]
    assert len(possible) > 20
    for operation, rank in possible:
        client = world.api(API_RANKS[rank])
        ready(world, operation.removesuffix(" ?dry_run=1"))
        before = everything()
        assert ask(world, operation, client, kind="api").json()["possible"], operation
        assert everything() == before, operation


def everything() -> dict[str, list[Any]]:
    """Every row of the database, but for when a token was last used."""
    rows = {model._meta.label: model._default_manager.order_by("pk") for model in apps.get_models()}
    return {
        label: [row for row in found.values() if row.pop("last_used_at", None) or True] for label, found in rows.items()
    }


def test_AZ01_every_operation_with_a_dry_run_is_in_the_table():  # noqa: N802
    found = {name for name, parameters in parameters_of_operations() if "dry_run" in parameters}
    assert found == set(DRY_RUNS)


def parameters_of_operations() -> list[tuple[str, set[str]]]:
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    return [
        (f"{method.upper()} {path}", {parameter["name"] for parameter in operation.get("parameters", [])})
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


@pytest.mark.turns
@pytest.mark.long
@pytest.mark.timeout(600)  # thousands of requests: it is work and not waiting
def test_AZ01_every_page_answers_every_rank_as_the_table_says(world):  # noqa: N802
    assert walked(world, PAGES, PAGE_RANKS, kind="page") == PAGES


def steady(answer: Any) -> tuple[int, str]:
    """What is the same twice: no number of the request, no id of its address, no CSRF token."""
    return answer.status_code, re.sub(r"[0-9a-f-]{32,36}|\b[A-Za-z0-9]{64}\b", "", answer.content.decode())


@pytest.mark.long
@pytest.mark.once
def test_AZ02_what_is_hidden_answers_as_what_is_not_there(world):  # noqa: N802
    unknown = World(world.place, world.vm, world.job, ids=dict.fromkeys(world.ids, str(uuid4())))
    for kind, table, ranks in (("api", API, API_RANKS), ("page", PAGES, PAGE_RANKS)):
        for operation in (operation for operation in table if "{uid}" in operation):
            answers = dict(zip(ranks, table[operation].split(), strict=True))
            for rank in (rank for rank in ("outsider", "other_admin", "peer") if answers[rank] == "404"):
                with undone():
                    client = world.api(rank) if kind == "api" else world.browser(rank)
                    client.cookies["csrftoken"] = "t" * 32
                    hidden, absent = (ask(ids, operation, client, kind=kind) for ids in (world, unknown))
                assert steady(hidden) == steady(absent), (operation, rank)


def test_AZ12_another_departments_things_are_not_there_to_be_used(world):  # noqa: N802
    informatics, physics = world.place.centers["informatics"], world.place.centers["physics"]
    ours = VnicProfile.objects.get(network__owner=physics).pk
    theirs = VnicProfile.objects.get(network__owner=informatics).pk
    good = {"name": "web-2", "data_center": str(physics.pk), "template": world.ids["template"]}
    Template.objects.create(
        uid=(hidden := uuid4()),
        name="theirs",
        owner=informatics,
        storage_domain=world.place.template.storage_domain,
        status="ok",
    )
    client = world.api("owner")

    def create(**changes: Any) -> Any:
        return client.post("/api/v1/vms/", good | changes, content_type="application/json")

    for name, uid in (("data_center", informatics.pk), ("template", hidden), ("nics", theirs)):
        asked, random = ([{"vnic_profile": str(one)}] if name == "nics" else str(one) for one in (uid, uuid4()))
        refused, absent = create(**{name: asked}), create(**{name: random})
        assert refused.status_code == 404
        assert steady(refused) == steady(absent)
    assert Vm.objects.count() == 1
    assert create(nics=[{"vnic_profile": str(ours)}]).status_code == 202


def test_AZ01_the_table_of_operations_is_complete():  # noqa: N802
    assert {name for name, _parameters in parameters_of_operations()} == set(API)


def test_AZ01_no_address_is_missing_from_the_tables():  # noqa: N802
    assert {operation.split()[1] for operation in API | PAGES} == set(routes())
