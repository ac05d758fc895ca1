"""AZ04: a body says what its documentation lists, and nothing of what is ours to decide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core import serializers
from drf_spectacular.generators import SchemaGenerator

from compute.models import Console, Disk, Nic, Vm
from portal.jobs.models import Job
from tenants.models import ApiToken, QuotaCharge
from tests.edge.access_bodies import address, body
from tests.edge.world import World

pytestmark = [pytest.mark.long, pytest.mark.once]

OURS = (
    "owner", "owner_id", "user", "department", "tenant", "quota", "status", "is_staff", "is_superuser", "is_active", "host", "host_id", "cluster",
    "provider", "storage_domain", "external_id", "id", "uid", "pk", "created_by", "created_at", "addresses", "sealed_initial_run", "hash", "token",
    "ticket", "session_hash", "role", "permits", "run_as", "__proto__", "constructor", "_state", "",
)  # fmt: skip
TABLES = (Vm, Disk, Nic, Job, ApiToken, QuotaCharge, Console)


def bodies() -> list[str]:
    """Every operation that takes JSON."""
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    return sorted(
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    )


def rows() -> str:
    ApiToken.objects.update(last_used_at=None)
    return "".join(serializers.serialize("json", table.objects.order_by("pk")) for table in TABLES)


def refused(world: World, operation: str, data: Any) -> list[str]:
    """The fields that a 400 names; asserts that it was one."""
    method, path = operation.split()
    call = getattr(world.api("root"), method.lower())
    answer = call(address(world, path), json.dumps(data), content_type="application/json")
    assert answer.status_code == 400, (operation, data, answer.content)
    return [reason.get("field", "") for reason in answer.json()["reasons"]]


def test_AZ04_fields_that_are_ours_are_refused_by_name_and_nothing_is_written(world):  # noqa: N802
    before = rows()
    for operation in bodies():
        good = body(world, operation)
        known = set(good)
        for name in set(OURS) - known:
            assert refused(world, operation, good | {name: "x"}) == [name], operation
        assert set(refused(world, operation, good | dict.fromkeys(OURS, 1))) >= set(OURS) - known
    assert {operation.split()[0] for operation in bodies()} == {"POST", "PATCH", "PUT"}
    assert rows() == before


def test_AZ04_so_are_they_deeper_in_the_body(world):  # noqa: N802
    before, good = rows(), body(world, "POST /api/v1/vms/")
    for name in OURS:
        assert refused(world, "POST /api/v1/vms/", good | {"initial_run": {name: "x"}}) == [
            f"initial_run.{name}".strip(".")
        ]
        nic = {"vnic_profile": world.ids["template"], name: "x"}
        assert refused(world, "POST /api/v1/vms/", good | {"nics": [nic]}) == [f"nics.0.{name}".strip(".")]
    assert rows() == before


def test_AZ04_a_form_takes_nothing_of_it(world):  # noqa: N802
    stray = {name: "x" for name in OURS if name} | {"owner": str(world.place.users["bob"].pk), "status": "up"}
    answer = world.browser("owner").post("/machines/new/", stray | body(world, "POST /machines/new/"))
    assert answer.status_code == 302
    made = Vm.objects.get(name="web-2")
    assert (made.owner, made.status, made.data_center) == (
        world.place.users["alice"],
        "creating",
        world.place.centers["physics"],
    )
    assert str(made.pk) not in stray.values()
