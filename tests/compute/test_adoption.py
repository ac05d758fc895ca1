"""Machines found on a provider come into a data center's care, and go back as they were (S24); protection (S26)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client

from compute import selectors
from compute.models import Disk, FoundVm, Vm
from compute.rules import adopted_name
from compute.services import adoption, vms
from compute.services.adoption import Adoption
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted
from portal.common.sealed import seal
from portal.events.models import Event
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import Directory, QuotaCharge, User
from tenants.models.quota import Dimension
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.people import PASSWORD, Institute, the_institute
from tests.tenants.conftest import as_actor
from tests.tenants.directory.conftest import fresh, openldap_row


@pytest.fixture
def place(db, tmp_path) -> Institute:
    return the_institute(tmp_path)


@pytest.fixture
def double(place) -> HypervisorDouble:
    return HypervisorDouble(Path(place.provider.address.removeprefix("double://")))


@pytest.fixture
def found(place, double):
    """An ordinary machine that runs and one that is off, and one of another portal."""
    for name, state, portal in (("mail server", "up", None), ("dns", "down", None), ("other", "down", uuid4())):
        double.plant_vm(name, state=state, portal_id=portal)
    sync_provider(place.provider)
    return {row.name: row for row in FoundVm.objects.all()}


def wish(place, *rows: FoundVm, owner: str = "") -> Adoption:
    return Adoption(tuple(row.pk for row in rows), place.centers["physics"].pk, owner)


def adopted(place, *rows: FoundVm, owner: str = "") -> list[Vm]:
    taken = adoption.adopt(place.actor("root"), wish(place, *rows, owner=owner))
    for _vm, job in taken:
        done = run_to_end(job.pk)
        assert done.status == "finished", done.error
    return [Vm.objects.get(pk=vm.pk) for vm, _job in taken]


def test_found_machines_are_listed_for_super_admins_alone(place, found):
    assert sorted(found) == ["dns", "mail server", "other"]
    assert [row.name for row in adoption.unassigned(place.actor("root"))] == ["dns", "mail server", "other"]
    assert found["other"].mark == "portal"
    for person in ("physics-admin", "alice"):
        with pytest.raises(NotPermitted):
            adoption.unassigned(place.actor(person))


def test_list_follows_the_hypervisor_and_writes_only_what_changed(place, double, found, django_assert_max_num_queries):
    double.set_vm(found["dns"].external_id, name="ns1")
    double.remove("vm", found["mail server"].external_id)
    sync_provider(place.provider)
    assert sorted(FoundVm.objects.values_list("name", flat=True)) == ["ns1", "other"]
    for number in range(300):
        double.plant_vm(f"many-{number}", portal_id=uuid4() if number % 2 else None)
    sync_provider(place.provider)
    with django_assert_max_num_queries(40):
        sync_provider(place.provider)


def test_machine_of_ours_whose_row_is_lost_is_adopted_again(place, double, found):
    """As after a portal's backup was restored that is older than the machine."""
    [vm] = adopted(place, found["dns"], owner="alice")
    quota.release(quota.Consumer("vm", vm.pk))
    Vm.objects.filter(pk=vm.pk).delete()
    sync_provider(place.provider)
    row = FoundVm.objects.get(external_id=vm.external_id)
    assert row.mark == ""
    [again] = adopted(place, row, owner="alice")
    assert again.pk == vm.pk
    assert double.things("vm")[vm.external_id]["marker"]["uid"] == str(vm.pk)


def test_a_purge_gives_adopted_machines_back_and_deletes_what_was_made_here(place, double, found):
    wanted = VmRequest(name="web-1", data_center_uid=place.centers["physics"].pk, template_uid=place.template.pk)
    made, job = vms.create_vm(place.actor("alice"), wanted)
    assert run_to_end(job.pk).status == "finished"
    _kept, unknown = adopted(place, found["mail server"], found["dns"])
    Vm.objects.filter(pk=unknown.pk).delete()
    again, job = vms.create_vm(place.actor("alice"), replace(wanted, name="web-2", run=False))
    assert run_to_end(job.pk).status == "finished"
    # As one that was lost and adopted again: its disk is still in our names.
    Vm.objects.filter(pk=again.pk).update(adopted=True)
    disk = Disk.objects.get(vm=again)

    call_command("purge_marked", yes=True)

    left = {vm["name"]: (vm["state"], vm["marker"] is None) for vm in double.things("vm").values()}
    theirs = {"mail server": ("up", True), "dns": ("down", True), "other": ("down", False)}
    assert left == theirs | {f"web-2-{again.pk.hex[:8]}": ("down", True)}
    assert str(disk.pk) in " ".join(double.things("disk")), "what it needs stays with it"
    assert made.external_id not in double.things("vm")


def test_plan_shows_the_quota_after_and_writes_nothing(place, found):
    plan = adoption.plan_adoption(place.actor("root"), wish(place, found["mail server"], found["dns"], owner="ALICE"))
    assert [one.name for one in plan.candidates] == ["dns", "mail-server"]
    after = {row.dimension: row.after for row in plan.quota if row.subject == "data_center"}
    assert (after[Dimension.MACHINES], after[Dimension.VCPUS_RUNNING]) == (2, 1)
    assert plan.reasons == ()
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def test_adopted_machine_is_its_owners_and_obeys_him(place, double, found):
    [vm] = adopted(place, found["mail server"], owner="alice")
    assert (vm.status, vm.adopted, str(vm.pk)) == ("up", True, vm.external_id)
    assert double.things("vm")[vm.external_id]["marker"]["uid"] == str(vm.pk)
    assert quota.recount_drift(place.centers["physics"]) == []
    assert run_to_end(vms.stop_vm(place.actor("alice"), vm.pk).pk).status == "finished"
    assert run_to_end(vms.run_vm(place.actor("alice"), vm.pk).pk).status == "finished"
    sync_provider(place.provider)
    assert [row.name for row in adoption.unassigned(place.actor("root"))] == ["dns", "other"]
    assert not FoundVm.objects.filter(external_id=vm.external_id).exists()


def test_the_owner_may_be_somebody_of_a_directory_who_was_never_here(place, found, slapd):
    directory, name = openldap_row(slapd, name="uni"), fresh("heir")
    slapd.person(name, PASSWORD, displayName="The Heir")
    root, page = Client(), "/unassigned/"
    root.force_login(place.actor("root").user)
    sent = {"machine": str(found["dns"].pk), "data_center": str(place.centers["physics"].pk), "owner": f"uni\\{name}"}
    assert "The owner will be The Heir." in root.post(page, sent | {"action": "review"}).content.decode()
    assert not User.objects.filter(directory=directory).exists()
    assert root.post(page, sent | {"action": "adopt"}).status_code == 302
    vm = Vm.objects.get(name="dns")
    heir = User.objects.get(directory=directory)
    assert (vm.owner, vm in selectors.vms(as_actor(heir))) == (heir, True)
    body = {"data_center": str(place.centers["informatics"].pk), "owner": f"{name}@lab.example"}
    path = f"/api/v1/vms/{vm.pk}/move/?dry_run=1"
    assert root.post(path, body, content_type="application/json").status_code == 200
    slapd.stop()
    refused = root.post(
        page, sent | {"machine": str(found["mail server"].pk), "owner": "uni\\another", "action": "adopt"}
    )
    assert (refused.status_code, 'id="owner-error">The directory uni' in refused.content.decode()) == (503, True)
    refused = root.post(path, body | {"owner": "uni\\another"}, content_type="application/json")
    assert (refused.status_code, refused.json()["reasons"][0]["field"]) == (503, "owner")


def test_adoption_over_the_limit_is_charged_and_shown(place, found):
    quota.set_limits(place.centers["physics"], {Dimension.MACHINES: 1})
    adopted(place, found["mail server"], found["dns"])
    used = {row.dimension: (row.used, row.limit) for row in quota.usage(place.centers["physics"])}
    assert used[Dimension.MACHINES] == (2, 1)


def test_given_back_it_is_as_it_was(place, double, found):
    before = double.things("vm")
    [vm] = adopted(place, found["mail server"], owner="alice")
    with pytest.raises(NotPermitted):
        adoption.unadopt_vm(place.actor("alice"), vm.pk)
    assert run_to_end(adoption.unadopt_vm(place.actor("root"), vm.pk).pk).status == "finished"
    assert double.things("vm") == before
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    sync_provider(place.provider)
    assert FoundVm.objects.filter(external_id=vm.external_id).exists()


def test_adopted_machine_is_not_deleted_and_a_made_one_not_given_back(place, found):
    [vm] = adopted(place, found["dns"], owner="alice")
    with pytest.raises(Conflict, match="adopted"):
        vms.delete_vm(place.actor("alice"), vm.pk)
    Vm.objects.update(adopted=False)
    with pytest.raises(Conflict, match="made here"):
        adoption.unadopt_vm(place.actor("root"), vm.pk)


@pytest.mark.parametrize("why", ["marked", "cluster_not_assigned", "id_taken"])
def test_what_cannot_be_adopted_is_refused_by_name_and_the_others_too(place, found, why):
    row = found["other"] if why == "marked" else found["mail server"]
    if why == "cluster_not_assigned":
        place.centers["physics"].cluster_assignments.all().delete()
    if why == "id_taken":
        elsewhere = Provider.objects.create(kind="double", name="elsewhere", address="double:///nowhere", enabled=False)
        [vm] = adopted(place, row)
        Vm.objects.filter(pk=vm.pk).update(provider=elsewhere)
    with pytest.raises(Conflict) as caught:
        adoption.adopt(place.actor("root"), wish(place, row, found["dns"]))
    assert why in {reason.code for reason in caught.value.reasons}
    # AZ03: a refusal may name another department's machine, which is not for this one's log.
    assert Event.objects.get(code="VMS_ADOPT_REFUSED").data_center_uid is None
    assert row.name in caught.value.detail
    if why == "marked":
        assert "it bears another portal's mark." in caught.value.detail
    assert not Vm.objects.filter(external_id=found["dns"].external_id).exists()


def test_an_owner_with_a_nul_in_his_name_is_nobody_to_database_and_directory(place, found):
    silent = {"urls": ["ldaps://127.0.0.1:1"], "bind_dn": "cn=portal,dc=uni", "base_dn": "dc=uni"}
    Directory.objects.create(name="uni", kind="openldap", sealed_password=seal(PASSWORD), **silent)
    root, who = place.actor("root"), "ali\x00ce"
    asked = adoption.with_owner(root, wish(place, found["dns"], owner=f"uni\\{who}"))
    for wanted in (asked, wish(place, found["dns"], owner=who)):
        for refuse in (adoption.plan_adoption, adoption.adopt):
            with pytest.raises(Invalid) as refused:
                refuse(root, wanted)
            assert [(one.code, one.field) for one in refused.value.reasons] == [("owner_invalid", "owner")]
    assert Event.objects.filter(code="VMS_ADOPT_REFUSED", data__icontains="ali").count() == 2


def test_unknown_owner_data_center_and_machines_are_refused(place, found):
    root, good = place.actor("root"), wish(place, found["dns"])
    for bad in (
        Adoption(good.machines, good.data_center_uid, "nobody"),
        Adoption(good.machines, uuid4()),
        Adoption((), good.data_center_uid),
    ):
        with pytest.raises(Invalid):
            adoption.adopt(root, bad)
    with pytest.raises(NotFound):
        adoption.adopt(root, Adoption((uuid4(),), good.data_center_uid))
    adopted(place, found["dns"])
    with pytest.raises(NotFound):
        adoption.adopt(root, good)


def test_machine_that_cannot_be_marked_is_nobodys_again(place, double, found):
    double.fail("adopt_vm", Fault.REFUSED)
    [(vm, job)] = adoption.adopt(place.actor("root"), wish(place, found["dns"]))
    assert run_to_end(job.pk).status == "failed"
    assert not Vm.objects.filter(pk=vm.pk).exists()
    assert not QuotaCharge.objects.exists()
    assert double.things("vm")[vm.external_id]["marker"] is None


@pytest.mark.turns
@pytest.mark.long
def test_lost_answers_end_in_one_adoption(place, double, found):
    double.fail("adopt_vm", Fault.LOST)
    double.fail("unadopt_vm", Fault.LOST)
    [vm] = adopted(place, found["dns"])
    assert run_to_end(adoption.unadopt_vm(place.actor("root"), vm.pk).pk).status == "finished"
    assert double.things("vm")[vm.external_id]["marker"] is None


def test_protected_machine_is_ended_by_a_super_admin_who_types_its_name_alone(place, found):
    [vm] = adopted(place, found["mail server"], owner="alice")
    with pytest.raises(NotPermitted):
        adoption.set_protected(place.actor("physics-admin"), vm.pk, protected=True)
    adoption.set_protected(place.actor("root"), vm.pk, protected=True)
    for verb in (vms.stop_vm, vms.shut_down_vm, vms.reboot_vm):
        for person, typed in (("alice", vm.name), ("physics-admin", vm.name), ("root", ""), ("root", "mail")):
            with pytest.raises(Conflict) as caught:
                verb(place.actor(person), vm.pk, confirm=typed)
            assert caught.value.reasons[0].code in {"protected", "confirmation_missing"}
            dry = vms.plan_verb(place.actor(person), vm.pk, verb.__name__.removesuffix("_vm"), confirm=typed)
            assert dry.reasons == caught.value.reasons
    with pytest.raises(Conflict):
        adoption.unadopt_vm(place.actor("root"), vm.pk)
    assert not Job.objects.filter(target_uid=vm.pk, operation="compute.stop_vm").exists()
    assert run_to_end(vms.stop_vm(place.actor("root"), vm.pk, confirm=vm.name).pk).status == "finished"
    assert run_to_end(vms.run_vm(place.actor("alice"), vm.pk).pk).status == "finished", "running ends nothing"


@pytest.mark.parametrize(
    ("name", "taken", "given"),
    [
        ("mail server", (), "mail-server"),
        ("dns", ("dns", "dns-2"), "dns-3"),
        ("Ελλάδα", (), "vm"),
        ("x" * 255, (), "x" * 58),
    ],
)
def test_name_here_is_its_own_as_far_as_it_may_be(name, taken, given):
    assert adopted_name(name, taken=taken) == given
