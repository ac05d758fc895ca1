"""What is offered of an engine's, and told of it: versions, networks, names, zones, and machines whose cluster is not known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from compute import resources
from compute.forms.vms import differences
from compute.models import Cluster, FoundVm, StorageDomain, Template, Vm, Zone
from compute.resources import resources_of
from compute.services import launch, sharing, vms
from compute.services.adoption import Adoption, adopt, plan_adoption
from compute.services.templates import TemplateEdit, edit_template
from compute.services.wishes import resolved
from network.models import Network, VnicProfile
from portal.common.actor import system_actor
from portal.common.errors import Conflict, Invalid
from portal.hypervisors.models import Provider
from portal.jobs.feed import job_json
from tenants import policy
from tenants.models import DataCenter, DataCenterUserGrant
from tests.engines import Both, the_both
from tests.jobs.conftest import run

GREEK = {"Accept-Language": "el"}


@pytest.fixture
def both(db: None, tmp_path: Path) -> Both:
    return the_both(tmp_path)


def client_of(both: Both, name: str) -> Client:
    client = Client()
    client.force_login(both.users[name])
    return client


def asked(client: Client, template: Template) -> tuple[str, list[str], str]:
    """Of the form at the address that names a template: what is chosen there, what is offered, and what is said."""
    page = client.get(f"/machines/new/?template={template.pk}")
    form = page.context["form"]
    offered = [str(uid) for uid, _label in form.fields["template"].choices]
    return form["template"].value(), offered, " ".join(map(str, get_messages(page.wsgi_request)))


def test_a_version_that_was_not_given_takes_away_none_and_what_is_not_offered_is_told(both: Both):
    alice, second = client_of(both, "alice"), both.debian
    both.double.plant_template("debian-3", "Tiny Linux", base="debian", version=3)
    both.read()
    third = Template.objects.get(external_id="debian-3")
    ours = str(both.template.pk)
    # Somewhere else the third alone was given, and the second in the same place as here.
    sharing.assign(both.actor("root"), both.centers["informatics"].pk, "template", third.pk)
    chosen, offered, said = asked(alice, second)
    assert (chosen, set(offered), said) == (str(second.pk), {str(second.pk), ours}, "")
    chosen, offered, said = asked(alice, third)
    assert (chosen, set(offered)) == ("", {str(second.pk), ours})
    assert "is not there, is not ready, or is not for you to see" in said
    sharing.assign(both.actor("root"), both.centers["physics"].pk, "template", third.pk)
    sharing.assign(both.actor("root"), both.centers["informatics"].pk, "template", second.pk)
    sharing.unassign(both.actor("root"), both.centers["informatics"].pk, "template", third.pk)
    chosen, offered, said = asked(alice, second)
    assert (chosen, set(offered)) == (str(third.pk), {str(third.pk), ours})
    assert said == "Version 3 of Tiny Linux is chosen, as it is later than version 2."
    page = alice.get(f"/templates/{second.pk}/").content.decode()
    assert f"?template={third.pk}" in page
    assert "Create machine from version 3" in page
    page = alice.get(f"/templates/{third.pk}/").content.decode()
    assert (f"?template={third.pk}" in page, "Create machine from" in page) == (True, False)
    assert asked(alice, Template.objects.get(external_id="debian"))[0] == "", "one that she may not see leads nowhere"
    assert asked(client_of(both, "root"), Template.objects.get(external_id="debian"))[0] == str(third.pk)


def test_what_has_nothing_to_do_is_neither_promised_nor_told_as_done(both: Both):
    alice, page = both.actor("alice"), client_of(both, "alice")
    skipped = []
    for name, more in {
        "none-1": {"run": False},
        "none-2": {},
        "none-3": {"run": False, "template_uid": both.template.pk},
        "none-4": {"template_uid": both.template.pk},
    }.items():
        promised = vms.plan_create(alice, both.wish(name, **more)).steps
        vm, job = vms.create_vm(alice, both.wish(name, **more))
        assert run(job).status == "finished", job.error
        told = job_json(job)
        assert [step["title"] for step in told["steps"] if step["status"] == "done"] == list(promised)
        skipped.append({step["name"] for step in told["steps"] if step["status"] == "skipped"})
        assert ("not needed" in page.get(f"/machines/{vm.pk}/").content.decode()) is bool(skipped[-1])
    first = {"make_disks", "first_boot"}
    assert skipped == [{"start"} | first, first, {"start"}, set()]


def test_a_machines_page_tells_of_which_version_it_is_and_where_and_its_host_to_those_who_may_see_that(both: Both):
    vm = both.machine()
    ours = both.machine("web-2", template_uid=both.template.pk)
    for name, told in (("alice", False), ("root", True)):
        client = client_of(both, name)
        page, other = (client.get(f"/machines/{one.pk}/").content.decode() for one in (vm, ours))
        assert ("version 2 (spring)" in page, "on engine" in page) == (True, True)
        assert ("version " in other, "on double" in other) == (False, True)
        assert [f">{one}<" in page for one in (vm.cluster.name, vm.host.name, both.engine.name)] == [told] * 3
        # Cards for alice, a table for root.
        assert client.get("/").content.decode().count("version 2 (spring)") == 1
    assert "σε engine" in client.get(f"/machines/{vm.pk}/", headers=GREEK).content.decode()


def test_a_machine_comes_only_where_its_networks_are(both: Both):
    root, physics = both.actor("root"), both.centers["physics"].pk
    both.double.put("network", "net-east", clusters=["small"])
    both.read()
    assert both.machine(run=False).cluster.name == "small", "not the one with more memory"
    both.double.put("network", "net-east", clusters=[])
    both.read()
    [reason] = vms.plan_create(both.actor("alice"), both.wish(name="web-2")).reasons
    assert (reason.code, reason.field, reason.data) == ("network_not_in_cluster", "nics", {"networks": ["lan"]})
    assert "the network lan" in reason.text
    both.double.put("network", "net-z", name="zoo", zone="east", profiles={"profile-z": "zoo"}, clusters=["small"])
    both.read()
    sharing.assign(root, physics, "network", Network.objects.get(external_id="net-z").pk)
    assert both.machine("web-2", run=False).nics.get().vnic_profile.name == "zoo", "the first that can be reached"
    both.double.put("network", "net-east", clusters=["big"])
    both.read()
    two = VnicProfile.objects.filter(external_id__in=["profile-east", "profile-z"])
    wish = both.wish(name="web-3", vnic_profile_uids=tuple(two.values_list("pk", flat=True)))
    [reason] = vms.plan_create(both.actor("alice"), wish).reasons
    assert (reason.code, reason.data) == ("network_not_in_cluster", {"networks": ["lan", "zoo"]})


def test_what_an_engine_says_of_a_template_is_not_judged_when_the_rest_is_changed(both: Both):
    root, told = both.actor("root"), {"description": "  of the engine\n", "memory_mib": 9_000_000, "vcpus": 700}
    both.double.put("template", "debian-2", **told)
    both.read()
    client, path = client_of(both, "root"), f"/templates/{both.debian.pk}/edit/"
    form = client.get(path).context["form"]
    seen = {field.name: field.value() for field in form if field.value() not in {None, False}}
    answer = client.post(path, seen | {"icon": "server"})
    assert answer.status_code == 302, answer.context["form"].errors
    assert (both.debian.icon, both.debian.description) == ("server", told["description"])
    both.double.put("template", "debian-2", memory_mib=1024)
    both.read()
    with pytest.raises(Invalid) as refused:
        edit_template(root, both.debian.pk, TemplateEdit({"memory_min_mib": 2048}))
    assert [(r.code, r.field) for r in refused.value.reasons] == [("memory_out_of_range", "memory_min_mib")]


def test_what_does_not_fit_into_a_choice_is_counted_and_old_versions_come_last(both: Both, monkeypatch: Any):
    monkeypatch.setattr(resources, "MOST_OFFERED", 3)
    for number in range(1, 5):
        both.double.plant_template(f"t-{number}", "A template", base="t-1", version=number)
    both.read()
    physics, root = both.centers["physics"], client_of(both, "root")
    kinds = {kind.kind: kind for kind in resources_of(both.actor("root"), physics)}
    named = [(row.name, row.version) for row in kinds["template"].others]
    assert (named, kinds["template"].more) == ([("A template", 4), ("A template", 3), ("A template", 2)], 2)
    assert "2 more are not listed here" in root.get(f"/data-centers/{physics.pk}/").content.decode()
    offer = launch.offered(both.actor("root"))["templates"]
    assert [row.version for row in offer.rows] == [4, 2, 1], "the latest of all three, then the rest"
    entered = {"at": "1", "go": "next", "name": "chemistry", "clusters": [str(Cluster.objects.get(name="big").pk)]}
    page = root.post("/data-centers/launch/", entered).content.decode()
    assert f"{offer.more - 1} more are not listed here" in page, "that of the other provider is left out"


def template(
    name: str = "Debian", *, kind: str = "libvirt", provider: str = "a", owner: str = "", version: int = 1
) -> Any:
    where = StorageDomain(provider=Provider(name=provider, kind=kind))
    center = DataCenter(uid=uuid4(), name=owner) if owner else None
    return Template(uid=uuid4(), name=name, storage_domain=where, owner=center, version=version)


@pytest.mark.parametrize(
    ("rows", "names_providers", "told"),
    [
        ([template(), template("Alpine")], True, []),
        ([template(), template(kind="ovirt")], False, ["on libvirt", "on oVirt"]),
        ([template(), template(kind="ovirt", version=2)], False, ["on libvirt, version 1", "on oVirt, version 2"]),
        ([template(), template(owner="physics")], False, ["of the institute", "of physics"]),
        ([template(version=2), template(version=3, provider="b")], False, ["version 2", "version 3"]),
        ([template(), template(provider="b")], False, ["number 1", "number 2"]),
        ([template(), template(provider="b")], True, ["on a", "on b"]),
        (
            [template(), template(kind="ovirt"), template(kind="ovirt", provider="b")], False,
            ["on libvirt", "on oVirt, number 1", "on oVirt, number 2"],
        ),
    ],
)  # fmt: skip
def test_templates_of_one_name_are_told_apart_without_the_names_of_providers(
    rows: list[Template], names_providers: bool, told: list[str]
):
    found = differences(rows, names_providers=names_providers)
    assert [found[row.pk] for row in rows if row.pk in found] == told


def test_zones_are_told_to_those_who_may_see_providers_and_in_their_words(both: Both):
    alice, root = client_of(both, "alice"), client_of(both, "root")
    big = Cluster.objects.get(name="big").pk
    for client, zone in ((alice, ""), (root, "East")):
        networks = client.get("/api/v1/networks/").json()["results"]
        assert {row["zone"] for row in networks if row["name"] == "lan"} == ({"East", "West"} if zone else {""})
        listed = {row["name"]: row["zone"] for row in client.get("/api/v1/clusters/").json()["results"]}
        assert listed["big"] == zone
        assert client.get(f"/api/v1/clusters/{big}/").json()["zone"] == zone
        assert ("East" in client.get(f"/clusters/{big}/").content.decode()) == bool(zone)
    both.double.put("network", "net-bare", name="bare", zone="east", profiles={})
    both.read()
    provider = root.get(f"/providers/{both.engine.pk}/")
    shown = {row.name: row.profile_names for row in provider.context["networks"] if row.name == "bare" or row.known}
    assert (shown["bare"], shown["lan"]) == ([], ["lan"])
    assert {row.name: row.zone_names for row in provider.context["storage_domains"]}["data-east"] == ["East"]
    text = provider.content.decode()
    said = (
        "none: no machine can be on it",
        "the size of a machine is chosen freely",
        "<th>Function</th>",
        "Leads elsewhere",
    )
    assert [one in text for one in said] == [True, True, True, False]
    sharing.assign(
        both.actor("root"), both.centers["physics"].pk, "storage_domain", StorageDomain.objects.get(name="data-east").pk
    )
    for name, told, words in (
        ("root", ["East"], "of the engine's zone East"),
        ("physics-admin", [], "shared by hosts"),
    ):
        reader = client_of(both, name)
        found = {row["name"]: row for row in reader.get("/api/v1/storage-domains/").json()["results"]}
        assert (found["data-east"]["shared"], found["data-east"]["zones"]) == (True, told)
        page = reader.get("/storage/").content.decode()
        assert words in page
        assert page.count("of one host") == 1, "the one of the libvirt host"
    Zone.objects.filter(name="East").update(status="not_operational")
    page = f"/providers/{both.engine.pk}/"
    assert "not operational" in root.get(page).content.decode()
    greek = root.get(page, headers=GREEK).content.decode()
    assert ("not_operational" in greek, "εκτός λειτουργίας" in greek) == (False, True)


def test_a_found_machine_whose_cluster_is_not_known_is_adopted_nowhere(both: Both):
    key = both.double.plant_machine("theirs", "far", state="up")
    both.read()
    FoundVm.objects.filter(external_id=key).update(cluster=None, host=None)
    found = FoundVm.objects.get(external_id=key)
    wish = Adoption((found.pk,), both.centers["physics"].pk, "alice")
    assert [r.code for r in plan_adoption(both.actor("root"), wish).reasons] == ["cluster_unknown"]
    with pytest.raises(Conflict, match="not seen yet"):
        adopt(both.actor("root"), wish)


def test_how_a_machine_is_made_is_asked_apart_from_its_first_log_in(both: Both):
    alice = client_of(both, "alice")
    cards = alice.get(f"/machines/new/?template={both.debian.pk}").content.decode().split("<section")
    [card] = [one for one in cards if 'name="run"' in one]
    assert ('name="clone"' in card, 'name="user_name"' in card) == (True, False)
    # It comes and goes with the template that is chosen, and stays ticked.
    ours, theirs = str(both.template.pk), str(both.debian.pk)
    assert 'name="clone"' not in alice.get(f"/machines/new/?template={ours}").content.decode()
    asked = {"action": "nics", "clone": "1", "data_center": str(both.centers["physics"].pk)}
    for template, box in ((theirs, ['name="clone" value="1" aria-describedby="clone-hint" checked']), (ours, [])):
        part = alice.post("/machines/new/", asked | {"template": template}).content.decode()
        assert ('id="clone"' in part, 'id="nics"' in part) == (True, True)
        assert re.findall('name="clone"[^>]*checked', part) == box
    # Without scripts it is refused beside the box, once.
    page = alice.post("/machines/new/", asked | {"name": "web-1", "template": ours, "action": "review"})
    assert page.status_code == 400
    assert page.content.decode().count("Whole copies of this template&#x27;s disks cannot be made.") == 1


def offered(form: Any) -> list[set[str]]:
    """Of each card of the form the networks to choose from."""
    return [{label for value, label in choices if value not in {"", "none"}} for _value, choices in form.nic_rows()]


def test_the_form_offers_each_card_the_networks_that_its_machine_can_be_on_and_no_others(both: Both):
    both.double.put("network", "net-z", name="zoo", zone="east", profiles={"p-z": "zoo", "p-y": "yak"})
    both.double.put("network", "net-x", name="xen", zone="east", profiles={"p-x": "xen"}, clusters=[])
    both.read()
    for name in ("net-z", "net-x"):
        sharing.assign(
            both.actor("root"), both.centers["physics"].pk, "network", Network.objects.get(external_id=name).pk
        )
    client = client_of(both, "alice")
    theirs = str(VnicProfile.objects.get(network__owner=both.centers["informatics"]).pk)
    asked = {"name": "web-1", "data_center": str(both.centers["physics"].pk), "template": str(both.template.pk)}

    def post(action: str, *nics: str, **more: str) -> Any:
        return client.post("/machines/new/", asked | {"action": action, "nics": list(nics)} | more)

    # The first choice is what is made without one; another card can be added, and there is nobody else's network.
    assert offered(post("nics", "").context["form"]) == [{"physics"}, {"physics"}]
    refused = post("review", theirs)
    assert (refused.status_code, list(refused.context["form"].errors)) == (400, ["nics"])
    assert refused.content.decode().count(theirs) == 0
    # Another template: what is on another provider, in another zone, or attached to none of the clusters, is not offered.
    asked["template"] = str(both.debian.pk)
    yak = str(VnicProfile.objects.get(external_id="p-y").pk)
    page = post("nics", str(VnicProfile.objects.get(network__owner=both.centers["physics"]).pk))
    assert offered(page.context["form"]) == [{"lan", "zoo", "zoo: yak"}] * 2
    assert [value for value, _choices in page.context["form"].nic_rows()] == ["", "none"]
    assert 'hx-swap-oob="true"' in page.content.decode()
    whole = client.get("/machines/new/").content.decode()
    parts = whole.count('"action":"nics"')
    assert (parts, whole.count('hx-sync="#wizard:replace"')) == (parts, parts), (
        "a later choice takes the earlier's place"
    )
    assert "htmx:oobAfterSwap from:#wizard" in whole, "what it will use is asked again with the cards that came"
    review = post("review", yak, "", "none")
    assert "zoo: yak" in review.content.decode()
    lan = str(VnicProfile.objects.get(external_id="profile-east").pk)
    assert [value for name, value in review.context["values"] if name == "nics"] == [yak, lan], (
        "what was reviewed is made"
    )
    made = {"two": (yak, "", "none"), "none": ("none", "none"), "usual": ("",)}
    for name, nics in made.items():
        assert post("create", *nics, name=name, key=name.ljust(32, "k")).status_code == 302
    wired = {name: [nic.vnic_profile.name for nic in Vm.objects.get(name=name).nics.order_by("name")] for name in made}
    assert wired == {"two": ["yak", "lan"], "none": [], "usual": ["lan"]}
    again = post("edit", yak, "none")
    assert [value for value, _choices in again.context["form"].nic_rows()] == [yak, "none"]


def test_where_no_network_is_offered_the_machine_is_made_without_a_card_as_the_page_says(both: Both):
    both.double.put("network", "net-east", clusters=[])
    both.read()
    client, physics = client_of(both, "alice"), str(both.centers["physics"].pk)
    page = client.get(f"/machines/new/?template={both.debian.pk}").content.decode()
    assert ("the machine gets no network card" in page, 'name="nics"' in page) == (True, False)
    asked = {"name": "web-1", "data_center": physics, "template": str(both.debian.pk)}
    review = client.post("/machines/new/", asked | {"action": "review"})
    assert "No network cards." in review.content.decode()
    assert ("nics", "none") in review.context["values"]
    assert client.post("/machines/new/", asked | {"action": "create", "key": "k" * 32}).status_code == 302
    assert not Vm.objects.get(name="web-1").nics.exists()


def test_a_card_as_usual_is_on_the_departments_own_network_first_and_one_more_role_moves_nobodys(both: Both):
    physics, alice = both.centers["physics"], both.users["alice"]
    for name in ("net-a", "net-b"):
        both.double.put("network", name, name=name, zone="east", profiles={f"{name}-p": f"a {name}"})
    both.read()
    lan, first, second = (Network.objects.get(external_id=name) for name in ("net-east", "net-a", "net-b"))

    def usual(*, given: Network | None = None) -> str:
        if given is not None:
            policy.grant(system_actor(), "vnic-profile-user", alice, given.vnic_profiles.get())
        [profile] = resolved(both.actor("alice"), both.wish()).profiles
        return profile.network.name

    sharing.assign(both.actor("root"), physics.pk, "network", first.pk)
    assert usual() == "net-a", "of the assigned ones by name"
    Network.objects.filter(pk=lan.pk).update(owner=physics)
    assert usual() == "lan"
    # Without a role on the department's networks: what she may use whole, before what is a single vNIC profile.
    DataCenterUserGrant.objects.filter(user=alice, content_object=physics).delete()
    for role in ("vm-creator", "quota-consumer"):
        policy.grant(system_actor(), role, alice, physics)
    policy.grant(system_actor(), "user-template-based-vm", alice, both.debian)
    policy.grant(system_actor(), "vnic-profile-user", alice, first)
    sharing.assign(both.actor("root"), physics.pk, "network", second.pk)
    assert (usual(), usual(given=lan), usual(given=second)) == ("net-a",) * 3
