"""Roles on single objects of every kind, through the doors: given, ended, taken; what makers get; who is told of whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from compute.models import Image, Template
from network.models import Network
from portal.common.actor import system_actor
from tenants import policy
from tenants.kinds import kinds
from tenants.models import Directory, User
from tenants.services.grants import grant_role, revoke_role
from tests.edge.access_bodies import address
from tests.edge.access_pages import PAGES
from tests.edge.access_table import API
from tests.edge.test_access import ask
from tests.edge.world import World, undone
from tests.people import PASSWORD

JSON = "application/json"
# A role that shows an object of each kind, and where the object is looked at over the API.
SHOWS = {
    "vm": ("user-role", "/api/v1/vms/{}/"),
    "template": ("user-template-based-vm", "/api/v1/templates/{}/"),
    "image": ("disk-operator", "/api/v1/images/{}/"),
    "network": ("vnic-profile-user", "/api/v1/networks/"),
    "vnic_profile": ("vnic-profile-user", "/api/v1/vnic-profiles/"),
    "data_center": ("read-only-admin", "/api/v1/data-centers/{}/"),
}


def grants(kind: str, uid: str) -> str:
    return f"/api/v1/grants/{kind}/{uid}/"


def sees(world: World, rank: str, kind: str) -> bool:
    uid = world.ids[kind]
    answer = world.api(rank).get(SHOWS[kind][1].format(uid))
    if answer.status_code == 404:
        return False
    assert answer.status_code == 200
    return "results" not in answer.json() or uid in [row["id"] for row in answer.json()["results"]]


def test_a_role_on_any_object_shows_it_until_its_end_and_no_longer(world):
    assert set(SHOWS) == {kind.name for kind in kinds()} - {"system"}
    Template.objects.update(owner=world.place.centers["physics"])
    world.place.template.assignments.all().delete()
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    for kind, (role, _where) in SHOWS.items():
        assert not sees(world, "outsider", kind), kind
        here, asked = grants(kind, world.ids[kind]), {"role": role, "user": "charlie", "expires_at": later}
        answer = world.api("admin").post(here, asked, content_type=JSON)
        assert answer.status_code == 201, answer.content
        assert answer.json()["roles"][0]["role"] == role
        assert sees(world, "outsider", kind), kind
        table = next(one for one in kinds() if one.name == kind).user_grants
        rows = table.objects.filter(user__username="charlie")
        rows.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert not sees(world, "outsider", kind), kind
        rows.update(expires_at=None)
        charlie = world.place.users["charlie"].pk
        assert world.api("admin").delete(f"{here}users/{charlie}/roles/{role}/").status_code == 204
        assert not sees(world, "outsider", kind), kind


def test_AZ14_whoever_owns_one_machine_shares_it_in_his_department_and_learns_of_nobody_else(world):  # noqa: N802
    here = grants("vm", world.ids["vm"])

    def share(rank: str, **more: str) -> Any:
        return world.api(rank).post(here, {"role": "user-role"} | more, content_type=JSON)

    assert share("owner", user="bob").status_code == 201
    assert world.api("peer").get(f"/api/v1/vms/{world.vm.pk}/").status_code == 200
    stranger, nobody = share("owner", user="charlie"), share("owner", user="nobody")
    assert stranger.status_code == nobody.status_code == 400
    said = [answer.json()["detail"].replace(name, "X") for answer, name in ((stranger, "charlie"), (nobody, "nobody"))]
    assert said[0] == said[1]
    assert stranger.json()["reasons"][0]["field"] == "user"
    assert share("peer", user="bob").status_code == 403
    assert share("owner", user="bob", role="end-user").status_code == 400
    assert share("admin", user="charlie").status_code == 201
    page = world.browser("owner").get(f"/grants/vm/{world.vm.pk}/").content.decode()
    assert "UserVmManager" in page
    assert "charlie" in page
    assert "@" not in page.partition("<tbody>")[2].partition("</tbody>")[0]


def test_makers_get_what_they_made_unless_they_rule_it_from_above(world):
    place, physics = world.place, world.place.centers["physics"]
    for role in ("power-user-role", "disk-creator"):
        grant_role(system_actor(), role, place.users["bob"], physics)
    asked = {"name": "mine", "format": "raw", "size_bytes": 10, "data_center": str(physics.pk)}
    made = world.api("peer").post("/api/v1/images/", asked, content_type=JSON).json()
    assert [one["id"] for one in world.api("peer").get("/api/v1/images/").json()["results"]] == [made["id"]]
    Image.objects.filter(pk=made["id"]).update(status="ready", virtual_bytes=10)
    named = {"name": "of-bob", "image": made["id"], "storage_domain": world.ids["storage_domain"]}
    wanted = named | {"data_center": str(physics.pk)}
    template = world.api("peer").post("/api/v1/templates/", wanted, content_type=JSON).json()["template"]
    assert world.api("peer").get(f"/api/v1/templates/{template['id']}/").status_code == 200
    told = world.api("peer").get(grants("template", template["id"])).json()["results"]
    assert [[given["role"] for given in one["roles"]] for one in told] == [["template-owner", "user-template-based-vm"]]
    first = Template.objects.get(pk=template["id"])
    grant_role(place.actor("bob"), "user-template-based-vm", place.users["charlie"], first)
    again = world.api("peer").post("/api/v1/templates/", wanted | {"next_version": True}, content_type=JSON).json()
    Template.objects.update(status="ok")
    assert world.api("outsider").get(f"/api/v1/templates/{again['template']['id']}/").status_code == 200
    page = world.browser("peer").get("/images/").content.decode()
    assert "mine" in page
    assert f"/images/{made['id']}/delete/" in page
    assert world.browser("outsider").get("/images/").status_code == 403
    assert world.api("admin").get(grants("image", world.ids["image"])).json()["results"] == []
    told = world.api("admin").get(grants("vm", world.ids["vm"])).json()["results"]
    assert [given["role"] for given in told[0]["roles"]] == ["user-vm-manager"]


def test_AZ17_a_change_of_a_role_counts_with_the_next_request_of_anybody(world):  # noqa: N802
    role = world.ids["custom_role"]
    asked = {"role": "custom-helper", "user": "bob"}
    assert world.api("admin").post(grants("vm", world.ids["vm"]), asked, content_type=JSON).status_code == 201
    stop = f"/api/v1/vms/{world.vm.pk}/stop/?dry_run=1"
    assert world.api("peer").post(stop, {}, content_type=JSON).status_code == 403
    changed = world.api("root").patch(f"/api/v1/roles/{role}/", {"permits": ["VM_VIEW", "VM_STOP"]}, content_type=JSON)
    assert changed.status_code == 200
    assert world.api("peer").post(stop, {}, content_type=JSON).status_code == 200
    refused = world.api("root").delete(f"/api/v1/roles/{role}/")
    assert refused.status_code == 409
    assert "web-1" in refused.json()["reasons"][0]["text"]


@pytest.mark.turns
@pytest.mark.long
def test_AZ07_who_only_reads_meets_no_secret_and_changes_nothing(world):  # noqa: N802
    """Nor does anybody else meet one: this role sees all that departments have, and a super-admin all there is."""
    auditor = User.objects.create_user("auditor", password=PASSWORD)
    policy.grant(system_actor(), "read-only-admin", auditor, policy.system())
    sealed = Directory.objects.get().sealed_password
    for user in (auditor, world.place.users["root"]):
        client = Client()
        client.force_login(user)
        for operation in (one for one in API | PAGES if one.startswith("GET ")):
            answer = client.get(address(world, operation.split()[1]))
            text = (b"".join(answer) if answer.streaming else answer.content).decode(errors="replace")
            assert PASSWORD not in text, operation
            assert "<domain" not in text, operation
            assert "sealed_" not in text, operation
            assert sealed not in text, operation
    client = Client()
    client.force_login(auditor)
    own = ("/api/v1/tokens/", "/api/v1/sessions/", "/api/v1/factor/")  # what is about one's own account
    for operation in (one for one in API if not one.startswith("GET ") and not one.split()[1].startswith(own)):
        with undone():
            answer = ask(world, operation, client, kind="api")
        assert answer.status_code in {403, 404}, (operation, answer.status_code)


def test_oVirts_roles_together_let_an_outsider_make_a_machine_and_none_is_spare(world):  # noqa: N802
    physics, charlie = world.place.centers["physics"], world.place.users["charlie"]
    network = Network.objects.get(pk=world.ids["network"])
    needed = (
        ("vm-creator", physics),
        ("quota-consumer", physics),
        ("user-template-based-vm", world.place.template),
        ("vnic-profile-user", network),
    )
    wish = {"name": "web-9", "data_center": str(physics.pk), "template": world.ids["template"]}
    wish["nics"] = [{"vnic_profile": str(network.vnic_profiles.get().pk)}]
    world.place.template.assignments.exclude(data_center=physics).delete()

    def make() -> int:
        answer = world.api("outsider").post("/api/v1/vms/?dry_run=1", wish, content_type=JSON)
        return answer.status_code

    assert make() == 404
    for role, target in needed:
        grant_role(system_actor(), role, charlie, target)
    assert make() == 200
    for role, target in needed:
        revoke_role(system_actor(), role, charlie, target)
        assert make() in {403, 404}, role
        grant_role(system_actor(), role, charlie, target)
    assert make() == 200


def test_AZ03_no_parameter_widens_a_list_of_roles_or_grants(world):  # noqa: N802
    for where in ("/api/v1/roles/", grants("data_center", world.ids["data_center"])):
        for query in ("data_center=" + str(world.place.centers["informatics"].pk), "user=charlie", "search=x", "all=1"):
            assert world.api("admin").get(f"{where}?{query}").status_code == 400, query
    informatics = str(world.place.centers["informatics"].pk)
    assert world.api("admin").get(grants("data_center", informatics)).status_code == 404
    for kind in ("nothing", "user", "SYSTEM"):
        assert world.api("root").get(grants(kind, world.ids["data_center"])).status_code == 404


def test_AZ18_there_is_no_admin_of_django_and_no_browsable_api(world):  # noqa: N802
    root = world.browser("root")
    assert root.get("/admin/").status_code == 404
    assert root.get("/api/v1/roles/?format=api").status_code in {400, 404, 406}
    answer = root.get("/api/v1/roles/", headers={"Accept": "text/html"})
    assert answer.status_code == 406 or answer["Content-Type"].startswith("application/")
