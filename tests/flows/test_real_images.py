"""From a file to a running machine on a real libvirt: uploaded over the API in parts, made a template, copied, booted."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from compute.models import Template, Vm
from portal.jobs.models import Job
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import until
from tests.flows.real_place import RealPlace, clear_real_place, make_real_place
from tests.jobs.conftest import hurry
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers
from tests.lab.libvirt_server import LibvirtServer

pytestmark = pytest.mark.django_db(transaction=True)

PART = 4 * 1024 * 1024
PING = json.dumps({"execute": "guest-ping"})


@pytest.fixture
def place(
    transactional_db: None, tmp_path: Path, libvirtd: LibvirtServer, tiny_linux_image: Path, settings: Any
) -> Iterator[RealPlace]:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    place = make_real_place(tmp_path, libvirtd, tiny_linux_image)
    yield place
    clear_real_place(place)


@pytest.fixture
def api(place: RealPlace) -> Client:
    client = Client()
    client.force_login(place.users["physics-admin"])
    return client


def asked(api: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.post(f"/api/v1/{path}/", body, content_type="application/json")
    assert answer.status_code in {201, 202}, answer.content
    return dict(answer.json())


def upload(place: RealPlace, api: Client, workers: Workers, data: bytes) -> str:
    """The id of the image, once it was inspected."""
    wish = {
        "name": "tiny.qcow2", "format": "qcow2", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
        "data_center": str(place.centers["physics"].pk),
    }  # fmt: skip
    uid = str(asked(api, "images", wish)["id"])
    for offset in range(0, len(data), PART):
        address = f"/api/v1/images/{uid}/content/?offset={offset}"
        answer = api.put(address, data[offset : offset + PART], content_type="application/octet-stream")
        assert answer.status_code == 200, answer.content
    assert workers.run(Job.objects.get(target_uid=uid).pk) == 0
    assert api.get(f"/api/v1/images/{uid}/").json()["status"] == "ready"
    return uid


def template_wish(place: RealPlace, image: str) -> dict[str, Any]:
    return {
        "name": "Tiny of ours", "image": image, "storage_domain": str(place.template.storage_domain_id),
        "data_center": str(place.centers["physics"].pk), "memory_mib": 192, "memory_min_mib": 128,
        "has_cloud_init": True, "has_agent": True,
    }  # fmt: skip


def answers(place: RealPlace, uid: str) -> bool:
    """Whether the system in the machine is up: its guest agent answers."""
    assert place.libvirt is not None
    return place.libvirt.virsh("qemu-agent-command", uid, PING, check=False).returncode == 0


def test_an_uploaded_image_becomes_a_template_and_that_a_machine_whose_system_runs(
    place: RealPlace, api: Client, workers: Workers, tiny_linux_image: Path
) -> None:
    image = upload(place, api, workers, tiny_linux_image.read_bytes())
    made = asked(api, "templates", template_wish(place, image))
    assert workers.run(made["job"]["id"]) == 0
    template = Template.objects.get(pk=made["template"]["id"])
    assert template.status == "ok", Job.objects.get(pk=made["job"]["id"]).error
    wish = {"name": "web-1", "data_center": str(place.centers["physics"].pk), "template": str(template.pk)}
    machine = asked(api, "vms", wish | {"initial_run": {"user_name": "ada"}})
    assert workers.run(machine["job"]["id"]) == 0
    vm = Vm.objects.get(pk=machine["vm"]["id"])
    assert vm.status in {"up", "powering_up"}
    until(lambda: answers(place, str(vm.pk)), seconds=150)
    assert f"{template.pk}" in place.virsh("domblklist", str(vm.pk), "--details") + place.virsh(
        "vol-dumpxml", f"{place.pool}-{vm.disks.get().pk}.qcow2", "--pool", place.pool
    )
    assert_nothing_lost(place)


@pytest.mark.parametrize("point", ["convert.made", "upload.made", "make_ready.after"])
def test_a_worker_killed_on_the_way_loses_nothing_and_makes_it_once(
    place: RealPlace, api: Client, workers: Workers, plant: Plant, tiny_linux_image: Path, point: str
) -> None:
    image = upload(place, api, workers, tiny_linux_image.read_bytes())
    job = Job.objects.get(pk=asked(api, "templates", template_wish(place, image))["job"]["id"])
    plant(f"compute.make_template.{point}", "kill")
    assert workers.run(job.pk) == -signal.SIGKILL
    hurry(job)
    assert workers.run(job.pk) == 0
    job.refresh_from_db()
    assert job.status == "finished", job.error
    assert_nothing_lost(place)
