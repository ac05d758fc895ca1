"""The main job through the services: make a machine, use it, delete it; and its refusals."""

from __future__ import annotations

import pytest

from compute import selectors
from compute.models import Disk, Vm
from compute.services import vms
from compute.services.wishes import VmRequest
from portal.common.errors import Busy, Conflict, Invalid, NotFound, NotPermitted, QuotaExceeded
from portal.events.models import Event
from portal.hypervisors.connect import driver_for
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension
from tests.people import Institute, the_institute

pytestmark = pytest.mark.django_db(transaction=True)


def wish(place: Institute, name: str = "web-1", center: str = "physics", **more) -> VmRequest:
    return VmRequest(name=name, data_center_uid=place.centers[center].pk, template_uid=place.template.pk, **more)


def make(place: Institute, name: str = "web-1", who: str = "alice", **more) -> Vm:
    vm, job = vms.create_vm(place.actor(who), wish(place, name, **more))
    ended = run_to_end(job.pk)
    assert ended.status == "finished", ended.error
    vm.refresh_from_db()
    return vm


@pytest.fixture
def place(transactional_db, tmp_path):
    return the_institute(tmp_path)


def test_a_machine_is_made_used_and_deleted_with_everything_it_had(place):
    alice = place.actor("alice")
    vm = make(place)
    driver = driver_for(place.provider)
    found = driver.find_vm(vm.pk)
    assert found is not None
    assert found.marker is not None
    assert found.marker.uid == vm.pk
    assert vm.status in {"up", "powering_up"}
    assert run_to_end(vms.stop_vm(alice, vm.pk).pk).status == "finished"
    assert not QuotaCharge.objects.filter(consumer_uid=vm.pk, dimension=Dimension.VCPUS_RUNNING).exists()
    assert run_to_end(vms.run_vm(alice, vm.pk).pk).status == "finished"
    assert run_to_end(vms.stop_vm(alice, vm.pk).pk).status == "finished"
    assert run_to_end(vms.delete_vm(alice, vm.pk).pk).status == "finished"
    assert driver.find_vm(vm.pk) is None
    assert not Vm.objects.exists()
    assert not Disk.objects.exists()
    assert not QuotaCharge.objects.exists()
    assert quota.recount_drift(place.centers["physics"]) == []
    assert list(
        Event.objects.filter(object_uid=vm.pk, code__startswith="VM_CREATE")
        .order_by("at")
        .values_list("code", flat=True)
    ) == ["VM_CREATE_REQUESTED", "VM_CREATED"]


@pytest.mark.parametrize(
    "name",
    ["a<b", "a&b", "it's", 'a"b', "]]>", "a\nb", "a\x00b", "{{7*7}}", "\u202eabc", "\U0001f600", "x" * 10240, "", ".."],
)
def test_in01_bad_names_are_refused_at_the_service_and_nothing_is_written(place, name):
    with pytest.raises(Invalid) as refused:
        vms.create_vm(place.actor("alice"), wish(place, name))
    assert "name" in {reason.field for reason in refused.value.reasons}
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    assert Event.objects.filter(code="VM_CREATE_REFUSED").count() == 1


def test_a_taken_name_is_refused_in_one_data_center_and_free_in_the_other(place):
    make(place)
    with pytest.raises(Conflict):
        vms.create_vm(place.actor("bob"), wish(place))
    _vm, job = vms.create_vm(place.actor("charlie"), wish(place, center="informatics"))
    assert run_to_end(job.pk).status == "finished"


def test_over_quota_is_refused_with_figures_and_nothing_is_written(place):
    with pytest.raises(QuotaExceeded) as refused:
        vms.create_vm(place.actor("alice"), wish(place, vcpus=9))
    [reason] = refused.value.reasons
    assert (reason.data["limit"], reason.data["used"], reason.data["requested"], reason.data["shortfall"]) == (
        8,
        0,
        9,
        1,
    )
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def test_another_departments_data_center_and_machine_do_not_exist_for_charlie(place):
    vm = make(place)
    charlie = place.actor("charlie")
    with pytest.raises(NotFound):
        vms.create_vm(charlie, wish(place))
    for verb in (vms.run_vm, vms.stop_vm, vms.delete_vm):
        with pytest.raises(NotFound):
            verb(charlie, vm.pk)
    with pytest.raises(NotFound):
        vms.stop_vm(place.actor("informatics-admin"), vm.pk)
    assert list(selectors.vms(charlie)) == []
    assert list(selectors.vms(place.actor("bob"))) == []
    assert list(selectors.vms(place.actor("physics-admin"))) == [vm]
    assert list(selectors.vms(place.actor("root"))) == [vm]


def test_a_read_token_sees_and_does_nothing(place):
    vm = make(place)
    reader = place.actor("alice", scope="read")
    assert list(selectors.vms(reader)) == [vm]
    with pytest.raises(NotPermitted):
        vms.stop_vm(reader, vm.pk)


def test_run_twice_and_delete_while_a_job_runs_are_refused_naming_the_job(place):
    alice = place.actor("alice")
    vm = make(place)
    with pytest.raises(Conflict):
        vms.run_vm(alice, vm.pk)
    job = vms.stop_vm(alice, vm.pk)
    with pytest.raises(Busy) as refused:
        vms.delete_vm(alice, vm.pk)
    assert refused.value.data["job"]["id"] == str(job.pk)


def test_the_dry_run_tells_the_plan_and_writes_nothing(place):
    plan = vms.plan_create(place.actor("alice"), wish(place, vcpus=9))
    assert len(plan.steps) == 6
    assert [reason.code for reason in plan.reasons] == ["quota_exceeded"]
    assert not Vm.objects.exists()
    assert not Event.objects.filter(code__startswith="VM_").exists()


def test_the_dry_run_of_a_verb_tells_its_plan_or_every_reason_against_it_and_writes_nothing(place):
    alice = place.actor("alice")
    vm = make(place)
    plan = vms.plan_verb(alice, vm.pk, "stop")
    assert plan.reasons == ()
    assert len(plan.steps) == 2
    assert [reason.code for reason in vms.plan_verb(alice, vm.pk, "run").reasons] == ["status"]
    job = vms.stop_vm(alice, vm.pk)
    assert [reason.code for reason in vms.plan_verb(alice, vm.pk, "delete").reasons] == ["busy", "status"]
    run_to_end(job.pk)
    quota.set_limits(place.centers["physics"], {Dimension.VCPUS_RUNNING: 0})
    assert [reason.code for reason in vms.plan_verb(alice, vm.pk, "run").reasons] == ["quota_exceeded"]
    assert vms.plan_verb(alice, vm.pk, "delete").reasons == ()
    with pytest.raises(NotFound):
        vms.plan_verb(place.actor("charlie"), vm.pk, "run")
    assert Job.objects.filter(target_uid=vm.pk).count() == 2
