"""AZ12: roles on single vNIC profiles: what they show and lend, until when, and of whom who gives them is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from network.models import Network, NetworkAssignment, VnicProfile, VnicProfileUserGrant
from portal.common.actor import Bounds, system_actor
from portal.common.errors import NotPermitted
from portal.jobs.models import Job
from tenants import policy
from tenants.models import DataCenterUserGrant, Role
from tenants.permits import Permit
from tenants.services.grants import grant_role
from tenants.services.tokens import choosable
from tests.edge.world import World
from tests.jobs.conftest import run

JSON = "application/json"
USES = "vnic-profile-user"


@dataclass
class Lab:
    """A network of physics with two vNIC profiles, and charlie of elsewhere, who may make machines there on no network."""

    world: World
    network: Network
    given: VnicProfile
    other: VnicProfile

    @property
    def charlie(self) -> Any:
        return self.world.place.users["charlie"]

    def profiles(self) -> dict[str, dict[str, Any]]:
        answer = self.world.api("outsider").get("/api/v1/vnic-profiles/")
        return {one["id"]: one for one in answer.json()["results"]}

    def make(self, profile: VnicProfile, query: str = "?dry_run=1") -> Any:
        place = self.world.place
        wish = {"name": "web-9", "data_center": str(place.centers["physics"].pk), "template": str(place.template.pk)}
        wish |= {"nics": [{"vnic_profile": str(profile.pk)}]}
        return self.world.api("outsider").post(f"/api/v1/vms/{query}", wish, content_type=JSON)

    def explained(self, profile: VnicProfile) -> Any:
        asked = f"permit=NETWORK_USE&object=vnic_profile:{profile.pk}"
        return self.world.api("outsider").get(f"/api/v1/explain/?{asked}")

    def give(self, rank: str, role: str = USES) -> int:
        asked = {"role": role, "user": "charlie"}
        here = f"/api/v1/grants/vnic_profile/{self.given.pk}/"
        return self.world.api(rank).post(here, asked, content_type=JSON).status_code

    def holders(self, rank: str) -> dict[str, set[str]]:
        """Of the profile that is given: who holds something, and on what kinds of objects."""
        answer = self.world.api(rank).get(f"/api/v1/vnic-profiles/{self.given.pk}/holders/")
        return {one["name"]: {role["on"]["kind"] for role in one["roles"]} for one in answer.json()["results"]}


@pytest.fixture
def lab(world: World) -> Lab:
    network = Network.objects.get(pk=world.ids["network"])
    given, other = (VnicProfile.objects.create(name=name, network=network) for name in ("lab", "staff"))
    for role in ("vm-creator", "quota-consumer"):
        grant_role(system_actor(), role, world.place.users["charlie"], world.place.centers["physics"])
    return Lab(world, network, given, other)


def test_AZ12_who_was_given_one_vnic_profile_sees_and_uses_that_alone(lab):  # noqa: N802
    before = lab.profiles()
    assert (lab.give("other_admin"), lab.give("admin")) == (404, 201)
    told = {key: row for key, row in lab.profiles().items() if key not in before}
    row = {"id": str(lab.given.pk), "name": "lab", "is_gone": False, "status": "operational"}
    assert told == {row["id"]: row | {"network_name": lab.network.name}}
    assert str(lab.network.pk) not in lab.world.api("outsider").get("/api/v1/networks/").content.decode()
    assert (lab.make(lab.given).status_code, lab.make(lab.other).status_code) == (200, 404)
    assert [way["on"]["kind"] for way in lab.explained(lab.given).json()["derivation"]] == ["vnic_profile"]
    assert lab.explained(lab.other).status_code == 404
    VnicProfile.objects.filter(pk=lab.given.pk).update(is_gone=True)
    assert lab.profiles()[row["id"]]["is_gone"]
    assert lab.make(lab.given).status_code == 404
    physics = lab.world.place.centers["physics"]
    physics.enabled = False
    physics.save()
    assert lab.profiles() == before, "a department that is disabled shares nothing"
    lab.given.delete()
    assert not VnicProfileUserGrant.objects.exists(), "what was given on it went along"


def test_AZ12_a_role_on_the_network_is_one_on_all_its_profiles_and_the_way_is_told(lab):  # noqa: N802
    lab.give("admin")
    policy.grant(system_actor(), USES, lab.charlie, lab.network)
    assert {lab.make(profile).status_code for profile in (lab.given, lab.other)} == {200}
    [way] = lab.explained(lab.other).json()["derivation"]
    assert way["on"] == {"kind": "network", "id": str(lab.network.pk), "name": lab.network.name}
    assert lab.holders("admin")["charlie"] == {"network", "vnic_profile"}


def test_AZ09_a_role_on_a_profile_that_ends_before_the_machine_is_made_stops_that(lab):  # noqa: N802
    lab.give("admin")
    started = lab.make(lab.given, "")
    assert started.status_code == 202
    job = Job.objects.get(pk=started.json()["job"]["id"])
    VnicProfileUserGrant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert run(job).status == "failed"
    assert (job.error["code"], job.error["step"]) == ("network_not_permitted", "place")
    assert (
        job.error["text"]
        == f"You may not use the network {lab.network.name} any more. Choose another, or ask for a role on it."
    )


def institutes(lab: Lab) -> None:
    """Give the network to the institute, which lends it to both departments; charlie rules one profile of it alone."""
    Network.objects.filter(pk=lab.network.pk).update(owner=None)
    for center in lab.world.place.centers.values():
        NetworkAssignment.objects.create(network=lab.network, data_center=center)
    Role.objects.create(name="Lender", codename="lender", permits=["NETWORK_VIEW", "NETWORK_USE", "GRANT"])
    policy.grant(system_actor(), "lender", lab.charlie, lab.given)
    DataCenterUserGrant.objects.filter(user=lab.charlie, content_object__name="physics").delete()


def test_AZ03_who_rules_one_profile_is_told_of_no_other_departments_people(lab):  # noqa: N802
    institutes(lab)
    users = lab.world.place.users
    policy.grant(system_actor(), USES, users["alice"], lab.given)
    policy.grant(system_actor(), USES, users["bob"], lab.network)
    client, here = lab.world.api("outsider"), f"vnic_profile:{lab.given.pk}"

    def known(name: str) -> int:
        return client.get(f"/api/v1/explain/?permit=NETWORK_USE&object={here}&user={name}").status_code

    def given() -> set[str]:
        rows = client.get(f"/api/v1/grants/vnic_profile/{lab.given.pk}/").json()["results"]
        return {row["name"] for row in rows}

    assert set(lab.holders("outsider")) == given() == {"charlie"}
    assert {name: known(name) for name in ("alice", "bob", "nobody")} == {"alice": 404, "bob": 404, "nobody": 404}
    page = lab.world.browser("outsider").get(f"/grants/vnic_profile/{lab.given.pk}/").content.decode()
    assert "alice" not in page
    policy.grant(system_actor(), "lender", lab.charlie, lab.network)
    assert {"alice", "bob", "charlie"} <= set(lab.holders("outsider"))
    assert given() == {"alice", "charlie"}
    assert (known("alice"), known("bob")) == (200, 200)


def test_AZ05_nobody_gives_for_longer_what_he_has_by_a_data_center_that_may_use_it(lab):  # noqa: N802
    institutes(lab)
    place, until = lab.world.place, timezone.now() + timedelta(hours=1)
    Role.objects.filter(codename="lender").update(permits=["NETWORK_VIEW", "GRANT"])
    DataCenterUserGrant.objects.filter(user=lab.charlie).delete()
    policy.grant(system_actor(), USES, lab.charlie, place.centers["informatics"], expires_at=until)
    with pytest.raises(NotPermitted) as refused:
        grant_role(place.actor("charlie"), USES, lab.charlie, lab.given)
    assert [reason.code for reason in refused.value.reasons] == ["longer_than_own"]
    grant_role(place.actor("charlie"), USES, lab.charlie, lab.given, expires_at=until)


def test_a_token_for_a_network_reaches_its_profiles_and_one_for_a_profile_no_other(lab):
    actor, rows = lab.world.place.actor("root"), VnicProfile.objects.all()
    for chosen, reached in ((lab.network, {*lab.network.vnic_profiles.all()}), (lab.given, {lab.given})):
        narrow = replace(actor, bounds=Bounds(objects=frozenset({chosen.pk})))
        assert set(policy.visible(narrow, Permit.NETWORK_USE, rows)) == reached
        held = policy.permits_on(narrow, rows)
        assert {row for row in rows if Permit.NETWORK_USE in held[row.pk]} == reached


def test_a_profile_is_called_by_its_network_too_and_by_its_zone_to_those_who_may_see_providers(lab):
    Network.objects.filter(pk=lab.network.pk).update(zone_name="East")
    name = f"{lab.network.name}: lab"
    for who, told in (("physics-admin", name), ("root", f"{name} (East)")):
        offered = dict(choosable(lab.world.place.actor(who), most=50)["vnic_profile"])
        assert offered[lab.given.pk] == told
    page = f"/grants/vnic_profile/{lab.given.pk}/"
    assert f"Roles on {name}<" in lab.world.browser("admin").get(page).content.decode()
    assert f"{name} (East)" in lab.world.browser("root").get(page).content.decode()
