"""What images, templates and adopted machines cost a data center: charged beforehand, given back when they go."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from compute import spool
from compute.models import FoundVm, Image, Template, Vm
from compute.services import adoption, images, templates
from compute.services.adoption import Adoption
from compute.services.providers import connect_provider
from compute.services.recount import recount
from compute.sync.inventory import sync_provider
from portal.common.errors import NotPermitted, QuotaExceeded
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension
from tests.compute.image_files import sound
from tests.compute.test_images import begin, send, uploaded
from tests.compute.test_templates import wish
from tests.doubles.hypervisor_state import Fault, HypervisorDouble

pytestmark = pytest.mark.django_db(transaction=True)

GIB = 1024**3


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> None:
    settings.IMAGE_SPOOL = tmp_path / "spool"


@pytest.fixture
def double(institute, tmp_path) -> HypervisorDouble:
    return HypervisorDouble(tmp_path / "hypervisor")


def used(institute: Any, center: str = "physics") -> int:
    rows = {row.dimension: row.used for row in quota.usage(institute.centers[center])}
    return rows.get(Dimension.STORAGE_GIB, 0)


def limit(institute: Any, gib: int) -> None:
    quota.set_limits(institute.centers["physics"], {Dimension.STORAGE_GIB: gib})


def agrees(institute: Any) -> bool:
    return all(recount(institute.actor("root"), center).agrees for center in institute.centers.values())


# --- images


def test_an_upload_over_the_limit_is_refused_before_its_first_byte_with_all_figures(institute):
    limit(institute, 3)
    begin(institute, b"", size_bytes=2 * GIB)
    with pytest.raises(QuotaExceeded) as refused:
        begin(institute, b"", size_bytes=GIB + 1)
    [reason] = refused.value.reasons
    assert {name: reason.data[name] for name in ("dimension", "limit", "used", "requested", "shortfall")} == {
        "dimension": "storage_gib", "limit": 3, "used": 2, "requested": 2, "shortfall": 1,
    }  # fmt: skip
    for words in ("3 GiB", "2 GiB", "1 GiB over", "ask for a larger quota"):
        assert words in reason.text
    assert Image.objects.count() == 1
    assert list(spool.folder().iterdir()) == []
    begin(institute, b"", size_bytes=GIB)
    assert (used(institute), agrees(institute)) == (3, True)


def test_the_api_refuses_it_as_a_conflict_and_the_page_says_why(institute):
    limit(institute, 1)
    client = Client()
    client.force_login(institute.users["physics-admin"])
    body = {"name": "disk", "format": "raw", "size_bytes": 2 * GIB, "data_center": str(institute.centers["physics"].pk)}
    answer = client.post("/api/v1/images/", body, content_type="application/json")
    assert answer.status_code == 409
    assert answer.json()["code"] == "quota_exceeded"
    assert answer.json()["reasons"][0]["shortfall"] == 1
    assert "limit 1 GiB, in use 0 GiB, asked for 2 GiB, 1 GiB over" in answer.json()["detail"]


def test_an_image_costs_until_it_is_removed_refused_or_swept(institute, tmp_path):
    removed, swept = begin(institute, bytes(10)), begin(institute, bytes(10))
    refused = send(institute, begin(institute, bytes(10)), bytes(10))
    assert used(institute) == 3
    images.delete_image(institute.actor("physics-admin"), removed.pk)
    assert used(institute) == 2
    run_to_end(recent_job(refused))
    refused.refresh_from_db()
    assert (refused.status, used(institute)) == ("refused", 1)
    assert agrees(institute)
    images.delete_image(institute.actor("physics-admin"), refused.pk)
    Image.objects.filter(pk=swept.pk).update(changed_at="2020-01-01T00:00:00Z")
    images.sweep()
    assert (used(institute), QuotaCharge.objects.count(), agrees(institute)) == (0, 0, True)


def recent_job(image: Image) -> Any:
    return Job.objects.get(target_uid=image.pk).pk


def test_what_is_the_institutes_is_charged_to_nobody(institute, tmp_path):
    limit(institute, 0)
    image = send(institute, begin(institute, data := sound(tmp_path), "root"), data, "root")
    run_to_end(recent_job(image))
    _template, job = templates.make_template(institute.actor("root"), wish(institute, image, center=""))
    assert run_to_end(job.pk).status == "finished"
    assert QuotaCharge.objects.count() == 0
    assert agrees(institute)


# --- templates


def test_a_template_costs_what_its_disk_promises_and_no_more_than_there_is(institute, tmp_path):
    image, admin = uploaded(institute, sound(tmp_path, mib=1500)), institute.actor("physics-admin")
    limit(institute, 2)
    with pytest.raises(QuotaExceeded) as refused:
        templates.make_template(admin, wish(institute, image))
    assert refused.value.reasons[0].data["requested"] == 2
    assert not Template.objects.filter(owner=institute.centers["physics"]).exists()
    limit(institute, 3)
    template, job = templates.make_template(admin, wish(institute, image))
    assert used(institute) == 3
    run_to_end(job.pk)
    assert (used(institute), agrees(institute)) == (3, True)
    run_to_end(templates.delete_template(admin, template.pk).pk)
    assert (used(institute), agrees(institute)) == (1, True)


def test_a_template_that_fails_costs_nothing(institute, double, tmp_path):
    image = uploaded(institute, sound(tmp_path))
    _template, job = templates.make_template(institute.actor("physics-admin"), wish(institute, image))
    double.fail("upload_disk", Fault.FULL)
    assert run_to_end(job.pk).status == "failed"
    assert (used(institute), agrees(institute)) == (1, True)


# --- adopted machines


@pytest.fixture
def mail(institute, double) -> FoundVm:
    double.plant_vm("mail", disk_bytes=5 * GIB + 1)
    sync_provider(institute.provider)
    return FoundVm.objects.get()


def adopt(institute: Any, row: FoundVm) -> Vm:
    wanted = Adoption((row.pk,), institute.centers["physics"].pk, "alice")
    [(vm, job)] = adoption.adopt(institute.actor("root"), wanted)
    assert run_to_end(job.pk).status == "finished"
    vm.refresh_from_db()
    return vm


def test_an_adopted_machines_disks_are_in_the_review_charged_over_the_limit_too_and_given_back(institute, mail):
    limit(institute, 2)
    plan = adoption.plan_adoption(institute.actor("root"), Adoption((mail.pk,), institute.centers["physics"].pk, ""))
    assert [one.disk_gib for one in plan.candidates] == [6]
    assert [(row.used, row.after, row.limit) for row in plan.quota if row.dimension == Dimension.STORAGE_GIB] == [
        (0, 6, 2)
    ]
    vm = adopt(institute, mail)
    assert (vm.found_disk_gib, used(institute), agrees(institute)) == (6, 6, True)
    assert run_to_end(adoption.unadopt_vm(institute.actor("root"), vm.pk).pk).status == "finished"
    assert (used(institute), QuotaCharge.objects.count(), agrees(institute)) == (0, 0, True)


def test_disks_that_cannot_be_measured_are_named_in_the_review_and_cost_nothing(institute, double):
    double.plant_vm("far", disk_bytes=None)
    sync_provider(institute.provider)
    row = FoundVm.objects.get()
    wanted = Adoption((row.pk,), institute.centers["physics"].pk, "")
    assert adoption.plan_adoption(institute.actor("root"), wanted).unmeasured == ("far",)
    vm = adopt(institute, row)
    assert (vm.found_disk_gib, used(institute), agrees(institute)) == (None, 0, True), "not known is not nothing"
    client = Client()
    client.force_login(institute.users["root"])
    assert "What they promise is not known, and not charged" in client.get(f"/machines/{vm.pk}/disks/").content.decode()


def test_a_hypervisor_that_is_silent_leaves_the_review_without_sizes(institute, double, mail):
    double.fail("disk_sizes", Fault.GONE)
    wanted = Adoption((mail.pk,), institute.centers["physics"].pk, "")
    assert adoption.plan_adoption(institute.actor("root"), wanted).unmeasured == ("mail",)


def test_each_provider_tells_the_size_of_its_own_machine_where_several_have_one_of_the_same_id(
    institute, double, mail, tmp_path
):
    other = HypervisorDouble(tmp_path / "second")
    root = institute.actor("root")
    second = connect_provider(root, name="second", kind="double", address=f"double://{tmp_path}/second")
    twin = FoundVm.objects.create(provider=second, external_id=mail.external_id, name="twin")
    other.fail("disk_sizes", Fault.GONE)
    told = {row.name: row.disk_gib for row in adoption.measure(root, [mail.pk, twin.pk])}
    assert told == {"mail": 6, "twin": None}
    twin.refresh_from_db()
    assert twin.measured_at is None


@pytest.mark.parametrize("size", [2**64 - 1, -1])
def test_a_size_that_no_disk_has_is_one_that_cannot_be_told(institute, double, mail, size):
    double.set_vm(mail.external_id, disk_bytes=size)
    [row] = adoption.measure(institute.actor("root"), [mail.pk])
    assert (row.disk_bytes, row.measured_at is not None) == (None, True)
    assert (adopt(institute, mail).found_disk_gib, used(institute)) == (None, 0)


@pytest.mark.parametrize("how", ["credentials", "options"])
def test_a_provider_that_cannot_even_be_asked_leaves_the_others_measured(institute, double, mail, how):
    given: Any = {"credentials": {"sealed_secrets": "of another key"}, "options": {"options": {"calls_at_once": "no"}}}
    far = Provider.objects.create(name="far", kind="double", address="double:///far", **given[how])
    twin = FoundVm.objects.create(provider=far, external_id=mail.external_id, name="twin")
    told = {row.name: row.disk_gib for row in adoption.measure(institute.actor("root"), [mail.pk, twin.pk])}
    assert told == {"mail": 6, "twin": None}
    wish = Adoption((mail.pk, twin.pk), institute.centers["physics"].pk)
    assert adoption.plan_adoption(institute.actor("root"), wish).unmeasured == ("twin",)


# --- the recount


def test_the_recount_reports_what_differs_and_mends_nothing(institute, mail, tmp_path):
    image, vm = uploaded(institute, sound(tmp_path)), adopt(institute, mail)
    call_command("recount_quota", stdout=StringIO())
    quota.release(quota.Consumer("image", image.pk))
    Vm.objects.filter(pk=vm.pk).update(found_disk_gib=7)
    for _ in range(2):
        found = recount(institute.actor("root"), institute.centers["physics"])
        assert {(row.kind, row.uid, row.charged, row.costs) for row in found.charges} == {
            ("image", image.pk, None, 1), ("vm", vm.pk, 6, 7),
        }  # fmt: skip
    said = StringIO()
    with pytest.raises(CommandError, match="physics"):
        call_command("recount_quota", stdout=said)
    assert f"image {image.pk} storage_gib: charged None, costs 1" in said.getvalue()
    with pytest.raises(NotPermitted):
        recount(institute.actor("physics-admin"), institute.centers["physics"])
