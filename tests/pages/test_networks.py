"""A data center's own networks through the pages and the API."""

from __future__ import annotations

from http import HTTPStatus

from network.models import Network
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from tenants.models import DataCenter


def place() -> str:
    return f"/data-centers/{DataCenter.objects.get(name='physics').pk}/"


def test_super_admin_makes_a_network_in_the_next_free_range(demo):
    client, provider = demo.browser("admin"), Provider.objects.get()
    made = client.post(f"{place()}networks/new/", {"name": "lab", "provider": str(provider.pk), "cidr": ""})
    job = run_to_end(made.headers["Location"].rstrip("/").rpartition("/")[2])
    assert job.status == "finished", job.error
    lab = Network.objects.get(name="lab")
    assert (lab.owner.name, lab.cidr, lab.status) == ("physics", "10.99.2.0/24", "operational")
    page = client.get(place()).content.decode()
    assert "10.99.2.0/24" in page
    assert "lab" in [profile["name"] for profile in _profiles(demo, "alice")]
    assert "lab" not in [profile["name"] for profile in _profiles(demo, "charlie")]


def _profiles(demo, name: str) -> list[dict[str, str]]:
    rows = demo.browser(name).get("/api/v1/networks/").json()["results"]
    return [profile for row in rows for profile in row["vnic_profiles"]]


def test_bad_taken_and_overlapping_are_refused_beside_their_fields(demo):
    client, provider = demo.browser("admin"), str(Provider.objects.get().pk)
    before = Network.objects.count()
    for values, field in (
        ({"name": "a b"}, "name"),
        ({"name": "physics"}, "name"),
        ({"name": "lab", "cidr": "10.99.0.0/16"}, "cidr"),
        ({"name": "lab", "cidr": "everything"}, "cidr"),
        ({"name": "lab", "cidr": "8.8.8.0/24"}, "cidr"),
    ):
        answer = client.post(f"{place()}networks/new/", {"provider": provider, "cidr": ""} | values)
        assert answer.status_code == HTTPStatus.BAD_REQUEST, values
        assert f'id="{field}-error"' in answer.content.decode(), values
    assert Network.objects.count() == before


def test_without_a_provider_the_page_says_what_comes_first(demo):
    Provider.objects.update(enabled=False)
    page = demo.browser("admin").get(f"{place()}networks/new/").content.decode()
    assert "Connect a hypervisor first." in page
