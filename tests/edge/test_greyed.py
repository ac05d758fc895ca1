"""A verb that one may not use stays in its place, greyed, and says why and what would help; what is above one is not shown."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from compute.models import Image, Template, Vm
from portal.common.actor import system_actor
from portal.error_answers import forbidden
from portal.hypervisors.models import Provider
from portal.jobs.models import Job
from tenants import policy
from tenants.models import Role
from tests.edge.greyed import controls, mute, reason, ways_out


def greyed(client, address):
    """By the verb's name: where a greyed control of a page leads, and what it says."""
    page = client.get(address)
    assert page.status_code == HTTPStatus.OK
    return {one.get("data-verb"): (one.get("href", ""), reason(one)) for one in controls(page.content)}


def test_a_greyed_control_without_a_reason_is_found():
    assert len(mute('<button disabled title="why">a</button><a aria-disabled="true" aria-describedby="x">b</a>')) == 2
    assert (
        mute('<p id="x">because</p><button disabled aria-describedby="x">a</button><option disabled>b</option>') == []
    )


def test_a_template_says_why_not_and_leads_to_what_would_help(world):
    uid = world.place.template.pk
    found = greyed(world.browser("peer"), f"/templates/{uid}/")
    assert {verb: href.rpartition("=")[2] for verb, (href, _why) in found.items()} == {
        "edit": "TEMPLATE_EDIT", "roles": "GRANT", "delete": "TEMPLATE_DELETE"
    }  # fmt: skip
    assert found["edit"] == (
        f"/explain/?object=template:{uid}&permit=TEMPLATE_EDIT",
        ": You lack the permit TEMPLATE_EDIT here. See what would help.",
    )
    assert greyed(world.browser("root"), f"/templates/{uid}/").keys() == {None}, "only its deletion: a machine needs it"


def test_a_template_that_is_not_ready_says_so(world):
    Template.objects.filter(pk=world.place.template.pk).update(status="locked")
    assert "not ready" in greyed(world.browser("root"), f"/templates/{world.place.template.pk}/")["create"][1]


def test_what_asks_the_whole_system_is_greyed_for_ranks_and_not_shown_to_others(world):
    pages = {
        f"/data-centers/{world.ids['data_center']}/": {"disable", "limits", "network", "assign"},
        "/data-centers/": {"launch", "create"},
        "/roles/": {"make"},
        f"/clusters/{world.ids['cluster']}/": {"edit"},
        f"/machines/{world.vm.pk}/": {"protect"},
    }
    policy.grant(system_actor(), "user-role", world.place.users["bob"], world.vm)
    for address, verbs in pages.items():
        shown = {rank: greyed(world.browser(rank), address) for rank in ("peer", "admin", "root")}
        assert verbs <= shown["admin"].keys(), address
        assert all("object=system&permit=" in shown["admin"][verb][0] for verb in verbs), address
        assert {verb for verb, (href, _why) in shown["peer"].items() if "=system" in href} <= {"move"}, address
        assert not verbs & shown["root"].keys(), address


def test_a_job_that_is_not_ones_own_says_why_it_cannot_be_ended(world):
    address = f"/jobs/{world.job.pk}/"
    Job.objects.filter(pk=world.job.pk).update(status="stuck")
    found = greyed(world.browser("owner"), address)
    assert found.keys() == {"retry"}, "to close it is for super-admins, of whom the owner is none"
    assert found["retry"][0] == f"/explain/?object=data_center:{world.ids['data_center']}&permit=JOB_MANAGE"
    assert greyed(world.browser("admin"), address).keys() == {"close"}
    assert greyed(world.browser("root"), address) == {}


def test_whoever_may_make_no_machine_is_led_to_what_would_help(world):
    bob, physics = world.place.users["bob"], world.place.centers["physics"]
    policy.revoke(system_actor(), "end-user", bob, physics)
    page = world.browser("peer").get("/").content.decode()
    assert "You are of no data center yet" in page
    assert "/explain/?object=system" in page
    assert "physics" not in page
    policy.grant(system_actor(), "template-creator", bob, physics)
    for address in ("/", "/machines/new/"):
        page = world.browser("peer").get(address).content.decode()
        assert "You lack the permit VM_CREATE in physics." in page
        assert f"/explain/?object=data_center:{physics.pk}&amp;permit=VM_CREATE" in page


def test_to_whom_a_machine_is_shared_its_department_stays_hidden(world):
    policy.grant(system_actor(), "user-role", world.place.users["charlie"], world.vm)
    found = greyed(world.browser("outsider"), f"/machines/{world.vm.pk}/")
    assert found["make-template"] == ("", ": You lack the permit TEMPLATE_CREATE here.")


def test_storage_refuses_with_what_would_help(world):
    refused = world.browser("peer").get("/storage/")
    assert refused.status_code == HTTPStatus.FORBIDDEN
    link = f"/explain/?object=data_center:{world.ids['data_center']}&amp;permit=DATA_CENTER_EDIT"
    assert link in refused.content.decode()


@pytest.mark.parametrize("noun", ["templates", "data-centers", "images", "networks"])
def test_every_noun_leads_to_what_one_may_do_with_it(world, noun):
    kind, rank = noun.replace("-", "_").removesuffix("s"), "admin" if noun == "images" else "peer"
    page = {"images": "/images/", "networks": f"/data-centers/{world.ids['data_center']}/"}
    address = f"/explain/?object={kind}:{world.ids[kind]}"
    client = world.browser(rank)
    assert f'href="{address}"' in client.get(page.get(noun, f"/{noun}/{world.ids[kind]}/")).content.decode()
    assert client.get(address).status_code == HTTPStatus.OK


def test_greyed_rows_cost_no_queries_of_their_own(world):
    """Whoever sees the department's images and may do nothing with them."""
    policy.grant(system_actor(), "read-only-admin", world.place.users["bob"], world.place.centers["physics"])
    client, counts = world.browser("peer"), []
    client.get("/images/")  # what a process reads once
    for number in range(2):
        with CaptureQueriesContext(connection) as caught:
            page = client.get("/images/")
        assert page.status_code == HTTPStatus.OK
        assert len(ways_out(page.content)) > 2
        counts.append(len(caught))
        for row in range(20 * (1 - number)):
            Image.objects.create(
                name=f"more-{row}", format="raw", size_bytes=10, owner=world.place.centers["physics"], status="ready"
            )
    assert counts[0] == counts[1]


def test_of_an_adopted_machine_no_template_is_made_which_leads_to_what_helps(world):
    Vm.objects.filter(pk=world.vm.pk).update(adopted=True)
    address, leads = f"/machines/{world.vm.pk}/", {}
    for rank in ("owner", "root"):
        leads[rank], why = greyed(world.browser(rank), address)["make-template"]
        assert "was adopted" in why
    assert leads == {
        "owner": "/explain/?object=system&permit=PROVIDER_MANAGE",
        "root": f"/machines/{world.vm.pk}/confirm/unadopt/",
    }


def test_a_refusal_of_no_services_names_a_reason_and_a_way_on(world):
    request = RequestFactory().get("/somewhere/")
    request.user = world.place.users["bob"]
    page = forbidden(request, PermissionDenied("Not from there.")).content.decode()
    assert "Not from there." in page
    assert "/explain/?object=system" in page
    assert "None of the roles that you hold allows it" in forbidden(request, PermissionDenied()).content.decode()


def test_a_template_tells_which_data_centers_may_use_it_of_those_one_sees(world):
    physics, informatics = world.place.centers["physics"], world.place.centers["informatics"]
    uid = world.place.template.pk

    def told(rank):
        page = world.browser(rank).get(f"/templates/{uid}/").content.decode().partition('class="places"')[2]
        listed = page.partition("</ul>")[0]
        shown = {center.pk for center in (physics, informatics) if f'/data-centers/{center.pk}/"' in listed}
        in_api = world.api(rank).get(f"/api/v1/templates/{uid}/").json()["data_centers"]
        assert {str(center) for center in shown} == set(in_api)
        return shown, "unassign" in page

    assert told("peer") == ({physics.pk}, False)
    assert told("other_admin") == ({informatics.pk}, False)
    assert told("root") == ({physics.pk, informatics.pk}, True)
    root = world.browser("root")
    for act, left in (("unassign", {informatics.pk}), ("assign", {physics.pk, informatics.pk})):
        done = root.post(f"/templates/{uid}/{act}/", {"data_center": str(physics.pk)})
        assert done.headers["Location"] == f"/templates/{uid}/"
        assert told("root")[0] == left


def test_super_admins_are_told_who_holds_what_on_the_whole_system(world):
    """And nobody else: there nothing is said of a single data center's people."""
    policy.grant(system_actor(), "read-only-admin", world.place.users["charlie"], policy.system())
    rows = world.api("root").get("/api/v1/system/holders/").json()["results"]
    assert {(row["name"], role["role"], role["on"]["kind"], role["on"]["name"]) for row in rows for role in row["roles"]} == {
        ("root", "super-admin", "system", ""), ("charlie", "read-only-admin", "system", "")
    }  # fmt: skip
    root = world.browser("root")
    page = root.get("/system/who/").content.decode()
    assert "charlie" in page
    assert "physics-admin" not in page
    for linked in ("/users/", "/explain/?object=system"):
        assert 'href="/system/who/"' in root.get(linked).content.decode()


def test_who_may_look_at_providers_users_and_directories_sees_what_he_may_not_do_there(world):
    """By roles of one's own: to look after users, or to see hypervisors. A super-admin sees none of it greyed."""
    Provider.objects.update(enabled=False)
    provider, directory = f"/providers/{world.ids['provider']}/", f"/directories/{world.ids['directory']}/"
    above = "/explain/?object=system&permit="
    pages = {
        "/providers/": ("PROVIDER_VIEW", {"connect": "PROVIDER_MANAGE"}),
        provider: ("PROVIDER_VIEW", dict.fromkeys(("test", "edit", "enable", "remove", "offer"), "PROVIDER_MANAGE")),
        "/users/": ("USER_MANAGE", {"factors": "SYSTEM_MANAGE", "roles": "GRANT", "view": "SYSTEM_MANAGE"}),
        directory: ("USER_MANAGE SYSTEM_MANAGE", {"give": "GRANT"}),
    }
    for number, (address, (permits, verbs)) in enumerate(pages.items()):
        role = Role.objects.create(codename=f"custom-{number}", name=f"Own {number}", permits=permits.split())
        policy.grant(system_actor(), role.codename, world.place.users["bob"], policy.system())
        found = greyed(world.browser("peer"), address)
        assert {verb: href for verb, (href, _why) in found.items()} == {
            verb: above + asked for verb, asked in verbs.items()
        }
        assert not verbs.keys() & greyed(world.browser("root"), address).keys(), address
        for href in {href for href, _why in found.values()}:
            assert world.browser("peer").get(href).status_code == HTTPStatus.OK
        policy.revoke(system_actor(), role.codename, world.place.users["bob"], policy.system())
    assert world.browser("admin").get("/providers/").status_code == HTTPStatus.FORBIDDEN
    Provider.objects.update(enabled=True)
    role = Role.objects.get(codename="custom-0")
    policy.grant(system_actor(), role.codename, world.place.users["bob"], policy.system())
    assert greyed(world.browser("peer"), "/readiness/").keys() == {"check"}
    assert greyed(world.browser("peer"), "/clusters/").keys() == {"create"}
    for address in ("/storage/", provider):
        page = world.browser("peer").get(address).content.decode()
        assert 'href="/clusters/"' in page
        assert "/volumes/" not in page, "what is above him is no link"
        assert "/volumes/" in world.browser("root").get(address).content.decode()
    assert greyed(world.browser("peer"), provider).keys() == {"test", "edit", "disable", "remove", "offer"}
