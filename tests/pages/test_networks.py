"""A data center's own networks through the pages and the API."""

from __future__ import annotations

from http import HTTPStatus
from uuid import uuid4

from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute.models import Host
from compute.sync.inventory import sync_provider
from network.models import FoundNetwork, Network
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from tenants.models import DataCenter
from tests.doubles.hypervisor_state import put


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


def plant(demo, name: str, cidr: str, *, portal: str = "") -> str:
    """Somebody else's network, or another portal's, on the hypervisor; its id there."""
    uid = str(uuid4())
    marker = {"portal_id": portal, "uid": uid} if portal else None
    with demo.double.store.change() as db:
        put(db, "network", uid, {"name": name, "cidr": cidr, "marker": marker, "leases": {}})
    return uid


def test_ranges_of_others_are_avoided_and_refused_by_name(demo):
    provider, client = Provider.objects.get(), demo.browser("admin")
    plant(demo, "bystander", "10.99.2.0/24", portal=str(uuid4()))
    plant(demo, "lan", "10.99.3.128/25")
    sync_provider(provider)
    asked = {"name": "lab", "provider": str(provider.pk), "cidr": "10.99.3.0/24"}
    refused = client.post(f"{place()}networks/new/", asked)
    assert refused.status_code == HTTPStatus.BAD_REQUEST
    assert "The range overlaps 10.99.3.128/25 of the network lan on this provider." in refused.content.decode()
    assert not Network.objects.filter(name="lab").exists()
    over_api = {"data_center": str(DataCenter.objects.get(name="physics").pk), **asked}
    [reason] = client.post("/api/v1/networks/", over_api, content_type="application/json").json()["reasons"]
    assert (reason["field"], reason["network"], reason["range"]) == ("cidr", "lan", "10.99.3.128/25")
    made = client.post(f"{place()}networks/new/", asked | {"cidr": ""})
    assert run_to_end(made.headers["Location"].rstrip("/").rpartition("/")[2]).status == "finished"
    assert Network.objects.get(name="lab").cidr == "10.99.4.0/24"


def test_a_network_that_came_meanwhile_fails_the_job_by_name_in_the_readers_language(demo):
    client, provider = demo.browser("admin"), Provider.objects.get()
    made = client.post(f"{place()}networks/new/", {"name": "lab", "provider": str(provider.pk), "cidr": ""})
    plant(demo, "bystander", "10.99.2.0/24")
    uid = made.headers["Location"].rstrip("/").rpartition("/")[2]
    assert run_to_end(uid).status == "failed"
    error = client.get(f"/api/v1/jobs/{uid}/").json()["error"]
    assert error["code"] == "range_overlaps"
    assert error["text"] == (
        "The range overlaps 10.99.2.0/24 of the network bystander on this hypervisor. Choose another range."
    )
    client.post("/language/", {"language": "el", "theme": "auto"})
    page = client.get(f"/jobs/{uid}/").content.decode()
    assert page.count("10.99.2.0/24 του δικτύου bystander") == 2, "above, and at the step that failed"
    assert "overlaps" not in page
    assert not Network.objects.filter(name="lab").exists()


def test_without_a_free_range_the_page_says_what_helps(demo):
    provider = Provider.objects.get()
    plant(demo, "whole", "10.96.0.0/14")
    sync_provider(provider)
    asked = {"name": "lab", "provider": str(provider.pk), "cidr": ""}
    answer = demo.browser("admin").post(f"{place()}networks/new/", asked)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "Name a range outside of it" in answer.content.decode()


def test_a_providers_page_and_api_tell_all_its_networks_and_bridges(demo):
    provider, client = Provider.objects.get(), demo.browser("admin")
    plant(demo, "lan", "192.0.2.0/24")
    plant(demo, "theirs", "198.51.100.0/24", portal=str(uuid4()))
    with demo.double.store.change() as db:
        put(db, "bridge", "br0", {"active": True})
    sync_provider(provider)
    found = client.get(f"/api/v1/providers/{provider.pk}/networks/").json()["results"]
    told = {row["name"]: (row["kind"], row["owner"], row["ranges"]) for row in found}
    assert told["lan"] == ("network", "", ["192.0.2.0/24"])
    assert told["theirs"] == ("network", "portal", ["198.51.100.0/24"])
    assert told["br0"] == ("bridge", "", [])
    assert [owner for _kind, owner, _ranges in told.values()].count("ours") == 2
    page = client.get(f"/providers/{provider.pk}/").content.decode()
    for words in ("lan", "br0", "192.0.2.0/24", "another portal", "this portal"):
        assert words in page
    assert "does not tell the bridges" not in page
    Host.objects.update(tells_bridges=False)
    assert "does not tell the bridges of double" in client.get(f"/providers/{provider.pk}/").content.decode()


def test_a_compare_in_which_nothing_changed_writes_no_network(demo):
    provider = Provider.objects.get()
    sync_provider(provider)
    with CaptureQueriesContext(connection) as seen:
        sync_provider(provider)
    assert [
        each["sql"] for each in seen if "foundnetwork" in each["sql"] and not each["sql"].startswith("SELECT")
    ] == []


def test_a_network_of_ours_that_stopped_or_went_is_not_operational_until_it_is_back(demo):
    provider = Provider.objects.get()
    ours = Network.objects.get(name="physics")
    body = demo.double.things("network")[str(ours.pk)]
    for change, status in (({"active": False}, "non_operational"), ({"active": True}, "operational")):
        with demo.double.store.change() as db:
            put(db, "network", str(ours.pk), body | change)
        sync_provider(provider)
        ours.refresh_from_db()
        assert ours.status == status
    demo.double.remove("network", str(ours.pk))
    sync_provider(provider)
    ours.refresh_from_db()
    assert ours.status == "non_operational"
    assert not FoundNetwork.objects.filter(external_id=str(ours.pk)).exists()


def test_a_bridge_is_offered_assigned_used_and_taken_back_through_the_pages(demo):
    provider, client = Provider.objects.get(), demo.browser("admin")
    with demo.double.store.change() as db:
        put(db, "bridge", "br0", {"active": True})
    sync_provider(provider)
    home, found = f"/providers/{provider.pk}/", FoundNetwork.objects.get(name="br0")
    offer = f"{home}networks/{found.pk}/offer/"
    page = client.get(home).content.decode()
    assert offer in page
    assert page.count('title="The portal made it: it is its data center&#x27;s."') == 2, (
        "the departments' own are greyed"
    )
    warned = client.get(offer).content.decode()
    assert "holds a machine to its own MAC address" in warned
    assert 'id="name-error"' in client.post(offer, {"name": "no good"}).content.decode()
    assert client.post(offer, {"name": "LAN"}).headers["Location"] == f"{home}#networks"
    assert "offered already, as LAN" in client.get(offer).content.decode()
    lan = Network.objects.get(name="LAN")
    back = f"/networks/{lan.pk}/take-back/"
    assert back in client.get(home).content.decode()
    client.post(f"{place()}assign/network/", {"id": str(lan.pk)})
    alice = demo.browser("alice")
    seen = alice.get(place()).content.decode()
    assert "addresses are given by what is on it" in seen
    assert "machines on it reach whatever else is on it" in client.get(place()).content.decode()
    assert "LAN" in [profile["name"] for profile in _profiles(demo, "alice")]
    assert "LAN" not in [profile["name"] for profile in _profiles(demo, "charlie")]
    assert "LAN: there before the portal." in alice.get("/machines/new/").content.decode()
    refused = client.post(back)
    assert refused.status_code == HTTPStatus.CONFLICT
    assert "Assigned to 1 data center:" in refused.content.decode()
    demo.double.remove("bridge", "br0")
    sync_provider(provider)
    assert "offered, and not there any more" in client.get(home).content.decode()
    assert "gone from its host" in alice.get(place()).content.decode()
    client.post(f"{place()}unassign/network/", {"id": str(lan.pk)})
    assert client.post(back).headers["Location"] == f"{home}#networks"
    assert not Network.objects.filter(pk=lan.pk).exists()


def test_the_api_offers_tells_what_that_means_and_takes_back(demo):
    provider, client = Provider.objects.get(), demo.browser("admin")
    plant(demo, "lan", "192.0.2.0/24")
    sync_provider(provider)
    listed = f"/api/v1/providers/{provider.pk}/networks/"
    rows = {row["name"]: row for row in client.get(listed).json()["results"]}
    assert (rows["lan"]["offered_as"], rows["lan"]["reasons"]) == (None, [])
    assert [one["code"] for one in rows["lan"]["warnings"]] == ["offered_is_shared", "offered_reaches_host"]
    ours = next(row for row in rows.values() if row["owner"] == "ours")
    assert [one["code"] for one in ours["reasons"]] == ["network_ours"]
    asked = f"{listed}{rows['lan']['id']}/offer/"
    made = client.post(asked, {}, content_type="application/json")
    assert made.status_code == HTTPStatus.CREATED, made.json()
    network = made.json()["network"]
    assert (network["name"], network["offered"], network["cidr"], network["data_center"]) == (
        "lan",
        "network",
        "",
        None,
    )
    rows = {row["name"]: row for row in client.get(listed).json()["results"]}
    assert rows["lan"]["offered_as"] == network["id"]
    again = client.post(asked, {}, content_type="application/json")
    assert (again.status_code, again.json()["reasons"][0]["code"]) == (HTTPStatus.CONFLICT, "already_offered")
    for status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
        assert client.delete(f"/api/v1/networks/{network['id']}/offer/").status_code == status
