"""Volumes that a super-admin offers: a department makes templates of those that were offered to it, and of no others."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute.models import StorageAssignment, StorageDomain, Template, Vm, VolumeOffer
from compute.operations import offered as operations
from compute.services import sharing, template_copies, volume_offers
from compute.services.providers import connect_provider
from compute.services.template_copies import CopyRequest
from compute.services.template_rows import TemplateTraits
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.common.errors import Conflict, NotFound, NotPermitted
from portal.events.models import Event
from portal.hypervisors import at_once, errors
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy
from tenants.models import Role
from tenants.selectors import events
from tests.compute.image_files import sound
from tests.compute.test_template_copies import machine, plant
from tests.doubles import hypervisor_storage
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.doubles.hypervisor_storage import DoubleStorage

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "golden.qcow2"


@pytest.fixture
def double(institute, tmp_path) -> HypervisorDouble:
    found = HypervisorDouble(tmp_path / "hypervisor")
    plant(found, sound(tmp_path))
    return found


def offered(institute: Any, center: str = "physics", who: str = "root", name: str = NAME) -> VolumeOffer:
    actor = institute.actor(who)
    looked = volume_offers.look(actor, institute.template.storage_domain_id, name)
    return volume_offers.offer_volume(actor, looked, institute.centers[center].pk)


def made(institute: Any, offer: VolumeOffer, who: str = "physics-admin", center: str = "physics") -> Job:
    domain, owner = institute.template.storage_domain_id, institute.centers[center].pk
    wish = CopyRequest(TemplateTraits("golden"), domain, owner, accept_unsealed=True)
    return volume_offers.template_of_offer(institute.actor(who), offer.pk, wish)[1]


def test_a_departments_admin_makes_a_template_of_what_was_offered_to_him_and_asks_no_hypervisor_for_it(
    institute, double
):
    offer = offered(institute)
    before = len(double.calls("volumes"))
    job = made(institute, offer)
    assert len(double.calls("volumes")) == before
    assert run_to_end(job.pk).status == "finished", Job.objects.get(pk=job.pk).error
    template = Template.objects.get(name="golden")
    assert (template.owner, template.is_sealed, template.status) == (institute.centers["physics"], False, "ok")


def test_nobody_else_sees_it_makes_one_of_it_or_offers_any(institute, double):
    offer = offered(institute)
    for who in ("informatics-admin", "charlie", "alice", "bob"):
        assert list(volume_offers.volume_offers(institute.actor(who))) == []
        with pytest.raises(NotFound):
            made(institute, offer, who, "informatics" if who in {"informatics-admin", "charlie"} else "physics")
        with pytest.raises(NotPermitted):
            offered(institute, who=who)
    with pytest.raises(NotPermitted):
        volume_offers.withdraw_offer(institute.actor("physics-admin"), offer.pk)
    with pytest.raises(Conflict) as refused:  # not even a super-admin takes it elsewhere
        made(institute, offer, "root", "informatics")
    assert refused.value.reasons[0].code == "other_data_center"
    assert not Template.objects.filter(name="golden").exists()


def test_who_offers_them_by_a_role_of_ones_own_sees_them_and_takes_them_back_and_makes_no_template(institute, double):
    Role.objects.create(codename="hosts", name="Hosts", permits=["PROVIDER_VIEW", "PROVIDER_MANAGE"])
    policy.grant(system_actor(), "hosts", institute.users["charlie"], policy.system())
    keeper, offer = institute.actor("charlie"), offered(institute, who="charlie")
    assert volume_offers.offered_in(keeper, offer.assignment.storage_domain) == {NAME: [offer]}
    with pytest.raises((NotFound, NotPermitted)):
        made(institute, offer, "charlie")
    volume_offers.withdraw_offer(keeper, offer.pk)
    assert not VolumeOffer.objects.exists()


@pytest.mark.parametrize("state", ["down", "up"])
def test_a_machines_disk_is_offered_to_nobody_though_the_machine_is_off(institute, double, state):
    double.set_vm(double.plant_vm("mail"), disks=[NAME], state=state)
    with pytest.raises(Conflict) as refused:
        offered(institute)
    assert [reason.code for reason in refused.value.reasons] == ["volume_has_machine"]


def test_disks_of_ours_and_of_another_portals_and_storage_that_is_not_assigned_are_refused(institute, double):
    machine(institute, run=False)
    ours = str(Vm.objects.get().disks.get().pk)
    with pytest.raises(NotFound):
        offered(institute, name=next(key for key in double.things("disk") if ours in key))
    double.plant_volume("theirs", b"", marker={"portal_id": ours, "uid": ours})
    with pytest.raises(Conflict) as refused:
        offered(institute, name="theirs")
    assert [reason.code for reason in refused.value.reasons] == ["volume_other_portals"]
    StorageAssignment.objects.filter(data_center=institute.centers["physics"]).delete()
    with pytest.raises(Conflict, match="Assign it first"):
        offered(institute)


@pytest.fixture
def second(institute, double, tmp_path) -> HypervisorDouble:
    """Another host with the same storage; the volume lies there too."""
    domain, other = institute.template.storage_domain, HypervisorDouble(tmp_path / "second")
    connect_provider(institute.actor("root"), name="second", kind="double", address=f"double://{tmp_path}/second")
    twin = StorageDomain.objects.exclude(pk=domain.pk).get()
    StorageDomain.objects.update(shared_source="nfs:/disks")
    [place, *_more] = other.things("storage_domain")
    assert place == twin.external_id
    other.plant_volume(NAME, b"")
    return other


def test_a_machine_on_another_host_of_the_same_storage_has_it_too(institute, double, second):
    second.set_vm(second.plant_vm("elsewhere"), disks=[NAME], state="up")
    with pytest.raises(Conflict, match="elsewhere"):
        offered(institute)


@pytest.mark.parametrize("how", ["silent", "credentials"])
def test_a_host_that_does_not_tell_may_have_it_and_is_named_with_what_would_help(institute, double, second, how):
    if how == "silent":
        second.fail("volume_users", Fault.GONE)
    else:
        Provider.objects.filter(name="second").update(sealed_secrets="of another key")
    with pytest.raises(Conflict, match="cannot be told now") as refused:
        offered(institute)
    assert "second does not tell (" in refused.value.detail
    assert "make it answer, or remove the provider" in refused.value.detail


def test_storage_that_a_host_has_no_more_hinders_no_offer_unless_a_machine_there_may_have_the_volume(
    institute, double, second
):
    """Its row stays for what needs it here."""
    [place] = second.things("storage_domain")
    uid = second.plant_vm("elsewhere")
    second.set_vm(uid, disks=[NAME])
    second.remove("storage_domain", place)
    sync_provider(Provider.objects.get(name="second"))
    assert StorageDomain.objects.get(provider__name="second").status == "unknown"
    with pytest.raises(Conflict) as refused:
        offered(institute)
    assert [reason.code for reason in refused.value.reasons] == ["volume_has_machine"]
    second.remove("vm", uid)
    job = made(institute, offered(institute))
    assert run_to_end(job.pk).status == "finished", Job.objects.get(pk=job.pk).error


def test_a_host_that_cannot_tell_of_a_volume_without_its_storage_is_told_as_such(
    institute, double, second, monkeypatch
):
    def refuse(*_args: Any) -> Any:
        raise errors.NotFound("The storage domain is not there.")

    monkeypatch.setattr(DoubleStorage, "volume_users", refuse)
    with pytest.raises(Conflict, match="does not run on second: define and start it there, or remove the provider"):
        offered(institute)


def test_hosts_are_asked_side_by_side_and_of_many_silent_ones_a_few_are_named(institute, double, second, monkeypatch):
    [twin] = StorageDomain.objects.filter(provider__name="second")
    for number in range(6):
        far = Provider.objects.create(
            name=f"far-{number}", kind="double", address="double:///nowhere", options={"calls_at_once": "no"}
        )
        StorageDomain.objects.create(
            provider=far, name="nfs", external_id=twin.external_id, shared_source=twin.shared_source
        )
    asked: list[int] = []
    ask = at_once.ask_at_once

    def counted(several: Any) -> Any:
        asked.append(len(several))
        return ask(several)

    monkeypatch.setattr(operations, "ask_at_once", counted)
    with pytest.raises(Conflict) as refused:
        offered(institute)
    assert asked == [7]
    assert refused.value.detail.count("does not tell (") == 5
    assert "1 more does not tell." in refused.value.detail


def test_what_was_offered_is_found_however_many_disks_of_ours_are_listed_before_it(institute, double, monkeypatch):
    """And stays on the list, before these."""
    job = made(institute, offered(institute))
    monkeypatch.setattr(hypervisor_storage, "MOST_VOLUMES", 2)
    for number in range(3):
        uid = uuid4()
        double.plant_volume(f"a-{number}", b"", marker={"portal_id": str(portal_id()), "uid": str(uid)})
    domain = institute.template.storage_domain_id
    _domain, listed = template_copies.offers(institute.actor("root"), domain)
    assert [one.volume.external_id for one in listed] == [NAME]
    double.plant_volume("b", b"")
    double.plant_volume("c", b"")
    _domain, listed = template_copies.offers(institute.actor("root"), domain)
    assert [one.volume.external_id for one in listed] == ["b", "c"]
    assert offered(institute, "informatics").name == NAME
    assert run_to_end(job.pk).status == "finished", Job.objects.get(pk=job.pk).error


def changed(double: HypervisorDouble, offer: VolumeOffer, how: str) -> None:
    if how == "offer_gone":
        offer.delete()
    elif how == "volume_has_machine":
        double.set_vm(double.plant_vm("mail"), disks=[NAME], state="down")
    else:
        double.plant_volume(NAME, b"QFI\xfb something else", size=8 << 20)


@pytest.mark.parametrize("how", ["offer_gone", "volume_has_machine", "offer_changed"])
def test_the_job_looks_anew_before_it_copies(institute, double, how):
    offer = offered(institute)
    job = made(institute, offer)
    changed(double, offer, how)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"], "mail" in str(ended.error)) == ("failed", how, False)
    assert double.calls("copy_disk") == []
    assert not Template.objects.filter(name="golden").exists()


def test_and_after_it_copied(institute, double, monkeypatch):
    offer = offered(institute)
    job, copy = made(institute, offer), DoubleStorage.copy_disk

    def withdrawn(*args: Any, **more: Any) -> Any:
        volume_offers.withdraw_offer(institute.actor("root"), offer.pk)
        return copy(*args, **more)

    monkeypatch.setattr(DoubleStorage, "copy_disk", withdrawn)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("failed", "offer_gone")
    assert not Template.objects.filter(name="golden").exists()


def test_an_offer_ends_with_the_storage_that_it_lies_in(institute, double):
    offered(institute)
    center, domain = institute.centers["physics"], institute.template.storage_domain
    sharing.unassign(institute.actor("root"), center.pk, "storage_domain", domain.pk)
    sharing.assign(institute.actor("root"), center.pk, "storage_domain", domain.pk)
    assert not VolumeOffer.objects.exists()


def test_over_the_api_it_is_offered_again_made_a_template_and_taken_back(institute, double):
    root, admin = Client(), Client()
    root.force_login(institute.users["root"])
    admin.force_login(institute.users["physics-admin"])
    domain, center = str(institute.template.storage_domain_id), str(institute.centers["physics"].pk)
    wish = {"storage_domain": domain, "name": NAME, "data_center": center}
    dry = root.post("/api/v1/volume-offers/?dry_run=1", wish, content_type="application/json")
    assert (dry.status_code, VolumeOffer.objects.count()) == (200, 0)
    first, again = (root.post("/api/v1/volume-offers/", wish, content_type="application/json") for _ in range(2))
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    [listed] = admin.get("/api/v1/volume-offers/").json()["results"]
    assert (listed["name"], listed["data_center"]) == (NAME, center)
    body = {"name": "g", "storage_domain": domain, "data_center": center, "accept_unsealed": True}
    made = admin.post("/api/v1/templates/", body | {"volume_offer": listed["id"]}, content_type="application/json")
    assert made.status_code == 202, made.content
    assert run_to_end(made.json()["job"]["id"]).status == "finished"
    assert root.delete(f"/api/v1/volume-offers/{listed['id']}/").status_code == 204
    assert admin.get("/api/v1/volume-offers/").json()["results"] == []


def test_the_departments_log_tells_nothing_of_what_could_not_be_offered_to_it(institute, double):
    """Neither the volume, which may be another's, nor who has it, nor storage that it was not given."""
    double.set_vm(payroll := double.plant_vm("payroll"), disks=[NAME], state="down")
    with pytest.raises(Conflict):
        offered(institute)
    double.remove("vm", payroll)
    StorageAssignment.objects.filter(data_center=institute.centers["physics"]).delete()
    with pytest.raises(Conflict, match="Assign it first"):
        offered(institute)
    assert Event.objects.filter(code="VOLUME_OFFER_REFUSED").count() == 2
    assert not events(institute.actor("physics-admin")).filter(code__startswith="VOLUME_OFFER").exists()


def test_a_volume_that_says_it_is_larger_than_any_disk_is_refused_before_anything_is_written(institute, double):
    """Whoever could write a qcow2 header into it says what it likes of its size."""
    double.plant_volume(NAME, b"QFI\xfb", size=2**64 - 1)
    with pytest.raises(Conflict) as refused:
        offered(institute)
    assert [reason.code for reason in refused.value.reasons] == ["volume_too_large"]
    root, domain = institute.actor("root"), institute.template.storage_domain_id
    wish = CopyRequest(TemplateTraits("golden"), domain, None, accept_unsealed=True)
    with pytest.raises(Conflict) as refused:
        template_copies.template_of_volume(root, *template_copies.get_offer(root, domain, NAME), wish)
    assert [reason.code for reason in refused.value.reasons] == ["volume_too_large"]
