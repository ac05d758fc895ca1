"""What uses a quota: who sees which of it, largest first, on the page and over the API."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID, uuid4

import pytest

from compute.models import Vm
from tenants import quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tests.pages.test_machines import _queries

QUERIES = 18


@pytest.fixture
def center(demo) -> DataCenter:
    return demo.make_vm("alice", name="of-alice").data_center


@pytest.fixture
def two(demo, center) -> DataCenter:
    demo.make_vm("bob", name="of-bob", memory_mib="512")
    return center


def path(center: DataCenter, dimension: str = "memory_defined_mib") -> str:
    return f"/data-centers/{center.pk}/use/{dimension}/"


def told(demo, name: str, center: DataCenter, query: str = "") -> list[tuple[str, int, str]]:
    rows = demo.browser(name).get(path(center) + query).context["rows"]
    return [(each.name, each.amount, str(each.owner)) for each, _kind, _link in rows]


@pytest.mark.parametrize("person", ["physics-admin", "admin"])
def test_who_runs_the_data_center_sees_everything_the_largest_first(demo, two, person):
    assert told(demo, person, two) == [("of-bob", 512, "Bob"), ("of-alice", 192, "Alice")]
    assert told(demo, person, two, f"?user={demo.user('alice').pk}") == [("of-alice", 192, "Alice")]


def test_end_user_sees_his_own_and_a_sum_for_the_rest(demo, two):
    client = demo.browser("alice")
    answer = client.get(path(two))
    assert told(demo, "alice", two) == [("of-alice", 192, "Alice")]
    assert "What others have takes 512 MiB more." in answer.content.decode()
    assert "of-bob" not in answer.content.decode()
    assert "What others have" not in client.get(f"{path(two)}?user={demo.user('alice').pk}").content.decode()


def test_nobody_sees_anothers_share_or_another_departments_use(demo, two):
    bob = f"?user={demo.user('bob').pk}"
    assert demo.browser("alice").get(path(two) + bob).status_code == HTTPStatus.NOT_FOUND
    for stranger in ("charlie", "informatics-admin"):
        for query in ("", bob, f"?user={demo.user(stranger).pk}"):
            assert demo.browser(stranger).get(path(two) + query).status_code == HTTPStatus.NOT_FOUND


def test_what_is_not_there_is_not_found(demo, center):
    client = demo.browser("physics-admin")
    assert client.get(path(center, "beans")).status_code == HTTPStatus.NOT_FOUND
    assert client.get(f"{path(center)}?user={uuid4()}").status_code == HTTPStatus.NOT_FOUND
    assert client.get(f"{path(center)}?user={demo.user('charlie').pk}").status_code == HTTPStatus.NOT_FOUND
    assert client.get(f"/api/v1/data-centers/{center.pk}/consumers/beans/").status_code == HTTPStatus.NOT_FOUND


def test_every_row_leads_to_its_thing_and_a_disk_to_its_machine(demo, two):
    vm = Vm.objects.get(name="of-alice")
    client = demo.browser("physics-admin")
    assert f'href="/machines/{vm.pk}/"' in client.get(path(two)).content.decode()
    disks = client.get(path(two, "storage_gib")).content.decode()
    assert f'<a href="/machines/{vm.pk}/disks/">of-alice · disk1</a>' in disks


def test_thing_that_its_owner_may_not_see_any_more_is_counted_without_its_name(demo, two):
    vm = Vm.objects.get(name="of-alice")
    vm.vmusergrant_set.all().delete()
    text = demo.browser("alice").get(path(two)).content.decode()
    assert "192 MiB" in text
    assert "of-alice" not in text
    assert "not for your eyes any more" in text


def test_pages_show_every_charge_once_largest_first_in_a_steady_number_of_queries(demo, center):
    for number in range(120):
        consumer = quota.Consumer("vm", uuid4())
        quota.charge(consumer, center, {Dimension.SNAPSHOTS: 1 + number % 7}, user_uid=demo.user("bob").pk)
    client, seen, query = demo.browser("physics-admin"), [], "?"
    while query:
        context = client.get(path(center, "snapshots") + query).context
        seen += [(each.amount, each.uid) for each, _kind, _link in context["rows"]]
        query = f"?{context['more']}" if context["more"] else ""
    assert len(seen) == len(set(seen)) == 120
    assert [amount for amount, _uid in seen] == sorted((amount for amount, _uid in seen), reverse=True)
    assert _queries(client, path(center, "snapshots")) <= QUERIES
    assert _queries(client, path(center)) <= QUERIES


@pytest.mark.parametrize(
    "query", ["?after=x", "?after_amount=-1", "?user=me", f"?after={UUID(int=1)}&after_amount=9e9"]
)
def test_what_the_address_names_wrongly_is_passed_over(demo, two, query):
    assert len(told(demo, "physics-admin", two, query)) == 2


def test_api_pages_and_sums_alike(demo, two):
    address = f"/api/v1/data-centers/{two.pk}/consumers/memory_defined_mib/"
    admin = demo.browser("physics-admin")
    first = admin.get(f"{address}?page_size=1").json()
    second = admin.get(first["next"]).json()
    assert [row["name"] for row in first["results"] + second["results"]] == ["of-bob", "of-alice"]
    assert first["results"][0]["owner"]["username"] == "bob"
    assert (first["used"], first["others"]) == (704, 0)
    assert second["next"] is None
    own = demo.browser("alice").get(address).json()
    assert ([row["amount"] for row in own["results"]], own["used"], own["others"]) == ([192], 704, 512)
    assert demo.browser("charlie").get(address).status_code == HTTPStatus.NOT_FOUND
    assert admin.get(f"{address}?cursor=WyI5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OSIsIngiLGZhbHNlXQ").status_code == 400


def test_meters_lead_to_what_uses_them(demo, center):
    home = demo.browser("alice").get("/").content.decode()
    assert f'href="{path(center, "machines")}?user={demo.user("alice").pk}"' in home
    assert f'href="{path(center)}"' in demo.browser("physics-admin").get(f"/data-centers/{center.pk}/").content.decode()
