"""Templates copied on their hypervisor: from a machine that is off, and from a volume that lies there."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute import selectors, spool
from compute.actions import vm_actions
from compute.models import FoundVm, Template, Vm
from compute.operations import copies
from compute.services import adoption, template_copies, vms
from compute.services.adoption import Adoption
from compute.services.providers import connect_provider, own_storage, share_out
from compute.services.template_copies import CopyRequest
from compute.services.template_rows import TemplateTraits
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from portal.common.errors import Busy, Conflict, Invalid, NotFound, NotPermitted, QuotaExceeded
from portal.common.phrases import said
from portal.jobs.context import JobContext
from portal.jobs.engine import advance, run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models.quota import Dimension
from tests.compute.image_files import HOSTILE, sound
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.doubles.hypervisor_storage import DoubleStorage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def double(institute, tmp_path) -> HypervisorDouble:
    return HypervisorDouble(tmp_path / "hypervisor")


@pytest.fixture
def vm(institute) -> Vm:
    """A machine of alice's that is off."""
    return machine(institute, run=False)


def machine(institute: Any, *, run: bool, name: str = "web") -> Vm:
    wish = VmRequest(name, institute.centers["physics"].pk, institute.template.pk, run=run)
    made, job = vms.create_vm(institute.actor("alice"), wish)
    assert run_to_end(job.pk).status == "finished"
    return Vm.objects.get(pk=made.pk)


def wish(institute: Any, center: str = "physics", **more: Any) -> CopyRequest:
    owner = institute.centers[center].pk if center else None
    rest = {"accept_unsealed": True} | more
    return CopyRequest(TemplateTraits("golden"), institute.template.storage_domain_id, owner, **rest)


def copied(institute: Any, vm: Vm, who: str = "physics-admin", **more: Any) -> tuple[Template, Job]:
    return template_copies.template_of_machine(institute.actor(who), vm.pk, wish(institute, **more))


# --- of a machine


def test_a_machine_that_is_off_becomes_a_template_that_says_it_is_not_sealed(institute, double, vm):
    before = double.things("vm"), double.things("disk")
    template, job = copied(institute, vm)
    assert run_to_end(job.pk).status == "finished", Job.objects.get(pk=job.pk).error
    template.refresh_from_db()
    assert (template.status, template.is_sealed, template.owner_id) == ("ok", False, vm.data_center_id)
    assert template.disk_gib == vm.disks.get().size_gib
    things = double.things("disk")
    [key] = things.keys() - before[1].keys()
    assert (things.pop(key)["base"], str(template.pk) in key) == ("", True)
    assert (double.things("vm"), things) == before
    wanted = VmRequest("web-2", institute.centers["physics"].pk, template.pk)
    _vm, job = vms.create_vm(institute.actor("alice"), wanted)
    assert run_to_end(job.pk).status == "finished"


def test_while_it_is_copied_nobody_starts_or_deletes_it_and_the_page_says_why(institute, vm):
    _template, job = copied(institute, vm)
    alice = institute.actor("alice")
    for verb in (vms.run_vm, vms.delete_vm):
        with pytest.raises(Busy) as refused:
            verb(alice, vm.pk)
        assert refused.value.data["job"]["id"] == str(job.pk)
    assert [reason.code for reason in vms.plan_verb(alice, vm.pk, "run").reasons] == ["busy"]
    actions = {row.verb: row for row in vm_actions(vm, selectors.permits_of(alice, vm))}
    assert not actions["run"].allowed
    assert actions["run"].reason == "Another job is at work on this machine."
    run_to_end(job.pk)
    assert run_to_end(vms.run_vm(alice, vm.pk).pk).status == "finished"


def test_a_machine_that_runs_is_refused_with_its_status_and_one_that_a_job_starts_as_busy(institute, vm):
    running = machine(institute, run=True, name="on")
    with pytest.raises(Conflict) as refused:
        copied(institute, running)
    assert refused.value.reasons[0].data["status"] == running.status
    vms.run_vm(institute.actor("alice"), vm.pk)
    with pytest.raises(Busy):
        copied(institute, vm)
    assert not Template.objects.filter(name="golden").exists()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_one_that_was_started_behind_the_portals_back_is_not_made_a_template(institute, double, vm, monkeypatch, when):
    template, job = copied(institute, vm)
    if when == "before":
        double.set_vm(str(vm.pk), state="up")
    else:
        copy = DoubleStorage.copy_disk

        def started(*args: Any, **more: Any) -> Any:
            double.set_vm(str(vm.pk), state="up")
            return copy(*args, **more)

        monkeypatch.setattr(DoubleStorage, "copy_disk", started)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("failed", "vm_not_down")
    assert not Template.objects.filter(pk=template.pk).exists()
    assert str(template.pk) not in str(double.things("disk").keys())


def test_what_the_maker_does_not_accept_is_not_made(institute, vm):
    with pytest.raises(Invalid) as refused:
        copied(institute, vm, accept_unsealed=False)
    assert refused.value.reasons[0].field == "accept_unsealed"
    assert not Template.objects.filter(name="golden").exists()


def test_whoever_may_not_make_templates_or_see_the_machine_makes_none_of_it(institute, vm):
    with pytest.raises(NotPermitted):
        copied(institute, vm, "alice")
    for who in ("informatics-admin", "charlie", "bob"):
        for center in ("physics", "informatics"):
            with pytest.raises(NotFound):
                copied(institute, vm, who, center=center)
    with pytest.raises(NotPermitted):
        copied(institute, vm, center="")
    assert copied(institute, vm, "root", center="")[0].owner is None


def test_it_is_charged_before_it_is_copied_and_given_back_when_that_fails(institute, double, vm):
    quota.set_limits(institute.centers["physics"], {Dimension.STORAGE_GIB: 1})
    with pytest.raises(QuotaExceeded):
        copied(institute, vm)
    quota.set_limits(institute.centers["physics"], {Dimension.STORAGE_GIB: 2})
    _template, job = copied(institute, vm)
    double.fail("copy_disk", Fault.FULL)
    assert run_to_end(job.pk).error["code"] == "hypervisor_no_capacity"
    assert quota.recount_drift(institute.centers["physics"]) == []
    copied(institute, vm)


def test_an_adopted_machine_is_refused_with_what_helps(institute, double):
    double.plant_vm("mail")
    sync_provider(institute.provider)
    row = adoption.unassigned(institute.actor("root")).get()
    [(vm, job)] = adoption.adopt(institute.actor("root"), Adoption((row.pk,), institute.centers["physics"].pk))
    run_to_end(job.pk)
    with pytest.raises(Conflict, match="Super-admins can copy its volume"):
        copied(institute, vm)


@pytest.mark.turns
@pytest.mark.long
def test_a_copy_waits_its_turn_and_leaves_other_workers_free(institute, double, vm):
    _template, job = copied(institute, vm)
    with spool.slow_work() as has_place:
        assert has_place
        with spool.slow_work() as has_another:
            assert not has_another
        for _ in range(3):
            advance(job.pk)
        waiting = Job.objects.get(pk=job.pk)
        assert waiting.status == "started"
        assert "next in turn" in str(said(waiting.steps.get(name="copy").message))
        assert double.calls("copy_disk") == []
    assert run_to_end(job.pk).status == "finished"
    assert len(double.calls("copy_disk")) == 1


def test_a_copy_tells_how_far_it_is_as_far_as_its_hypervisor_can(institute, vm, monkeypatch):
    _template, job = copied(institute, vm)
    told: list[int | None] = []
    enough, copy, report = Event(), DoubleStorage.copy_disk, JobContext.report
    figures = iter([None, 1 << 19, 1 << 40])

    def slow(self: DoubleStorage, spec: Any, *, source: Any) -> Any:
        assert enough.wait(30)
        return copy(self, spec, source=source)

    def heard(self: JobContext, message: str, *, progress: int | None = None) -> None:
        told.append(progress)
        if len(told) == 4:
            enough.set()
        report(self, message, progress=progress)

    monkeypatch.setattr(copies, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(copies, "_below", lambda _vm, _driver: 1 << 20)
    monkeypatch.setattr(DoubleStorage, "copy_disk", slow)
    monkeypatch.setattr(DoubleStorage, "copied_bytes", lambda _self, _spec: next(figures, None))
    monkeypatch.setattr(JobContext, "report", heard)
    assert run_to_end(job.pk).status == "finished"
    first, unknown, half, last = told[:4]
    assert (first, unknown, last) == (None, None, 99)
    assert half is not None
    assert 0 < half <= 50


# --- of a volume


def plant(double: HypervisorDouble, head: bytes, **more: Any) -> str:
    return double.plant_volume("golden.qcow2", head[: 1 << 20], **{"size": 8 << 20} | more)


def of_volume(institute: Any, name: str, who: str = "root", **more: Any) -> tuple[Template, Job]:
    domain = institute.template.storage_domain_id
    actor = institute.actor(who)
    return template_copies.template_of_volume(
        actor, *template_copies.get_offer(actor, domain, name), wish(institute, **more)
    )


def test_a_volume_becomes_a_template_and_stays_as_it_is(institute, double, tmp_path):
    name = plant(double, sound(tmp_path))
    before = double.things("disk")
    template, job = of_volume(institute, name)
    assert run_to_end(job.pk).status == "finished", Job.objects.get(pk=job.pk).error
    template.refresh_from_db()
    assert (template.status, template.is_sealed, template.disk_gib) == ("ok", False, 1)
    assert {key: row for key, row in double.things("disk").items() if key in before} == before


def test_volumes_are_listed_for_super_admins_and_none_that_bears_a_disk_of_ours(institute, double, vm, tmp_path):
    plant(double, sound(tmp_path))
    domain = institute.template.storage_domain_id
    found = template_copies.offers(institute.actor("root"), domain)[1]
    assert [one.volume.external_id for one in found] == ["golden.qcow2"]
    disk = next(key for key in double.things("disk") if str(vm.disks.get().pk) in key)
    with pytest.raises(NotFound):
        of_volume(institute, disk)
    for who in ("physics-admin", "alice"):
        with pytest.raises(NotPermitted):
            template_copies.offers(institute.actor(who), domain)
        with pytest.raises(NotPermitted):
            of_volume(institute, "golden.qcow2", who)
    with pytest.raises(NotFound):
        template_copies.offers(institute.actor("root"), uuid4())
    double.fail("volumes", Fault.GONE)
    with pytest.raises(Conflict, match="cannot be listed now"):
        template_copies.offers(institute.actor("root"), domain)


@pytest.mark.parametrize(
    ("more", "code"),
    [({"format": "vmdk"}, "volume_format"), ({"base": "below"}, "volume_has_base"), ({"users": "up"}, "volume_in_use")],
)
def test_what_cannot_be_copied_says_why_in_the_list_and_is_refused(institute, double, tmp_path, more, code):
    state = more.pop("users", "")
    name = plant(double, sound(tmp_path), **more)
    if state:
        double.set_vm(double.plant_vm("mail"), disks=[name], state=state)
    [offer] = template_copies.offers(institute.actor("root"), institute.template.storage_domain_id)[1]
    assert [reason.code for reason in offer.reasons] == [code]
    with pytest.raises(Conflict) as refused:
        of_volume(institute, name)
    assert [reason.code for reason in refused.value.reasons] == [code]


# What only ``qemu-img check`` finds, which a hypervisor does not run: it fails at the copy, or copies what there is.
UNSEEN = {"truncated", "bomb", "table beyond the end"}
# A raw volume is a disk because its hypervisor says so, and machines may run on it; an upload has nobody's word for it.
TAKEN = {"letter"}


@pytest.mark.parametrize("what", sorted(HOSTILE.keys() - UNSEEN - TAKEN))
def test_IN05_what_a_volume_is_is_told_by_its_bytes_before_it_is_copied(institute, double, tmp_path, what):  # noqa: N802
    made, said, code = HOSTILE[what]
    name = plant(double, made(tmp_path), format=said)
    _template, job = of_volume(institute, name)
    ended = run_to_end(job.pk)
    assert ended.status == "failed"
    assert ended.error["code"] == code
    assert double.calls("copy_disk") == []
    assert not Template.objects.filter(name="golden").exists()


def test_an_adopted_machine_that_has_the_volume_is_not_started_meanwhile_and_the_job_names_none(
    institute, double, tmp_path
):
    name, mail = plant(double, sound(tmp_path)), double.plant_vm("mail")
    double.set_vm(mail, disks=[name], state="down")
    sync_provider(institute.provider)
    found = Adoption((FoundVm.objects.get(external_id=mail).pk,), institute.centers["informatics"].pk, "charlie")
    [(vm, adopting)] = adoption.adopt(institute.actor("root"), found)
    with pytest.raises(Busy):
        of_volume(institute, name)
    assert run_to_end(adopting.pk).status == "finished"
    _template, job = of_volume(institute, name)
    with pytest.raises(Busy):
        vms.run_vm(institute.actor("charlie"), vm.pk)
    double.set_vm(mail, state="up")
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"], "mail" in str(ended.error)) == ("failed", "volume_in_use", False)


def test_one_that_somebody_writes_on_while_it_is_copied_is_not_taken(institute, double, tmp_path, monkeypatch):
    name = plant(double, sound(tmp_path))
    _template, job = of_volume(institute, name)
    read = double_heads(monkeypatch, after=1)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"], len(read)) == ("failed", "volume_changed", 2)
    assert not Template.objects.filter(name="golden").exists()


def double_heads(monkeypatch: Any, *, after: int) -> list[bytes]:
    read, seen = DoubleStorage.volume_head, []

    def changed(self: Any, domain: str, name: str, *, length: int) -> bytes:
        head = read(self, domain, name, length=length)
        seen.append(head)
        return head if len(seen) <= after else head[:-1] + b"x"

    monkeypatch.setattr(DoubleStorage, "volume_head", changed)
    return seen


# --- over the API


def test_the_api_takes_exactly_one_source(institute, double, vm, tmp_path):
    client = Client()
    client.force_login(institute.users["root"])
    name = plant(double, sound(tmp_path))
    domain = str(institute.template.storage_domain_id)
    volume = {"storage_domain": domain, "name": name}
    base = {"name": "g", "storage_domain": domain, "data_center": None, "accept_unsealed": True}

    def post(**more: Any) -> Any:
        return client.post("/api/v1/templates/", base | more, content_type="application/json")

    listed = client.get(f"/api/v1/storage-domains/{domain}/volumes/").json()["results"]
    assert [(row["name"], row["format"], row["used_by"], row["reasons"]) for row in listed] == [(name, "qcow2", [], [])]
    for wrong in ({}, {"vm": str(vm.pk), "volume": volume}, {"image": str(uuid4()), "vm": str(vm.pk)}):
        refused = post(**wrong)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
        assert refused.json()["reasons"][0]["field"] in {"image", "vm", "volume"}
    refused = post(vm=str(vm.pk), accept_unsealed=False)
    assert refused.json()["reasons"][0]["field"] == "accept_unsealed"
    for number, source in enumerate(({"vm": str(vm.pk)}, {"volume": volume})):
        made = post(**source, name=f"g{number}")
        assert made.status_code == 202, made.content
        assert run_to_end(made.json()["job"]["id"]).status == "finished"
        assert client.get(f"/api/v1/templates/{made.json()['template']['id']}/").json()["is_sealed"] is False
    for hostile in ("../../etc/passwd", "json:{}", "nbd://x", "a\x00b", "x" * 300, ""):
        assert post(volume={"storage_domain": domain, "name": hostile}).status_code in {400, 404}


def test_a_volume_is_not_tried_dry_for_its_hypervisor_would_be_asked_in_a_transaction(institute, double, tmp_path):
    name = plant(double, sound(tmp_path))
    client = Client()
    client.force_login(institute.users["root"])
    volume = {"storage_domain": str(institute.template.storage_domain_id), "name": name}
    asked = {"name": "golden", "storage_domain": volume["storage_domain"], "volume": volume}
    asked |= {"accept_unsealed": True, "data_center": None}
    refused = client.post("/api/v1/templates/?dry_run=1", asked, content_type="application/json")
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (400, "no_dry_run"), refused.content
    assert client.post("/api/v1/templates/", asked, content_type="application/json").status_code == 202


def test_a_storage_domain_elsewhere_is_named_and_no_provider(institute, vm, tmp_path):
    address = f"double://{tmp_path}/second"
    second = connect_provider(institute.actor("root"), name="the-second", kind="double", address=address)
    share_out(institute.actor("root"), institute.centers["physics"], provider=second)
    domain = own_storage(second)
    request = replace(wish(institute), storage_domain_uid=domain.pk)
    with pytest.raises(Conflict) as refused:
        template_copies.template_of_machine(institute.actor("physics-admin"), vm.pk, request)
    [reason] = refused.value.reasons
    assert (reason.code, reason.field) == ("other_provider", "storage_domain")
    assert domain.name in reason.text
    assert institute.provider.name not in reason.text
    assert second.name not in reason.text
