"""Lists of the API give what a page's filter gives; what a filter names wrongly is told, not left out."""

from __future__ import annotations

from uuid import uuid4

import pytest

from compute.models import Vm
from tests.edge.world import World


def found(world: World, rank: str, path: str) -> list[str]:
    """The names in a list's answer."""
    answer = world.api(rank).get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.content
    return [row.get("name") or row["username"] for row in answer.json()["results"]]


def test_machines_are_found_by_name_address_status_and_data_center(world: World):
    Vm.objects.filter(pk=world.vm.pk).update(addresses=[{"mac": "", "ip": "10.9.8.7", "source": "lease"}])
    here = world.ids["data_center"]
    for asked, is_there in (
        ("search=WEB", True),
        ("search=mail", False),
        ("search=10.9.8", True),
        ("status=up", True),
        ("status=down", False),
        (f"data_center={here}&status=up&search=web-1", True),
        (f"data_center={uuid4()}", False),
    ):
        assert found(world, "owner", f"vms/?{asked}") == (["web-1"] if is_there else []), asked
    assert found(world, "outsider", "vms/?search=web") == [], "a filter shows no more than the list"


@pytest.mark.parametrize("asked", ["status=flying", "data_center=physics", f"search={'x' * 65}", "search=a&search=b"])
def test_a_filter_that_means_nothing_is_refused_by_name(world: World, asked: str):
    answer = world.api("owner").get(f"/api/v1/vms/?{asked}")
    assert answer.status_code == 400
    assert [reason["field"] for reason in answer.json()["reasons"]] == [asked.partition("=")[0]]


def test_other_lists_are_searched_too(world: World):
    assert found(world, "root", "users/?search=ALI") == ["alice"]
    assert found(world, "root", "templates/?search=tiny") == ["Tiny Linux"]
    assert found(world, "root", "templates/?search=zzz") == []
    assert found(world, "root", "data-centers/?search=phys") == ["physics"]
    assert found(world, "root", "unassigned-vms/?search=MAI") == ["mail"]
    assert found(world, "root", f"unassigned-vms/?provider={world.place.provider.pk}") == ["mail"]
    assert found(world, "root", f"unassigned-vms/?provider={uuid4()}") == []


def test_whoever_comes_without_a_token_is_told_how_to_get_one(world: World):
    answer = world.browser("nobody").get("/api/v1/vms/")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    assert "POST /api/v1/tokens/" in answer.json()["detail"]
    for entry in ("/api/", "/api/v1/"):
        assert world.browser("nobody").get(entry).headers["Location"] == "/api/v1/docs/"
