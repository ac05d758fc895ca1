"""AZ01: every address and socket, asked by every rank, answers what this table says; one that is missing here fails."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from drf_spectacular.generators import SchemaGenerator

from compute.models import Console, Template, Vm
from network.models import VnicProfile
from portal.events.models import Event
from portal.jobs.models import Job
from tenants.models import QuotaCharge
from tests.edge.world import World, routes, undone
from tests.people import PASSWORD

API_RANKS = ("nobody", "disabled", "outsider", "other_admin", "peer", "reader", "owner", "admin", "root")
# In the order of the ranks. "200:1" is a list with one row. A hidden object is 404, as one that is not there.
API = {
    "GET /api/v1/me/": "401 401 200 200 200 200 200 200 200",
    "GET /api/v1/data-centers/": "401 401 200:1 200:1 200:1 200:1 200:1 200:1 200:2",
    "POST /api/v1/data-centers/": "401 401 403 403 403 403 403 403 201",
    "GET /api/v1/data-centers/{uid}/": "401 401 404 404 200 200 200 200 200",
    "PATCH /api/v1/data-centers/{uid}/": "401 401 404 404 403 403 403 200 200",
    "GET /api/v1/data-centers/{uid}/resources/": "401 401 404 404 200 200 200 200 200",
    "PUT /api/v1/data-centers/{uid}/clusters/{resource}/": "401 401 404 404 403 403 403 403 204",
    "DELETE /api/v1/data-centers/{uid}/clusters/{resource}/": "401 401 404 404 403 403 403 403 409",
    "PUT /api/v1/data-centers/{uid}/storage-domains/{resource}/": "401 401 404 404 403 403 403 403 204",
    "DELETE /api/v1/data-centers/{uid}/storage-domains/{resource}/": "401 401 404 404 403 403 403 403 409",
    "PUT /api/v1/data-centers/{uid}/networks/{resource}/": "401 401 404 404 403 403 403 403 409",
    "DELETE /api/v1/data-centers/{uid}/networks/{resource}/": "401 401 404 404 403 403 403 403 409",
    "PUT /api/v1/data-centers/{uid}/templates/{resource}/": "401 401 404 404 403 403 403 403 204",
    "DELETE /api/v1/data-centers/{uid}/templates/{resource}/": "401 401 404 404 403 403 403 403 204",
    "GET /api/v1/providers/": "401 401 200:0 200:0 200:0 200:0 200:0 200:0 200:1",
    "POST /api/v1/providers/": "401 401 403 403 403 403 403 403 201",
    "POST /api/v1/providers/test/": "401 401 403 403 403 403 403 403 200",
    "GET /api/v1/providers/{uid}/": "401 401 404 404 404 404 404 404 200",
    "PATCH /api/v1/providers/{uid}/": "401 401 404 404 404 404 404 404 200",
    "DELETE /api/v1/providers/{uid}/": "401 401 404 404 404 404 404 404 409",
    "POST /api/v1/providers/{uid}/test/": "401 401 404 404 404 404 404 404 200",
    "GET /api/v1/clusters/": "401 401 200:1 200:1 200:1 200:1 200:1 200:1 200:1",
    "GET /api/v1/hosts/": "401 401 200:1 200:1 200:1 200:1 200:1 200:1 200:1",
    "GET /api/v1/storage-domains/": "401 401 200:1 200:1 200:1 200:1 200:1 200:1 200:1",
    "GET /api/v1/templates/": "401 401 200:1 200:1 200:1 200:1 200:1 200:1 200:1",
    "POST /api/v1/templates/": "401 401 404 404 403 403 403 202 202",
    "GET /api/v1/templates/{uid}/": "401 401 200 200 200 200 200 200 200",
    "PATCH /api/v1/templates/{uid}/": "401 401 403 403 403 403 403 403 200",
    "DELETE /api/v1/templates/{uid}/": "401 401 403 403 403 403 403 403 409",
    "GET /api/v1/images/": "401 401 200:0 200:0 200:0 200:0 200:0 200:2 200:2",
    "POST /api/v1/images/": "401 401 404 404 403 403 403 201 201",
    "GET /api/v1/images/{uid}/": "401 401 404 404 404 404 404 200 200",
    "DELETE /api/v1/images/{uid}/": "401 401 404 404 404 404 404 204 204",
    "PUT /api/v1/images/{uid}/content/": "401 401 404 404 404 404 404 200 200",
    "GET /api/v1/tokens/": "401 401 200:1 200:1 200:1 200:2 200:2 200:1 200:1",
    "POST /api/v1/tokens/": "201 401 201 201 201 403 201 201 201",
    "DELETE /api/v1/tokens/{uid}/": "401 401 404 404 404 403 204 404 404",
    "GET /api/v1/unassigned-vms/": "401 401 403 403 403 403 403 403 200:1",
    "POST /api/v1/unassigned-vms/adopt/": "401 401 403 403 403 403 403 403 202",
    "POST /api/v1/vms/{uid}/release/": "401 401 404 404 404 403 403 403 409",
    "PATCH /api/v1/vms/{uid}/": "401 401 404 404 404 403 403 403 200",
    "GET /api/v1/networks/": "401 401 200:1 200:1 200:1 200:1 200:1 200:1 200:2",
    "POST /api/v1/networks/": "401 401 404 404 403 403 403 403 202",
    "GET /api/v1/users/": "401 401 403 403 403 403 403 403 200:7",
    "POST /api/v1/users/": "401 401 403 403 403 403 403 403 201",
    "GET /api/v1/users/{uid}/": "401 401 403 403 200 403 403 403 200",
    "PATCH /api/v1/users/{uid}/": "401 401 403 403 200 403 403 403 200",
    "GET /api/v1/data-centers/{uid}/people/": "401 401 404 404 403 403 403 200:4 200:4",
    "POST /api/v1/data-centers/{uid}/people/": "401 401 404 404 403 403 403 201 201",
    "DELETE /api/v1/data-centers/{uid}/people/{user}/roles/{role}/": "401 401 404 404 403 403 403 204 204",
    "GET /api/v1/data-centers/{uid}/people/{user}/quota/": "401 401 404 404 403 403 403 200 200",
    "PUT /api/v1/data-centers/{uid}/people/{user}/quota/": "401 401 404 404 403 403 403 200 200",
    "GET /api/v1/data-centers/{uid}/quota/": "401 401 404 404 403 403 403 403 200",
    "PUT /api/v1/data-centers/{uid}/quota/": "401 401 404 404 403 403 403 403 200",
    "GET /api/v1/events/": "401 401 200:1 200:7 200:1 200:5 200:5 200:12 200:35",
    "GET /api/v1/jobs/": "401 401 200:0 200:1 200:0 200:1 200:1 200:2 200:4",
    "GET /api/v1/jobs/{uid}/": "401 401 404 404 404 200 200 200 200",
    "POST /api/v1/jobs/{uid}/cancel/": "401 401 404 404 404 403 202 202 202",
    "GET /api/v1/vms/": "401 401 200:0 200:0 200:0 200:1 200:1 200:1 200:1",
    "POST /api/v1/vms/": "401 401 404 404 202 403 202 202 202",
    "GET /api/v1/vms/{uid}/": "401 401 404 404 404 200 200 200 200",
    "DELETE /api/v1/vms/{uid}/": "401 401 404 404 404 403 202 202 202",
    "GET /api/v1/vms/{uid}/events/": "401 401 404 404 404 200:3 200:3 200:3 200:3",
    "POST /api/v1/vms/{uid}/run/": "401 401 404 404 404 403 202 202 202",
    "POST /api/v1/vms/{uid}/shut_down/": "401 401 404 404 404 403 202 202 202",
    "POST /api/v1/vms/{uid}/stop/": "401 401 404 404 404 403 202 202 202",
    "POST /api/v1/vms/{uid}/reboot/": "401 401 404 404 404 403 202 202 202",
    "POST /api/v1/vms/{uid}/consoles/": "401 401 404 404 404 403 201 201 201",
}
# The same with ``?dry_run=1``: the same refusals, and a plan instead of a job.
DRY_RUNS = {
    "POST /api/v1/unassigned-vms/adopt/": "401 401 403 403 403 403 403 403 200",
    "POST /api/v1/vms/": "401 401 404 404 200 403 200 200 200",
    "DELETE /api/v1/vms/{uid}/": "401 401 404 404 404 403 200 200 200",
    "POST /api/v1/vms/{uid}/run/": "401 401 404 404 404 403 200 200 200",
    "POST /api/v1/vms/{uid}/shut_down/": "401 401 404 404 404 403 200 200 200",
    "POST /api/v1/vms/{uid}/stop/": "401 401 404 404 404 403 200 200 200",
    "POST /api/v1/vms/{uid}/reboot/": "401 401 404 404 404 403 200 200 200",
    "POST /api/v1/vms/{uid}/consoles/": "401 401 404 404 404 403 200 200 200",
}
PAGE_RANKS = tuple(rank for rank in API_RANKS if rank != "reader")
# 302 is the log-in page for those who are not logged in, and for the others where a form leads.
PAGES = {
    "GET /": "302 302 200 200 200 200 200 200",
    "GET /search/": "302 302 200 200 200 200 200 200",
    "GET /login/": "200 200 200 200 200 200 200 200",
    "POST /login/": "302 302 302 302 302 302 302 302",
    "POST /logout/": "302 302 302 302 302 302 302 302",
    "POST /language/": "302 302 302 302 302 302 302 302",
    "POST /theme/": "302 302 302 302 302 302 302 302",
    "GET /jobs/": "302 302 200 200 200 200 200 200",
    "GET /jobs/drawer/": "302 302 200 200 200 200 200 200",
    "GET /jobs/{uid}/": "302 302 404 404 404 200 200 200",
    "GET /machines/new/": "302 302 200 200 200 200 200 200",
    "POST /machines/new/": "302 302 400 400 302 302 302 302",
    "GET /machines/{uid}/": "302 302 404 404 404 200 200 200",
    "GET /events/": "302 302 200 200 200 200 200 200",
    "GET /machines/{uid}/events/": "302 302 404 404 404 200 200 200",
    "GET /machines/{uid}/console/": "302 302 404 404 404 200 200 200",
    "POST /machines/{uid}/run/": "302 302 404 404 404 302 302 302",
    "POST /machines/{uid}/shut_down/": "302 302 404 404 404 302 302 302",
    "POST /machines/{uid}/stop/": "302 302 404 404 404 302 302 302",
    "POST /machines/{uid}/reboot/": "302 302 404 404 404 302 302 302",
    "GET /machines/{uid}/delete/": "302 302 404 404 404 200 200 200",
    "POST /machines/{uid}/delete/": "302 302 404 404 404 302 302 302",
    "GET /providers/": "302 302 403 403 403 403 403 200",
    "GET /providers/new/": "302 302 403 403 403 403 403 200",
    "POST /providers/new/": "302 302 403 403 403 403 403 302",
    "GET /providers/{uid}/": "302 302 404 404 404 404 404 200",
    "GET /providers/{uid}/edit/": "302 302 404 404 404 404 404 200",
    "POST /providers/{uid}/edit/": "302 302 404 404 404 404 404 302",
    "GET /providers/{uid}/test/": "302 302 404 404 404 404 404 302",
    "POST /providers/{uid}/test/": "302 302 404 404 404 404 404 200",
    "POST /providers/{uid}/enable/": "302 302 404 404 404 404 404 302",
    "POST /providers/{uid}/disable/": "302 302 404 404 404 404 404 302",
    "GET /providers/{uid}/remove/": "302 302 404 404 404 404 404 200",
    "POST /providers/{uid}/remove/": "302 302 404 404 404 404 404 409",
    "GET /images/": "302 302 403 200 403 403 200 200",
    "POST /images/upload/": "302 302 400 400 400 400 400 400",
    "POST /images/{uid}/delete/": "302 302 404 404 404 404 302 302",
    "GET /templates/": "302 302 200 200 200 200 200 200",
    "GET /templates/new/": "302 302 403 404 403 403 404 404",
    "POST /templates/new/": "302 302 403 404 403 403 404 404",
    "GET /templates/{uid}/": "302 302 200 200 200 200 200 200",
    "GET /templates/{uid}/edit/": "302 302 403 403 403 403 403 200",
    "POST /templates/{uid}/edit/": "302 302 403 403 403 403 403 302",
    "POST /templates/{uid}/delete/": "302 302 403 403 403 403 403 409",
    "GET /data-centers/": "302 302 200 200 200 200 200 200",
    "GET /data-centers/new/": "302 302 403 403 403 403 403 200",
    "POST /data-centers/new/": "302 302 403 403 403 403 403 302",
    "GET /data-centers/{uid}/": "302 302 404 404 200 200 200 200",
    "GET /data-centers/{uid}/edit/": "302 302 404 404 403 403 200 200",
    "POST /data-centers/{uid}/edit/": "302 302 404 404 403 403 302 302",
    "GET /data-centers/{uid}/people/": "302 302 404 404 403 403 200 200",
    "POST /data-centers/{uid}/people/": "302 302 404 404 403 403 302 302",
    "POST /data-centers/{uid}/people/{user}/remove/": "302 302 404 404 403 403 302 302",
    "GET /data-centers/{uid}/people/{user}/share/": "302 302 404 404 403 403 200 200",
    "POST /data-centers/{uid}/people/{user}/share/": "302 302 404 404 403 403 302 302",
    "GET /data-centers/{uid}/quota/": "302 302 404 404 403 403 403 200",
    "POST /data-centers/{uid}/quota/": "302 302 404 404 403 403 403 302",
    "GET /unassigned/": "302 302 403 403 403 403 403 200",
    "POST /unassigned/": "302 302 403 403 403 403 403 200",
    "GET /machines/{uid}/confirm/delete/": "302 302 404 404 404 200 200 200",
    "GET /machines/{uid}/confirm/reboot/": "302 302 404 404 404 200 200 200",
    "GET /machines/{uid}/confirm/release/": "302 302 404 404 404 200 200 200",
    "GET /machines/{uid}/confirm/shut_down/": "302 302 404 404 404 200 200 200",
    "GET /machines/{uid}/confirm/stop/": "302 302 404 404 404 200 200 200",
    "POST /machines/{uid}/release/": "302 302 404 404 404 403 403 409",
    "POST /machines/{uid}/protect/": "302 302 404 404 404 403 403 302",
    "POST /machines/{uid}/unprotect/": "302 302 404 404 404 403 403 302",
    "GET /data-centers/{uid}/networks/new/": "302 302 404 404 403 403 403 200",
    "POST /data-centers/{uid}/networks/new/": "302 302 404 404 403 403 403 302",
    "GET /users/": "302 302 403 403 403 403 403 200",
    "GET /users/new/": "302 302 403 403 403 403 403 200",
    "POST /users/new/": "302 302 403 403 403 403 403 302",
    "GET /users/{uid}/password/": "302 302 403 403 200 403 403 200",
    "POST /users/{uid}/password/": "302 302 403 403 302 403 403 302",
    "POST /users/{uid}/disable/": "302 302 403 403 409 403 403 302",
    "POST /users/{uid}/enable/": "302 302 403 403 403 403 403 302",
    "POST /data-centers/{uid}/disable/": "302 302 404 404 403 403 403 302",
    "POST /data-centers/{uid}/enable/": "302 302 404 404 403 403 403 302",
    "POST /data-centers/{uid}/assign/cluster/": "302 302 404 404 403 403 403 302",
    "POST /data-centers/{uid}/assign/storage_domain/": "302 302 404 404 403 403 403 302",
    "POST /data-centers/{uid}/assign/network/": "302 302 404 404 403 403 403 409",
    "POST /data-centers/{uid}/assign/template/": "302 302 404 404 403 403 403 302",
    "POST /data-centers/{uid}/unassign/cluster/": "302 302 404 404 403 403 403 409",
    "POST /data-centers/{uid}/unassign/storage_domain/": "302 302 404 404 403 403 403 409",
    "POST /data-centers/{uid}/unassign/network/": "302 302 404 404 403 403 403 409",
    "POST /data-centers/{uid}/unassign/template/": "302 302 404 404 403 403 403 302",
    "GET /api/v1/schema/": "200 200 200 200 200 200 200 200",
    "GET /api/v1/docs/": "200 200 200 200 200 200 200 200",
}
KINDS = {
    "clusters": "cluster",
    "storage-domains": "storage_domain",
    "networks": "network",
    "templates": "template",
}
NOUNS = {
    "data-centers": "data_center",
    "tokens": "token",
    "jobs": "job",
    "vms": "vm",
    "machines": "vm",
    "users": "user",
    "providers": "provider",
    "images": "image",
    "templates": "template",
}
TO_ADOPT = {"POST /api/v1/unassigned-vms/adopt/": ("machines", True), "POST /unassigned/": ("machine", False)}
FIXED: dict[str, dict[str, Any]] = {
    "POST /api/v1/users/": {"username": "erna", "password": "another long one 42"},
    "PATCH /api/v1/users/{uid}/": {"password": "another long one 42", "present_password": PASSWORD},
    "POST /api/v1/data-centers/{uid}/people/": {"username": "bob", "role": "end-user"},
    "PATCH /api/v1/vms/{uid}/": {"protected": True},
    "POST /api/v1/tokens/": {"username": "alice", "password": PASSWORD, "name": "more"},
    "POST /login/": {"username": "alice", "password": PASSWORD},
    "POST /language/": {"language": "el", "theme": "dark"},
    "POST /theme/": {"language": "el", "theme": "dark"},
    "PUT /api/v1/data-centers/{uid}/quota/": {"limits": {"machines": 5}},
    "PUT /api/v1/data-centers/{uid}/people/{user}/quota/": {"limits": {"machines": 5}},
}
DOWN_FIRST = ("run", "delete")  # verbs of a machine that is off


def cell(answer: Any, *, rows: bool) -> str:
    if rows and answer.status_code == 200:
        return f"200:{len(answer.json()['results'])}"
    return str(answer.status_code)


def ready(world: World, operation: str) -> None:
    """The machine and its job as the operation wants them."""
    verb = operation.rstrip("/").rpartition("/")[2]
    off = verb in DOWN_FIRST or operation.startswith("DELETE")
    Vm.objects.update(status="down" if off else "up")
    Job.objects.filter(pk=world.job.pk).update(status="queued" if verb == "cancel" else "finished")


def provider_body(world: World, operation: str) -> dict[str, Any]:
    old = world.place.provider
    if operation.startswith("PATCH"):
        return {"name": "renamed"}
    if operation == "POST /providers/{uid}/edit/":
        return {"name": "renamed", "kind": old.kind, "address": old.address}
    new = {"kind": old.kind, "address": f"{old.address}2"}
    if operation in {"POST /api/v1/providers/", "POST /providers/new/"}:
        return new | {"name": "second"}
    return new if operation == "POST /api/v1/providers/test/" else {}


def network_body(world: World, operation: str) -> dict[str, Any]:
    if not operation.endswith(("/networks/", "/networks/new/")):
        return {}
    named = {"name": "second", "provider": world.ids["provider"]}
    return named | ({"data_center": world.ids["data_center"]} if "/api/" in operation else {})


def adoption_body(world: World, operation: str) -> dict[str, Any]:
    if operation not in TO_ADOPT:
        return {}
    named, several = TO_ADOPT[operation]
    chosen = world.ids["found_vm"]
    return {named: [chosen] if several else chosen, "data_center": world.ids["data_center"], "owner": ""}


def shelf_body(world: World, operation: str) -> dict[str, Any]:
    """Of images and templates."""
    if operation == "POST /api/v1/images/":
        return {"name": "disk", "format": "raw", "size_bytes": 10, "data_center": world.ids["data_center"]}
    if operation == "POST /api/v1/templates/":
        named = {name: world.ids[name] for name in ("data_center", "storage_domain")}
        return {"name": "new", "image": world.ids["ready_image"]} | named
    if operation == "POST /templates/{uid}/edit/":
        return {"name": "ours", "icon": "server", "memory_mib": 256, "memory_min_mib": 128, "vcpus": 1}
    return {}


def body(world: World, operation: str) -> dict[str, Any]:
    if operation in FIXED:
        return FIXED[operation]
    if found := adoption_body(world, operation) or network_body(world, operation):
        return found
    if "/people/" in operation or operation.startswith(("POST /users/", "POST /data-centers/{uid}/quota/")):
        known = {"username": "bob" if "/people/" in operation else "erna", "role": "end-user", "machines": "5"}
        return known | {"password": "another long one 42", "present": PASSWORD}
    if found := shelf_body(world, operation):
        return found
    if "/providers/" in operation:
        return provider_body(world, operation)
    if operation in {"POST /api/v1/vms/", "POST /machines/new/"}:
        wish = {"name": "web-2", "data_center": world.ids["data_center"], "template": world.ids["template"]}
        return wish if "/api/" in operation else wish | {"action": "create", "key": "k" * 32}
    if operation.split()[1].endswith(("data-centers/", "data-centers/new/", "/edit/")):
        return {"name": "physics" if "/edit/" in operation else "chemistry", "description": "ours"}
    if operation.startswith("PATCH"):
        return {"description": "ours"}
    if "/data-centers/" in operation and operation.split("/")[-2] in world.ids:
        return {"id": world.ids[operation.split("/")[-2]]}
    return {}


def ask(world: World, operation: str, client: Any, *, kind: str) -> Any:
    method, path, *query = operation.split()
    noun = NOUNS.get(path.removeprefix("/api/v1").split("/")[1], "")
    ready(world, f"{method} {path}")
    resource = world.ids.get(KINDS.get(path.split("/")[-3:][0], ""), "")
    address = path.format(
        uid=world.ids.get(noun, ""), resource=resource, user=world.ids.get("user", ""), role="end-user"
    ) + "".join(query)
    as_json = {"content_type": "application/json"} if kind == "api" else {}
    if path.endswith("/content/"):
        return client.put(f"{address}?offset=0", b"x", content_type="application/octet-stream")
    with_body = (body(world, f"{method} {path}"),) if method in {"POST", "PATCH", "PUT"} else ()
    return getattr(client, method.lower())(address, *with_body, **(as_json if with_body else {}))


def walked(world: World, table: dict[str, str], ranks: tuple[str, ...], *, kind: str) -> dict[str, str]:
    found = {}
    for operation, expected in table.items():
        cells = []
        for rank in ranks:
            with undone():
                client = world.api(rank) if kind == "api" else world.browser(rank)
                cells.append(cell(ask(world, operation, client, kind=kind), rows=":" in expected))
        found[operation] = " ".join(cells)
    return found


def test_AZ01_every_operation_answers_every_rank_as_the_table_says(world):  # noqa: N802
    assert walked(world, API, API_RANKS, kind="api") == API


def test_AZ01_a_dry_run_refuses_the_same_and_writes_nothing(world):  # noqa: N802
    asked = {f"{operation} ?dry_run=1": expected for operation, expected in DRY_RUNS.items()}
    assert walked(world, asked, API_RANKS, kind="api") == asked
    before = [table.objects.count() for table in (Vm, Job, Console, Event, QuotaCharge)]
    for operation in asked:
        rank = "root" if "adopt" in operation else "owner"
        assert ask(world, operation, world.api(rank), kind="api").json()["possible"], operation
    assert [table.objects.count() for table in (Vm, Job, Console, Event, QuotaCharge)] == before


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


@pytest.mark.long
def test_AZ01_every_page_answers_every_rank_as_the_table_says(world):  # noqa: N802
    assert walked(world, PAGES, PAGE_RANKS, kind="page") == PAGES


def steady(answer: Any) -> tuple[int, str]:
    """What is the same twice: no number of the request, no id of its address, no CSRF token."""
    return answer.status_code, re.sub(r"[0-9a-f-]{32,36}|\b[A-Za-z0-9]{64}\b", "", answer.content.decode())


@pytest.mark.long
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
