"""An engine that gives up on removing a disk, which stays illegal: told once, still paid for, and mended by another try."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.models import Vm
from portal.hypervisors import connect
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants.models import QuotaCharge
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.ovirt_place import EnginePlace, last_calls, make_engine_place
from tests.flows.patience import run_through

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def place(transactional_db: None, tmp_path: Path, ovirt_engine: EngineDouble, settings: Any) -> Iterator[EnginePlace]:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    place = make_engine_place(tmp_path, ovirt_engine)
    yield place
    connect.forget(place.provider.pk)


def deleted(place: EnginePlace, vm: Vm) -> tuple[Job, list[str]]:
    """The job of a deletion at its end, and the removals of disks that the engine was asked for."""
    assert place.engine is not None
    place.engine.calls(clear=True)
    job = run_through(place, place.do("delete", vm), later=0.5)
    return job, [call for call in place.engine.calls() if call.startswith("DELETE /disks/")]


def test_a_disk_that_stays_illegal_is_told_and_paid_for_until_another_try_removes_it(place: EnginePlace) -> None:
    engine = place.engine
    assert engine is not None
    vm, made = place.create("web-1", run=False)
    assert run_through(place, made, later=0.5).status == JobStatus.FINISHED
    vm.refresh_from_db()
    disk = vm.disks.get()
    charged = set(QuotaCharge.objects.filter(consumer_uid=disk.pk).values_list("dimension", "amount"))
    engine.fail("^DELETE /disks/", "removal_fails")
    job, asked = deleted(place, vm)
    assert (job.status, job.error["code"]) == (JobStatus.FAILED, "hypervisor_removal_failed"), job.error
    assert str(disk.pk) in job.error["text"]
    assert "Delete the machine again" in job.error["text"]
    assert len(asked) == 1, "it is not asked for again and again"
    assert [one["status"] for one in engine.things("disks").values() if str(disk.pk) in one["alias"]] == ["illegal"]
    assert set(QuotaCharge.objects.filter(consumer_uid=disk.pk).values_list("dimension", "amount")) == charged
    assert_nothing_lost(place)
    job, asked = deleted(place, vm)
    assert job.status == JobStatus.FINISHED, last_calls(engine, job)
    assert len(asked) == 1
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    assert_nothing_lost(place)


def test_a_machine_that_somebody_suspended_meanwhile_is_stopped_and_deleted(place: EnginePlace) -> None:
    engine = place.engine
    assert engine is not None
    vm, made = place.create("web-1", run=False)
    assert run_through(place, made, later=0.5).status == JobStatus.FINISHED
    vm.refresh_from_db()
    job = place.do("delete", vm)
    engine.set_vm(vm.external_id, status="suspended")
    engine.calls(clear=True)
    assert run_through(place, job, later=0.5).status == JobStatus.FINISHED, last_calls(engine, job)
    asked = [call for call in engine.calls() if call.startswith(("POST /vms/", "DELETE /vms/"))]
    assert asked[0] == f"POST /vms/{vm.external_id}/stop", "an engine removes none that is suspended"
    assert_nothing_lost(place)
