"""The shelf as those see it who want more of it than is theirs: other departments' ids, hostile names, sizes and offsets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute import spool
from compute.models import FoundVm, Image, Template, Vm
from compute.services import images, template_copies, vms
from compute.services.template_copies import CopyRequest
from compute.services.template_rows import TemplateTraits
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.common.errors import Conflict
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy
from tenants.models import QuotaCharge
from tests.compute.image_files import backing_file, sound
from tests.compute.test_images import begin, inspected, put, send, uploaded
from tests.doubles.hypervisor_state import HypervisorDouble

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = [
    "../../etc/passwd", "/etc/passwd", "..", ".", "", " ", "a\x00b", "a\nb", "<script>alert(1)</script>", "{{7*7}}",
    "json:{\"driver\":\"file\"}", "nbd://h/x", "%2e%2e%2f", "\u202egnp.exe", "x" * 10_000, "\ud83d\ude00",
]  # fmt: skip


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> None:
    settings.IMAGE_SPOOL = tmp_path / "spool"


def client_of(institute: Any, name: str) -> Client:
    client = Client()
    client.force_login(institute.users[name])
    return client


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(f"/api/v1/{path}/", body, content_type="application/json")


@pytest.fixture
def vm(institute) -> Vm:
    wish = VmRequest("web", institute.centers["physics"].pk, institute.template.pk, run=False)
    made, job = vms.create_vm(institute.actor("alice"), wish)
    run_to_end(job.pk)
    return Vm.objects.get(pk=made.pk)


@pytest.mark.turns
@pytest.mark.long
def test_IN04_a_hostile_name_is_refused_by_field_at_every_door_and_nothing_is_written(institute, vm, tmp_path):  # noqa: N802
    client, center = client_of(institute, "root"), str(institute.centers["physics"].pk)
    domain = str(institute.template.storage_domain_id)
    image = uploaded(institute, sound(tmp_path), name="good")
    before = counts()
    for name in NAMES:
        base = {"name": name, "storage_domain": domain, "data_center": center, "accept_unsealed": True}
        asked = {
            "image": post(client, "images", {"name": name, "format": "raw", "size_bytes": 5, "data_center": center}),
            "of an image": post(client, "templates", base | {"image": str(image.pk)}),
            "of a machine": post(client, "templates", base | {"vm": str(vm.pk)}),
            "named by an id": post(client, "templates", base | {"name": "x", "vm": name}),
            "stored by an id": post(
                client, "templates", base | {"name": "x", "vm": str(vm.pk), "storage_domain": name}
            ),
        }
        assert {what: answer.status_code for what, answer in asked.items()} == dict.fromkeys(asked, 400), name[:40]
        assert all(answer.json()["reasons"][0]["field"] for answer in asked.values()), name[:40]
        volume = {"storage_domain": domain, "name": name}
        assert post(client, "templates", base | {"name": "x", "volume": volume}).status_code in {400, 404}, name[:40]
    assert counts() == before


def counts() -> list[int]:
    return [table.objects.count() for table in (Image, Template, QuotaCharge, Job)]


def test_IN18_a_size_that_is_none_is_refused_by_field_and_charges_nothing(institute):  # noqa: N802
    client, center = client_of(institute, "physics-admin"), str(institute.centers["physics"].pk)
    for size in (0, -1, 2**63, 10**30, 1.5, "5", True, None, [5], {"a": 1}):
        answer = post(client, "images", {"name": "x", "format": "raw", "size_bytes": size, "data_center": center})
        assert (answer.status_code, answer.json()["reasons"][0]["field"]) == (400, "size_bytes"), size
    assert not QuotaCharge.objects.exists()


@pytest.mark.turns
@pytest.mark.long
def test_AZ12_ids_of_another_department_are_as_good_as_none(institute, vm, tmp_path):  # noqa: N802
    image = uploaded(institute, sound(tmp_path), name="ours")
    physics, informatics = (str(institute.centers[name].pk) for name in ("physics", "informatics"))
    domain = str(institute.template.storage_domain_id)
    base = {"name": "x", "storage_domain": domain, "accept_unsealed": True}
    for who in ("informatics-admin", "charlie", "bob", "alice"):
        client = client_of(institute, who)
        for kind, ours in (("image", image.pk), ("vm", vm.pk)):
            for center in (physics, informatics):
                real, absent = (
                    post(client, "templates", base | {"data_center": center, kind: str(uid)}) for uid in (ours, uuid4())
                )
                assert real.status_code in {403, 404}, (who, kind)
                may_see = who == "alice" and kind == "vm"
                assert may_see or real.status_code == absent.status_code, (who, kind)
        assert put(client, str(image.pk), b"x", 0).status_code == 404
        assert client.delete(f"/api/v1/images/{image.pk}/").status_code == 404
        assert client.get(f"/api/v1/storage-domains/{domain}/volumes/").status_code == 403
    assert not Template.objects.exclude(owner=None).exists()
    assert Image.objects.count() == 1


def test_who_was_given_rights_on_a_machine_takes_nothing_of_it_into_his_own_department(institute, vm):
    policy.grant(system_actor(), "user-vm-manager", institute.users["informatics-admin"], vm)
    theirs = institute.actor("informatics-admin")
    domain = institute.template.storage_domain_id
    wish = CopyRequest(TemplateTraits("x"), domain, institute.centers["informatics"].pk, accept_unsealed=True)
    with pytest.raises(Conflict) as refused:
        template_copies.template_of_machine(theirs, vm.pk, wish)
    assert [reason.code for reason in refused.value.reasons] == ["other_data_center"]
    choices = client_of(institute, "informatics-admin").get(f"/templates/new/?machine={vm.pk}")
    assert choices.context["form"].fields["data_center"].choices == []
    assert not Template.objects.exclude(owner=None).exists()


def test_IN05_an_image_that_was_refused_takes_no_more_bytes_and_none_is_there_again(institute, tmp_path):  # noqa: N802
    image = uploaded(institute, backing_file(tmp_path))
    assert image.status == "refused"
    client = client_of(institute, "physics-admin")
    for offset in (0, image.size_bytes, 5):
        assert put(client, str(image.pk), b"x" * 10, offset).status_code == 409
    assert list(spool.folder().iterdir()) == []


def test_IN05_a_ready_image_cannot_be_changed_by_its_own_uploader(institute, tmp_path):  # noqa: N802
    data = sound(tmp_path)
    image = inspected(send(institute, begin(institute, data), data))
    client = client_of(institute, "physics-admin")
    for offset in (0, 8, image.size_bytes - 10):
        assert put(client, str(image.pk), os.urandom(10), offset).status_code == 409
    assert spool.uploaded(image.pk).read_bytes() == data


def test_a_spool_that_somebody_put_a_link_into_is_not_followed(institute, tmp_path):
    image, victim = begin(institute, bytes(10)), tmp_path / "victim"
    victim.write_bytes(b"untouched")
    spool.uploaded(image.pk).symlink_to(victim)
    with pytest.raises(Conflict):
        images.receive(institute.actor("physics-admin"), image.pk, b"x", offset=0)
    assert victim.read_bytes() == b"untouched"


def test_IN12_what_a_provider_calls_its_machines_and_volumes_is_shown_as_text(institute, tmp_path):  # noqa: N802
    hostile = '<img src=x onerror="alert(1)">\u202e{{7*7}}'
    double = HypervisorDouble(tmp_path / "hypervisor")
    double.plant_vm(hostile, disk_bytes=1 << 62)
    double.plant_volume(hostile, sound(tmp_path)[:4096], format="<b>")
    sync_provider(institute.provider)
    root, row = client_of(institute, "root"), FoundVm.objects.get()
    center, domain = str(institute.centers["physics"].pk), institute.template.storage_domain_id
    pages = [
        root.get("/unassigned/"),
        root.post("/unassigned/", {"action": "review", "machine": str(row.pk), "data_center": center, "owner": ""}),
        root.get(f"/storage-domains/{domain}/volumes/"),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "<img src=x" not in page.content.decode()
        assert "&lt;img src=x" in page.content.decode()
    for body in ({"machines": [str(row.pk)] * 1000}, {"machines": ["x"]}, {"machines": []}, {"machines": "all"}):
        answer = post(root, "unassigned-vms/adopt", {"data_center": center} | body)
        assert answer.status_code == 400, body
