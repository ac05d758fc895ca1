"""The search of everything one may see."""

from __future__ import annotations

from http import HTTPStatus

from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute.models import Vm
from tests.pages.test_machines import _more_like


def found(client, query: str) -> dict[str, list[str]]:
    context = client.get("/search/", {"q": query}).context
    return {noun: [str(row) for row in context[noun]] for noun in ("machines", "data_centers", "templates", "users")}


def test_everything_is_found_by_name_and_nothing_of_others(demo):
    demo.make_vm("alice", name="physics-web")
    assert found(demo.browser("alice"), "PHYS") == {
        "machines": ["physics-web"],
        "data_centers": ["physics"],
        "templates": [],
        "users": [],
    }
    assert not any(found(demo.browser("charlie"), "phys").values())
    assert found(demo.browser("alice"), "tiny")["templates"] == ["Tiny Linux"]
    assert found(demo.browser("admin"), "alice")["users"] == ["Alice"]


def test_machine_is_found_by_its_address(demo):
    vm = demo.make_vm("alice")
    Vm.objects.update(addresses=[{"ip": "192.0.2.77"}])
    assert found(demo.browser("alice"), "192.0.2.77")["machines"] == [vm.name]


def test_nothing_found_and_nothing_asked_say_so(demo):
    client = demo.browser("alice")
    assert "Nothing you may see is called" in client.get("/search/?q=%3Cb%3E").content.decode()
    assert client.get("/search/").status_code == HTTPStatus.OK


def test_search_asks_as_often_for_many_machines(demo):
    vm = demo.make_vm("alice", name="many")
    client = demo.browser("alice")
    counts = set()
    for total in (1, 300):
        _more_like(vm, total)
        with CaptureQueriesContext(connection) as caught:
            client.get("/search/?q=m")
        counts.add(len(caught))
    assert len(counts) == 1


def test_super_admin_chooses_among_data_centers(demo):
    page = demo.browser("admin").get("/").content.decode()
    assert "All data centers" in page
    assert "All data centers" not in demo.browser("alice").get("/").content.decode()
