"""Templates: made from uploaded images, changed, and removed only when nothing needs them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute import qemu_img, selectors, spool
from compute.models import Image, Template, Vm
from compute.services import images, sharing, templates, vms
from compute.services.template_rows import TemplateTraits
from compute.services.templates import NewTemplate, TemplateEdit
from compute.services.wishes import VmRequest
from compute.versions import latest
from portal.common.actor import system_actor
from portal.common.errors import Busy, Conflict, Invalid, NotFound, NotPermitted, PreconditionFailed
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import DiskRef
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy
from tests.compute.image_files import sound
from tests.compute.test_images import begin, uploaded
from tests.doubles.hypervisor_state import Fault, HypervisorDouble

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> None:
    settings.IMAGE_SPOOL = tmp_path / "spool"


@pytest.fixture
def image(institute, tmp_path) -> Image:
    return uploaded(institute, sound(tmp_path, mib=1500), name="disk")


def wish(institute: Any, image: Image, center: str = "physics", **traits: Any) -> NewTemplate:
    owner = institute.centers[center].pk if center else None
    return NewTemplate(
        TemplateTraits(**{"name": "Debian 12"} | traits), image.pk, institute.template.storage_domain_id, owner
    )


def made(institute: Any, image: Image, who: str = "physics-admin", **traits: Any) -> Template:
    template, job = templates.make_template(institute.actor(who), wish(institute, image, **traits))
    assert run_to_end(job.pk).status == "finished", Job.objects.get(pk=job.pk).error
    template.refresh_from_db()
    return template


def on_disk(template: Template) -> bool:
    ref = DiskRef(template.pk, template.storage_domain.external_id)
    return driver_for(template.storage_domain.provider).find_disk(ref) is not None


def test_a_template_of_an_image_is_converted_sent_and_used(institute, image):
    template = made(institute, image, icon="server", has_cloud_init=True, memory_mib=512)
    assert (template.status, template.disk_gib, template.owner) == ("ok", 2, institute.centers["physics"])
    assert on_disk(template)
    assert [path.name for path in spool.folder().iterdir()] == [f"{image.pk}.upload"]
    alice, charlie = institute.actor("alice"), institute.actor("charlie")
    assert template in selectors.usable_templates(alice, institute.centers["physics"])
    assert template not in selectors.all_templates(charlie)
    machine = VmRequest(name="web", data_center_uid=institute.centers["physics"].pk, template_uid=template.pk)
    _vm, job = vms.create_vm(alice, machine)
    assert run_to_end(job.pk).status == "finished"


def test_a_template_that_is_being_made_is_seen_by_its_admins_alone(institute, image):
    template, _job = templates.make_template(institute.actor("physics-admin"), wish(institute, image))
    assert template in selectors.all_templates(institute.actor("physics-admin"))
    assert template not in selectors.all_templates(institute.actor("alice"))
    with pytest.raises(Busy):
        images.delete_image(institute.actor("physics-admin"), image.pk)
    with pytest.raises(Busy):
        templates.delete_template(institute.actor("physics-admin"), template.pk)


@pytest.mark.parametrize("method", ["upload_disk", "find_disk"])
def test_what_fails_leaves_nothing(institute, image, tmp_path, method):
    double = HypervisorDouble(tmp_path / "hypervisor")
    template, job = templates.make_template(institute.actor("physics-admin"), wish(institute, image))
    double.fail(method, Fault.FULL)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("failed", "hypervisor_no_capacity")
    assert not Template.objects.filter(pk=template.pk).exists()
    assert [path.name for path in spool.folder().iterdir()] == [f"{image.pk}.upload"]
    assert not on_disk(template)
    made(institute, image)


def test_a_conversion_that_fails_says_so_and_leaves_nothing(institute, image):
    with spool.uploaded(image.pk).open("r+b") as file:
        file.seek(36)  # how long its table of tables is
        file.write(bytes(4))
    template, job = templates.make_template(institute.actor("physics-admin"), wish(institute, image))
    assert run_to_end(job.pk).error["code"] == "conversion_failed"
    assert not Template.objects.filter(pk=template.pk).exists()
    assert [path.name for path in spool.folder().iterdir()] == [f"{image.pk}.upload"]


def test_the_format_is_said_and_never_guessed(institute, image, monkeypatch):
    seen: list[list[str]] = []
    run = qemu_img._run

    def note(arguments: list[str], **more: Any) -> Any:
        seen.append(arguments)
        return run(arguments, **more)

    monkeypatch.setattr(qemu_img, "_run", note)
    made(institute, image)
    [arguments] = seen
    assert arguments[:5] == ["convert", "-f", "qcow2", "-O", "qcow2"]


BAD_TRAITS = (
    ({"name": ""}, "name"),
    ({"name": "a<b"}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"description": "x" * 501}, "description"),
    ({"description": "\x07"}, "description"),
    ({"icon": "../../etc/passwd"}, "icon"),
    ({"memory_mib": 1}, "memory_mib"),
    ({"memory_min_mib": 2048, "memory_mib": 1024}, "memory_mib"),
    ({"memory_min_mib": 0}, "memory_min_mib"),
    ({"vcpus": 0}, "vcpus"),
)


def test_bad_traits_name_the_field_when_made_and_when_changed(institute, image):
    actor = institute.actor("physics-admin")
    for traits, field in BAD_TRAITS:
        with pytest.raises(Invalid) as refused:
            templates.make_template(actor, wish(institute, image, **traits))
        assert [reason.field for reason in refused.value.reasons] == [field], traits
    template = made(institute, image, memory_mib=1024)
    for traits, field in BAD_TRAITS:
        with pytest.raises(Invalid) as refused:
            templates.edit_template(actor, template.pk, TemplateEdit(traits))
        assert [reason.field for reason in refused.value.reasons] == [field], traits


def test_what_may_not_be_used_is_not_there(institute, image):
    theirs = institute.actor("informatics-admin")
    with pytest.raises(NotFound):
        templates.make_template(theirs, wish(institute, image, center="informatics"))
    own = institute.actor("physics-admin")
    with pytest.raises(NotPermitted):
        templates.make_template(own, wish(institute, image, center=""))
    bad = NewTemplate(TemplateTraits("x"), image.pk, uuid4(), institute.centers["physics"].pk)
    with pytest.raises(NotFound):
        templates.make_template(own, bad)
    with pytest.raises(NotFound):
        templates.make_template(institute.actor("alice"), wish(institute, image, center="informatics"))
    with pytest.raises(NotPermitted):
        templates.make_template(institute.actor("alice"), wish(institute, image))
    half = begin(institute, bytes(10), name="half")
    with pytest.raises(Conflict):
        templates.make_template(own, wish(institute, half))
    made(institute, image)
    with pytest.raises(Conflict) as refused:
        templates.make_template(own, wish(institute, image))
    assert refused.value.reasons[0].field == "name"


def test_a_full_storage_domain_refuses_with_figures(institute, image):
    domain = institute.template.storage_domain
    domain.total_bytes, domain.free_bytes = 10**9, 1000
    domain.save()
    with pytest.raises(Conflict) as refused:
        templates.make_template(institute.actor("physics-admin"), wish(institute, image))
    assert refused.value.reasons[0].data == {"free_bytes": 1000, "size_bytes": image.size_bytes}


def test_a_template_that_machines_need_is_not_deleted_and_they_are_named(institute, image):
    template = made(institute, image)
    machine = VmRequest(name="web", data_center_uid=institute.centers["physics"].pk, template_uid=template.pk)
    vm, job = vms.create_vm(institute.actor("alice"), machine)
    run_to_end(job.pk)
    with pytest.raises(Conflict) as refused:
        templates.delete_template(institute.actor("physics-admin"), template.pk)
    assert refused.value.reasons[0].data == {"count": 1, "machines": ["web"]}
    vms.stop_vm(institute.actor("alice"), vm.pk)
    for job in Job.objects.filter(target_uid=vm.pk, status="queued"):
        run_to_end(job.pk)
    run_to_end(vms.delete_vm(institute.actor("alice"), vm.pk).pk)
    assert run_to_end(templates.delete_template(institute.actor("physics-admin"), template.pk).pk).status == "finished"
    assert not Template.objects.filter(pk=template.pk).exists()
    assert not on_disk(template)


def test_the_institutes_templates_are_its_own(institute):
    template, admin = institute.template, institute.actor("physics-admin")
    for act in (
        lambda: templates.edit_template(admin, template.pk, TemplateEdit({"name": "ours"})),
        lambda: templates.delete_template(admin, template.pk),
    ):
        with pytest.raises(NotPermitted):
            act()
    assert templates.edit_template(institute.actor("root"), template.pk, TemplateEdit({"vcpus": 2})).vcpus == 2


def test_an_edit_over_somebody_elses_is_refused(institute):
    root, uid = institute.actor("root"), institute.template.pk
    seen = templates.template_version(institute.template)
    templates.edit_template(root, uid, TemplateEdit({"description": "theirs"}, seen))
    with pytest.raises(PreconditionFailed):
        templates.edit_template(root, uid, TemplateEdit({"description": "mine"}, seen))


def test_the_api_makes_changes_and_removes_one(institute, image):
    client = Client()
    client.force_login(institute.users["physics-admin"])
    body = {
        "name": "Debian", "image": str(image.pk), "storage_domain": str(institute.template.storage_domain_id),
        "data_center": str(institute.centers["physics"].pk), "has_agent": True,
    }  # fmt: skip
    made = client.post("/api/v1/templates/", body, content_type="application/json")
    assert made.status_code == 202
    uid = made.json()["template"]["id"]
    run_to_end(made.json()["job"]["id"])
    answer = client.get(f"/api/v1/templates/{uid}/")
    assert (answer.json()["status"], answer.json()["has_agent"]) == ("ok", True)
    tag = {"If-Match": answer.headers["ETag"]}
    change = {"description": "x", "vcpus": 2}
    changed = client.patch(f"/api/v1/templates/{uid}/", change, content_type="application/json", headers=tag)
    assert changed.json()["vcpus"] == 2
    again = client.patch(f"/api/v1/templates/{uid}/", change, content_type="application/json", headers=tag)
    assert again.status_code == 412
    gone = client.delete(f"/api/v1/templates/{uid}/")
    assert gone.status_code == 202
    run_to_end(gone.json()["job"]["id"])
    assert client.get(f"/api/v1/templates/{uid}/").status_code == 404


def test_TF17_a_template_whose_disk_was_removed_by_hand_makes_no_machine_and_can_be_deleted(institute, image, tmp_path):  # noqa: N802
    template = made(institute, image)
    double = HypervisorDouble(tmp_path / "hypervisor")
    [key] = [key for key in double.things("disk") if str(template.pk) in key]
    double.remove("disk", key)
    machine = VmRequest(name="web", data_center_uid=institute.centers["physics"].pk, template_uid=template.pk)
    vm, job = vms.create_vm(institute.actor("alice"), machine)
    assert run_to_end(job.pk).error["code"] == "hypervisor_not_found"
    assert not Vm.objects.filter(pk=vm.pk).exists()
    assert run_to_end(templates.delete_template(institute.actor("physics-admin"), template.pk).pk).status == "finished"


@pytest.mark.turns
@pytest.mark.long
def test_TF13_a_hypervisor_that_is_away_for_a_while_delays_a_template_and_no_more(institute, image, tmp_path):  # noqa: N802
    double = HypervisorDouble(tmp_path / "hypervisor")
    double.forget_calls()
    double.fail("upload_disk", Fault.GONE, times=2)
    template = made(institute, image)
    assert on_disk(template)
    assert len(double.calls("upload_disk")) == 3


def test_the_latest_version_is_what_is_offered_and_earlier_ones_can_still_be_named(institute, image):
    first = made(institute, image)
    second, job = templates.make_template(institute.actor("physics-admin"), next_of(institute, image))
    alice, physics = institute.actor("alice"), institute.centers["physics"]
    offered = latest(selectors.usable_templates(alice, physics))
    assert first in offered  # the second is not ready yet
    run_to_end(job.pk)
    assert (second.name, second.version) == (first.name, 2)
    assert second in offered.all()
    assert first not in offered.all()
    assert institute.template in offered.all()
    machine = VmRequest(name="web", data_center_uid=physics.pk, template_uid=first.pk)
    assert vms.create_vm(alice, machine)[0].template == first
    templates.edit_template(institute.actor("physics-admin"), second.pk, TemplateEdit({"name": "Debian"}))
    assert set(Template.objects.filter(name="Debian")) == {first, second}


def next_of(institute: Any, image: Image, **traits: Any) -> NewTemplate:
    return dataclasses.replace(wish(institute, image, **traits), next_version=True)


def test_a_version_of_the_institutes_is_for_whom_the_one_before_was(institute, image):
    own = institute.template
    domain = own.storage_domain_id
    request = NewTemplate(TemplateTraits(own.name), image.pk, domain, None, next_version=True)
    template, job = templates.make_template(institute.actor("root"), request)
    run_to_end(job.pk)
    for person, center in (("alice", "physics"), ("charlie", "informatics")):
        usable = selectors.usable_templates(institute.actor(person), institute.centers[center])
        assert list(latest(usable)) == [template]
        assert list(latest(usable, within=selectors.usable_data_centers(institute.actor(person)))) == [template]


def test_a_next_version_takes_the_right_to_change_the_one_before(institute, image):
    own = made(institute, image)
    alice, physics = institute.users["alice"], institute.centers["physics"]
    policy.grant(system_actor(), "power-user-role", alice, physics)
    policy.grant(system_actor(), "disk-operator", alice, image)
    wanted = dataclasses.replace(wish(institute, image, name=own.name), next_version=True)
    with pytest.raises(NotPermitted, match="TEMPLATE_EDIT"):
        templates.make_template(institute.actor("alice"), wanted)
    assert templates.make_template(
        institute.actor("alice"), dataclasses.replace(wanted, traits=TemplateTraits("hers"), next_version=False)
    )


def test_AZ12_an_image_that_one_merely_sees_goes_to_no_other_department(institute, image):  # noqa: N802
    charlie, physics = institute.users["charlie"], institute.centers["physics"]
    policy.grant(system_actor(), "read-only-admin", charlie, physics)
    policy.grant(system_actor(), "power-user-role", charlie, institute.centers["informatics"])
    theirs = wish(institute, image, center="informatics")
    with pytest.raises(NotPermitted, match="IMAGE_UPLOAD"):
        templates.make_template(institute.actor("charlie"), theirs)
    policy.grant(system_actor(), "disk-operator", charlie, image)
    assert templates.make_template(institute.actor("charlie"), theirs)
    policy.grant(system_actor(), "template-admin", institute.users["bob"], physics)
    assert templates.make_template(institute.actor("bob"), wish(institute, image)), "in its own it is for who sees it"


def test_AZ05_who_may_change_one_version_does_not_rename_the_others_nor_an_engines_own(institute, image):  # noqa: N802
    first, bob = made(institute, image), institute.users["bob"]
    second, _job = templates.make_template(institute.actor("physics-admin"), next_of(institute, image))
    policy.grant(system_actor(), "template-owner", bob, first)
    with pytest.raises(NotPermitted, match="other versions"):
        templates.edit_template(institute.actor("bob"), first.pk, TemplateEdit({"name": "Mine"}))
    assert templates.edit_template(institute.actor("bob"), first.pk, TemplateEdit({"vcpus": 2})).vcpus == 2
    policy.grant(system_actor(), "template-owner", bob, second)
    templates.edit_template(institute.actor("bob"), first.pk, TemplateEdit({"name": "Ours"}))
    assert set(Template.objects.filter(name="Ours")) == {first, second}
    own = Template.objects.get(pk=institute.template.pk)
    engines = Template.objects.get(pk=own.pk)
    engines.pk, engines.provider, engines.external_id, engines._state.adding = uuid4(), institute.provider, "x", True
    engines.save()
    templates.edit_template(institute.actor("root"), own.pk, TemplateEdit({"name": "Plain"}))
    assert Template.objects.get(pk=engines.pk).name == own.name


def test_there_is_no_next_version_of_nothing(institute, image):
    with pytest.raises(Invalid) as refused:
        templates.make_template(institute.actor("physics-admin"), next_of(institute, image, name="New"))
    assert refused.value.reasons[0].field == "name"


def test_a_list_says_which_data_centers_may_use_each_template_as_far_as_its_reader_sees(institute):
    physics, informatics = (institute.centers[name] for name in ("physics", "informatics"))
    clients = {name: Client() for name in ("root", "alice", "charlie")}
    for name, client in clients.items():
        client.force_login(institute.users[name])

    def told(name: str) -> tuple[list[str], str]:
        [row] = clients[name].get("/api/v1/templates/").json()["results"]
        page = clients[name].get("/templates/").content.decode()
        cell = page.partition('data-label="For">')[2].partition("</td>")[0]
        return row["data_centers"], " ".join(re.sub("<[^>]*>", "", cell).split())

    both = [str(informatics.pk), str(physics.pk)]
    assert told("root") == (both, "informatics, physics")
    assert told("alice") == ([str(physics.pk)], "physics")
    sharing.unassign(institute.actor("root"), informatics.pk, "template", institute.template.pk)
    assert told("root") == ([str(physics.pk)], "physics")
    assert clients["charlie"].get("/api/v1/templates/").json()["results"] == []
    sharing.unassign(institute.actor("root"), physics.pk, "template", institute.template.pk)
    assert told("root") == ([], "no data center yet")
