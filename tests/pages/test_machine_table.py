"""The list of machines as who runs data centers sees it: a table that its address filters and sorts."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlencode

import pytest

from compute.models import Vm
from portal import page_parts
from tests.pages.test_machines import _more_like, _queries

TABLE_QUERIES = 11


@pytest.fixture
def two(demo):
    return demo.make_vm("alice", name="of-alice"), demo.make_vm("charlie", name="of-charlie")


def names(client, **asked: str) -> list[str]:
    return [card.vm.name for card in client.get(f"/?{urlencode(asked)}").context["cards"]]


def test_admins_see_a_table_of_their_own_machines_and_users_see_cards(demo, two):
    page = demo.browser("physics-admin").get("/").content.decode()
    assert f'id="row-{two[0].pk}"' in page
    assert "of-charlie" not in page
    assert "Alice" in page, "whose it is"
    assert f'id="card-{two[0].pk}"' in demo.browser("alice").get("/").content.decode()


def test_super_admins_filter_by_data_center_status_name_and_address(demo, two):
    client = demo.browser("admin")
    assert names(client) == ["of-alice", "of-charlie"]
    assert names(client, data_center=str(two[1].data_center_id)) == ["of-charlie"]
    Vm.objects.filter(pk=two[0].pk).update(status="suspended")
    assert names(client, status="suspended") == ["of-alice"]
    assert names(client, status="down") == []
    assert names(client, q="ALICE") == ["of-alice"]
    Vm.objects.filter(pk=two[1].pk).update(addresses=[{"ip": "192.0.2.77"}])
    assert names(client, q="192.0.2.7") == ["of-charlie"]
    assert names(client, q="ip") == [], "a word of how addresses are kept"
    page = client.get("/?status=down").content.decode()
    assert "No machine is like that." in page


@pytest.mark.parametrize(
    "query",
    [
        "data_center=nothing",
        "status=flying",
        "sort=name;drop",
        "after=x",
        "sort=newest&after=0",
    ],
)
def test_what_the_address_names_wrongly_is_passed_over(demo, two, query):
    cards = demo.browser("admin").get(f"/?{query}").context["cards"]
    assert {card.vm.pk for card in cards} == {vm.pk for vm in two}


@pytest.mark.parametrize("sort", ["", "newest"])
def test_table_pages_through_every_machine_once_in_its_order(demo, two, sort):
    _more_like(two[0], 120)
    client, seen, query = demo.browser("admin"), [], urlencode({"sort": sort})
    while query:
        context = client.get(f"/?{query}").context
        seen += [card.vm.pk for card in context["cards"]]
        query = context["more"]
    order = ("-created_at", "-uid") if sort else ("name", "uid")
    assert seen == list(Vm.objects.order_by(*order).values_list("pk", flat=True))


def test_table_asks_as_often_for_many_machines_as_for_one(demo, two):
    client = demo.browser("admin")
    client.get("/")
    few = _queries(client)
    _more_like(two[0], 200)
    assert few == _queries(client) <= TABLE_QUERIES


def test_row_menu_runs_a_verb_and_the_row_comes_back(demo, two):
    client = demo.browser("physics-admin")
    answer = client.post(f"/machines/{two[0].pk}/stop/", {"part": "row"}, headers={"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.OK
    assert re.match(rf'\s*<tr id="row-{two[0].pk}"[^>]*hx-swap-oob="true"', answer.content.decode())


def test_row_of_what_one_may_not_see_is_taken_away(demo, two):
    assert page_parts.row(demo.actor("bob"), two[0].pk) == f'<tr id="row-{two[0].pk}" hx-swap-oob="delete"></tr>'
