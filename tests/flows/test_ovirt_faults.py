"""Operations on an engine through the SDK over HTTPS: workers killed after each effect, answers lost, late and garbled, and
the engine restarted in the midst. Each ends well, or undone and honest, with each thing there once or not at all.
"""

from __future__ import annotations

import re
import signal
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
from tests.flows.patience import run_through, step_on
from tests.jobs.conftest import hurry
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.django_db(transaction=True)]

CREATING = ("place.after", "define.made", "define.after", "start.after", "read_back.after")
UNMAKING = ("define.stopped", "define.undo_after", "make_disks.removed", "make_disks.undo_after")
DELETING = ("power_off.after", "undefine.after", "delete_disks.removed", "delete_disks.after")
# What one answer of the engine can suffer. Those that happen after its effect are the ones that make things twice elsewhere.
FAULTS = ("reset_before", "reset_after", "garbled", "truncated", "500", "503", "401", "restart")


@pytest.fixture
def place(transactional_db: None, tmp_path: Path, ovirt_engine: EngineDouble, settings: Any) -> Iterator[EnginePlace]:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    place = make_engine_place(tmp_path, ovirt_engine)
    yield place
    connect.forget(place.provider.pk)


def finish(place: EnginePlace, job: Job) -> Job:
    assert place.engine is not None
    assert run_through(place, job, later=0.5).status == JobStatus.FINISHED, last_calls(place.engine, job)
    return job


def take_over(workers: Workers, job: Job) -> Job:
    hurry(job)
    assert workers.run(job.uid) == 0
    job.refresh_from_db()
    return job


def kill_at(workers: Workers, plant: Plant, job: Job, point: str) -> None:
    plant(f"{job.operation}.{point}", "kill")
    assert workers.run(job.uid) == -signal.SIGKILL, f"no worker passed {point}"


# -- workers


def test_a_worker_killed_after_each_effect_makes_each_thing_once_and_then_none(
    place: EnginePlace, workers: Workers, plant: Plant
) -> None:
    for number, point in enumerate(CREATING):
        vm, job = place.create(f"m-{number}", clone=bool(number % 2))
        kill_at(workers, plant, job, point)
        assert take_over(workers, job).status == JobStatus.FINISHED, (point, job.error)
        assert vm.pk in place.running()
        assert_nothing_lost(place)
        assert take_over(workers, place.do("stop", vm)).status == JobStatus.FINISHED
        if number < len(DELETING):
            job = place.do("delete", vm)
            kill_at(workers, plant, job, DELETING[number])
            assert take_over(workers, job).status == JobStatus.FINISHED, (DELETING[number], job.error)
            assert_nothing_lost(place)
    assert Vm.objects.count() == len(CREATING) - len(DELETING)


def test_a_worker_killed_after_each_effect_of_an_undo_leaves_nothing(
    place: EnginePlace, workers: Workers, plant: Plant
) -> None:
    for number, point in enumerate(UNMAKING):
        _vm, job = place.create(f"m-{number}")
        plant("compute.create_vm.on_finished", "fail")
        kill_at(workers, plant, job, point)
        assert take_over(workers, job).status == JobStatus.FAILED, (point, job.error)
        assert_nothing_lost(place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


# -- answers


def changes_of(place: EnginePlace, job: Job) -> list[str]:
    """Which changes the engine is asked for when all goes well, ids left out, each once."""
    assert place.engine is not None
    place.engine.calls(clear=True)
    finish(place, job)
    asked = [line.partition("?")[0] for line in place.engine.calls() if re.match(r"(POST|PUT|DELETE) /", line)]
    return list(dict.fromkeys(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line) for line in asked))


def pattern_of(line: str) -> str:
    return "^" + re.escape(line).replace("ID", "[0-9a-f-]{36}") + "([?]|$)"


def test_every_change_of_a_creation_suffers_every_fault_and_ends_as_one(place: EnginePlace) -> None:
    vm, job = place.create("first")
    lines = changes_of(place, job)
    assert any(line == "POST /vms" for line in lines)
    finish(place, place.do("stop", vm))
    finish(place, place.do("delete", vm))
    for number, (line, fault) in enumerate(_cases(lines)):
        assert place.engine is not None
        place.engine.fail(pattern_of(line), fault)
        vm, job = place.create(f"m-{number}")
        run_through(place, job, later=0.5)
        assert job.status == JobStatus.FINISHED, (line, fault, last_calls(place.engine, job))
        assert place.engine.standing() == [], f"{line} was not asked for"
        assert vm.pk in place.running()
        assert_nothing_lost(place)
        finish(place, place.do("stop", vm))
        finish(place, place.do("delete", vm))


def test_every_change_of_a_deletion_suffers_every_fault_and_leaves_nothing(place: EnginePlace) -> None:
    lines = changes_of(place, place.do("delete", _off(place, "first")))
    for number, (line, fault) in enumerate(_cases(lines)):
        assert place.engine is not None
        vm = _off(place, f"m-{number}")
        place.engine.fail(pattern_of(line), fault)
        job = place.do("delete", vm)
        run_through(place, job, later=0.5)
        assert job.status == JobStatus.FINISHED, (line, fault, last_calls(place.engine, job))
        assert place.engine.standing() == []
        assert_nothing_lost(place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def _off(place: EnginePlace, name: str) -> Vm:
    vm, job = place.create(name, run=False)
    finish(place, job)
    vm.refresh_from_db()
    return vm


def _cases(lines: list[str]) -> list[tuple[str, str]]:
    """Each line suffers what comes after its effect; what comes before it is shared among them."""
    after = [(line, fault) for line in lines for fault in ("reset_after", "restart")]
    return after + [(lines[number % len(lines)], fault) for number, fault in enumerate(FAULTS)]


def test_a_making_that_fails_later_is_told_in_the_engines_words_and_leaves_nothing(place: EnginePlace) -> None:
    assert place.engine is not None
    words = "Failed to complete VM m-1 creation."
    place.engine.fail("^POST /vms$", "job_fails", text=words)
    _vm, job = place.create("m-1")
    run_through(place, job, later=0.5)
    assert job.status == JobStatus.FAILED
    assert job.error["code"] == "hypervisor_making_failed", job.error
    assert_nothing_lost(place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    finish(place, place.create("m-1")[1])


def test_an_engine_that_is_killed_in_the_midst_and_comes_back_makes_the_machine_once(place: EnginePlace) -> None:
    assert place.engine is not None
    place.engine.configure(thin_seconds=1.5)
    vm, job = place.create("m-1")
    for _ in range(4):  # as far as the engine's own work
        step_on(place, job)
    assert [step.status for step in job.steps.filter(name="define")] == ["running"]
    place.engine.kill()
    for _ in range(3):
        step_on(place, job, later=1)
        assert job.status == JobStatus.STARTED
    place.engine.start()
    finish(place, job)
    assert vm.pk in place.running()
    assert_nothing_lost(place)
