"""Workers killed with -9 in the midst of real work on a real libvirt; virsh then finds each thing once, or not at all."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.models import Vm
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants import quota
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.real_place import RealPlace, clear_real_place, make_real_place
from tests.hypervisors.libvirt.real import empty_image
from tests.jobs.conftest import hurry
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers
from tests.lab.libvirt_server import LibvirtServer

pytestmark = pytest.mark.django_db(transaction=True)

CREATING = ("make_disks.made", "first_boot.made", "define.made", "start.after", "read_back.after")
UNMAKING = ("define.stopped", "define.undo_after", "first_boot.undo_after", "make_disks.removed")
DELETING = ("power_off.after", "undefine.after", "delete_first_boot.after", "delete_disks.removed")


@pytest.fixture
def place(transactional_db: None, tmp_path: Path, libvirtd: LibvirtServer) -> Iterator[RealPlace]:
    place = make_real_place(tmp_path, libvirtd, empty_image(tmp_path))
    quota.set_limits(place.centers["physics"], {Dimension.MACHINES: None, Dimension.VCPUS_RUNNING: None})
    yield place
    clear_real_place(place)


def take_over(workers: Workers, job: Job) -> Job:
    hurry(job)
    assert workers.run(job.uid) == 0
    job.refresh_from_db()
    return job


def kill_at(workers: Workers, plant: Plant, job: Job, point: str) -> None:
    plant(f"{job.operation}.{point}", "kill")
    assert workers.run(job.uid) == -signal.SIGKILL, f"no worker passed {point}"


def running(place: RealPlace) -> set[str]:
    return set(place.virsh("list", "--uuid").split())


def test_a_worker_killed_after_each_effect_of_a_creation_makes_each_thing_once(
    place: RealPlace, workers: Workers, plant: Plant
):
    for number, point in enumerate(CREATING):
        vm, job = place.create(f"m-{number}", memory_mib=128)
        kill_at(workers, plant, job, point)
        assert take_over(workers, job).status == JobStatus.FINISHED, (point, job.error)
        assert str(vm.pk) in running(place)
        assert_nothing_lost(place)
        run_to_death(place, workers, vm)
    assert not QuotaCharge.objects.exists()


def run_to_death(place: RealPlace, workers: Workers, vm: Vm) -> None:
    """Stop and delete it, in peace."""
    for verb in ("stop", "delete"):
        job = place.do(verb, vm)
        assert take_over(workers, job).status == JobStatus.FINISHED, job.error


def test_a_worker_killed_after_each_effect_of_an_undo_leaves_nothing(place: RealPlace, workers: Workers, plant: Plant):
    for number, point in enumerate(UNMAKING):
        _vm, job = place.create(f"m-{number}", memory_mib=128)
        plant("compute.create_vm.on_finished", "fail")
        kill_at(workers, plant, job, point)
        assert take_over(workers, job).status == JobStatus.FAILED
        assert_nothing_lost(place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def test_a_worker_killed_after_each_effect_of_a_deletion_leaves_nothing(
    place: RealPlace, workers: Workers, plant: Plant
):
    for number, point in enumerate(DELETING):
        vm, job = place.create(f"m-{number}", run=False, memory_mib=128)
        assert take_over(workers, job).status == JobStatus.FINISHED, job.error
        place.virsh("start", str(vm.pk))  # behind our back: it must be off before its disks go
        job = place.do("delete", vm)
        kill_at(workers, plant, job, point)
        assert take_over(workers, job).status == JobStatus.FINISHED, (point, job.error)
        assert_nothing_lost(place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def test_a_worker_killed_at_any_moment_of_a_creation_makes_each_thing_once(place: RealPlace, workers: Workers):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # pytest shows it when the test fails
    moments = random.Random(seed)
    killed = 0
    for number in range(5):
        vm, job = place.create(f"m-{number}", memory_mib=128)
        pid = workers.spawn(job.uid)
        time.sleep(moments.uniform(0.05, 0.8))
        os.kill(pid, signal.SIGKILL)
        killed += workers.wait(pid) == -signal.SIGKILL
        job.refresh_from_db()
        assert take_over(workers, job).status == JobStatus.FINISHED, job.error
        assert str(vm.pk) in running(place)
        assert_nothing_lost(place)
        run_to_death(place, workers, vm)
    assert killed > 0, "every worker was faster"
