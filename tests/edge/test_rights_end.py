"""A right that ends before its use: a disabled data center (AZ15), and a role taken back between 202 and the work (AZ09)."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from compute.models import Image, Template, Vm
from compute.services.consoles import Traffic, check_console
from compute.services.template_copies import CopyRequest, template_of_machine
from compute.services.template_rows import TemplateTraits
from compute.services.templates import NewTemplate, make_template
from compute.services.vms import create_vm
from compute.services.wishes import VmRequest
from portal.common.actor import system_actor
from portal.jobs.models import Job, JobLock
from tenants import policy
from tenants.models import QuotaCharge
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.edge.world import World
from tests.jobs.conftest import run

JSON = "application/json"


def queued(world: World, rank: str, path: str, **body: Any) -> Job:
    """A job that was asked for and waits."""
    answer = world.api(rank).post(path, body, content_type=JSON)
    assert answer.status_code == HTTPStatus.ACCEPTED, answer.content
    return Job.objects.get(pk=answer.json()["job"]["id"])


def creation(world: World, rank: str = "owner") -> Job:
    wish = {"data_center": world.ids["data_center"], "template": world.ids["template"]}
    return queued(world, rank, "/api/v1/vms/", name="web-2", **wish)


def assert_undone(world: World, job: Job, *, code: str) -> None:
    """It ended failed, and nothing is left of it: no machine here or there, no charge, no lock."""
    assert run(job).status == "failed"
    assert job.error["code"] == code, job.error
    assert not Vm.objects.filter(name="web-2").exists()
    assert not QuotaCharge.objects.filter(consumer_uid=job.target_uid).exists()
    assert not JobLock.objects.filter(job=job).exists()


def test_AZ15_a_disabled_data_center_stops_lists_pages_consoles_and_what_is_queued(world):  # noqa: N802
    job, uid = creation(world), world.vm.pk
    api, browser = world.api("owner"), world.browser("owner")
    assert [row["name"] for row in api.get("/api/v1/vms/").json()["results"]] == ["web-1", "web-2"]
    here = f"/api/v1/data-centers/{world.ids['data_center']}/"
    assert world.api("root").patch(here, {"enabled": False}, content_type=JSON).status_code == HTTPStatus.OK
    assert api.get("/api/v1/vms/").json()["results"] == []
    gone = (f"/api/v1/vms/{uid}/", here, f"/machines/{uid}/", f"/machines/{uid}/console/")
    gone += (f"/jobs/{job.pk}/", f"/api/v1/jobs/{job.pk}/")
    assert browser.get(f"/jobs/{job.pk}/").status_code == HTTPStatus.NOT_FOUND, "her own job too"
    assert "web-1" not in browser.get("/jobs/").content.decode() + browser.get("/events/").content.decode()
    assert "web-1" in world.browser("root").get("/jobs/").content.decode()
    for path in gone:
        client = api if path.startswith("/api/") else browser
        assert client.get(path).status_code == HTTPStatus.NOT_FOUND, path
    assert "web-1" not in browser.get("/").content.decode()
    console = f"/api/v1/vms/{uid}/consoles/"
    assert api.post(console, {}, content_type=JSON).status_code == HTTPStatus.NOT_FOUND
    ending = check_console(world.ids["console"], traffic=Traffic())
    assert ending is not None
    assert (ending.code, ending.reason) == (4403, "not_permitted")
    assert_undone(world, job, code="not_found")
    assert Vm.objects.get(pk=uid).status == "up", "its machines run on"


def test_AZ09_a_role_taken_back_while_the_machine_waits_to_be_made_stops_that(world):  # noqa: N802
    job = creation(world)
    policy.revoke(system_actor(), "end-user", world.place.users["alice"], world.place.centers["physics"])
    assert_undone(world, job, code="not_found")


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_AZ09_a_role_on_a_machine_taken_back_while_a_verb_waits_stops_that(world, verb):  # noqa: N802
    bob = world.place.users["bob"]
    policy.grant(system_actor(), "user-vm-manager", bob, world.vm)
    Vm.objects.update(status="up" if verb == "stop" else "down")
    path = f"/api/v1/vms/{world.vm.pk}/"
    if verb == "stop":
        job = queued(world, "peer", f"{path}stop/")
    else:
        job = Job.objects.get(pk=world.api("peer").delete(path).json()["job"]["id"])
    policy.revoke(system_actor(), "user-vm-manager", bob, world.vm)
    assert run(job).status == "failed"
    assert job.error["code"] == "not_found", job.error
    assert Vm.objects.get(pk=world.vm.pk).disks.count() == 1
    assert not JobLock.objects.filter(job=job).exists()


def test_AZ09_a_role_on_what_it_is_made_of_taken_back_while_the_job_waits_stops_that(world):  # noqa: N802
    place, charlie, physics = world.place, world.place.users["charlie"], world.place.centers["physics"]
    image, template = Image.objects.get(pk=world.ids["ready_image"]), place.template
    for role in ("vm-creator", "quota-consumer", "template-creator"):
        policy.grant(system_actor(), role, charlie, physics)
    roles = {"user-vm-manager": world.vm, "disk-operator": image, "user-template-based-vm": template}
    for role, target in roles.items():
        policy.grant(system_actor(), role, charlie, target)
    policy.revoke(system_actor(), "end-user", charlie, place.centers["informatics"])
    Vm.objects.update(status="down")
    actor, domain = place.actor("charlie"), template.storage_domain_id
    copy = CopyRequest(TemplateTraits("copy"), domain, physics.pk, accept_unsealed=True)
    jobs = {
        "vm_not_permitted": template_of_machine(actor, world.vm.pk, copy)[1],
        "image_not_permitted": make_template(actor, NewTemplate(TemplateTraits("new"), image.pk, domain, physics.pk))[
            1
        ],
        "template_not_permitted": create_vm(actor, VmRequest("web-2", physics.pk, template.pk, vnic_profile_uids=()))[
            1
        ],
    }
    there = HypervisorDouble(Path(place.provider.address.removeprefix("double://"))).things("disk")
    for role, target in roles.items():
        policy.revoke(system_actor(), role, charlie, target)
    for code, job in jobs.items():
        assert run(job).status == "failed"
        assert job.error["code"] == code, job.error
    assert HypervisorDouble(Path(place.provider.address.removeprefix("double://"))).things("disk") == there
    assert not Template.objects.filter(name__in=("copy", "new")).exists()
