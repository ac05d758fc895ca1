"""Operations on an engine, through the SDK over HTTPS, whose requests suffer what a network and an engine can do to them: lost,
late, garbled, refused for the token, the engine restarted in the midst. Each ends well, or undone and honest, with each thing
there once or not at all.

A run tries a share of all changes and faults, another each day; with ``--full`` all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from compute.models import FoundVm, Vm
from compute.services.adoption import Adoption, adopt, unadopt_vm
from compute.sync.inventory import sync_provider
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants.models import QuotaCharge
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.ovirt_place import EnginePlace
from tests.flows.patience import run_through
from tests.jobs.fixtures import Plant
from tests.lab.turns import todays

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.django_db(transaction=True)]

# In seconds: so long an answer is waited for here, and so late one is that comes later.
PATIENCE, LATE = 1.5, 1.8
# What one answer of the engine can suffer. Those that happen after its effect are the ones that make things twice elsewhere.
FAULTS: dict[str, dict[str, Any]] = {
    "reset_before": {}, "reset_after": {}, "garbled": {}, "truncated": {}, "500": {}, "503": {}, "401": {}, "restart": {},
    "slow": {"seconds": LATE}, "hang": {"seconds": LATE},
}  # fmt: skip
# By verb: what the engine is asked for, and whether the machine runs then.
POWER = {
    "run": ("POST /vms/ID/start", True), "reboot": ("POST /vms/ID/reboot", True),
    "shut_down": ("POST /vms/ID/shutdown", False), "stop": ("POST /vms/ID/stop", False),
}  # fmt: skip
UNSEEN = ("reset_after", "garbled", "restart", "slow")  # it happens, and nobody is told
DAYS = 7  # not a divisor of the number of faults: so each day has different ones for each change
Case = tuple[str, str]
MUTATION, READING = "POST|PUT|DELETE", "GET"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Trial:
    """Operations of which one request is made to suffer."""

    place: EnginePlace
    plant: Plant
    config: pytest.Config

    def lines(self, job: Job, verbs: str = MUTATION) -> list[str]:
        """Which requests it makes when all goes well, ids left out, each once."""
        self.place.double.calls(clear=True)
        run_through(self.place, job, later=0.5)
        return list(dict.fromkeys(line for line in self.calls() if re.match(f"({verbs}) (/|$)", line)))

    def calls(self) -> list[str]:
        """What the engine was asked since the last ``suffer``, without ids and parameters."""
        return [_ID.sub("ID", line.partition("?")[0]) for line in self.place.double.calls()]

    def cases(self, lines: Iterable[str], faults: Iterable[str] = FAULTS) -> list[Case]:
        """Today's."""
        return list(todays([(line, fault) for line in lines for fault in faults], self.config, days=DAYS))

    def suffer(self, job: Job, *cases: Case) -> str:
        """The job is run while each of these requests suffers once. What to say if the end is wrong."""
        for line, fault in cases:
            self.place.double.fail(_pattern(line), fault, **FAULTS[fault])
        self.place.double.calls(clear=True)
        run_through(self.place, job, later=0.5)
        assert self.place.double.standing() == [], f"not asked for: {cases}"
        return f"{cases}: {self.place.told(job)}"

    def off(self, name: str) -> Vm:
        vm, job = self.place.create(name, run=False)
        self.place.finish(job)
        vm.refresh_from_db()
        return vm

    def undone(self, name: str) -> Job:
        """One that fails when its last step is done."""
        self.plant("compute.create_vm.on_finished", "fail")
        return self.place.create(name)[1]


def _pattern(line: str) -> str:
    return "^" + re.escape(line).replace("ID", "[0-9a-f-]{36}") + "/?$"


@pytest.fixture
def trial(engine_place: EnginePlace, plant: Plant, pytestconfig: pytest.Config) -> Trial:
    provider = engine_place.provider
    provider.options = provider.options | {"answer_seconds": str(PATIENCE)}
    provider.save(update_fields=["options"])
    return Trial(engine_place, plant, pytestconfig)


def test_every_change_of_a_creation_suffers_every_fault_and_the_machine_is_made_once(trial: Trial) -> None:
    lines = trial.lines(trial.place.create("first")[1])
    assert {"POST /vms", "POST /vms/ID/start", "PUT /vms/ID"} < set(lines)
    for number, case in enumerate(trial.cases(lines)):
        vm, job = trial.place.create(f"m-{number}")
        told = trial.suffer(job, case)
        assert job.status == JobStatus.FINISHED, told
        assert vm.pk in trial.place.running(), told
        assert_nothing_lost(trial.place)


def test_every_change_of_a_deletion_suffers_every_fault_and_leaves_nothing(trial: Trial) -> None:
    lines = trial.lines(trial.place.do("delete", trial.off("first")))
    assert {"DELETE /vms/ID", "DELETE /disks/ID"} < set(lines)
    for number, case in enumerate(trial.cases(lines)):
        job = trial.place.do("delete", trial.off(f"m-{number}"))
        told = trial.suffer(job, case)
        assert job.status == JobStatus.FINISHED, told
        assert_nothing_lost(trial.place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def test_every_change_of_an_undo_suffers_every_fault_and_leaves_nothing(trial: Trial) -> None:
    forward = trial.lines(trial.place.create("first")[1])
    there = Vm.objects.count()
    lines = [line for line in trial.lines(trial.undone("second")) if line not in forward]
    assert {"POST /vms/ID/stop", "DELETE /vms/ID", "DELETE /disks/ID"} < set(lines)
    for number, case in enumerate(trial.cases(lines)):
        job = trial.undone(f"m-{number}")
        told = trial.suffer(job, case)
        assert job.status == JobStatus.FAILED, told
        assert_nothing_lost(trial.place)
    assert Vm.objects.count() == there


def test_every_reading_of_a_creation_suffers_what_passes_and_the_machine_is_made_once(trial: Trial) -> None:
    """All in one creation for each fault; with ``--full`` each alone too."""
    lines, faults = trial.lines(trial.place.create("first")[1], READING), ("503", "truncated", "401")
    assert {"GET /vms", "GET /vms/ID", "GET /jobs", "GET /disks/ID"} < set(lines)
    groups = [[(line, fault) for line in lines] for fault in faults]
    if trial.config.getoption("--full"):
        groups += [[case] for group in groups for case in group]
    for number, group in enumerate(groups):
        vm, job = trial.place.create(f"m-{number}")
        told = trial.suffer(job, *group)
        assert job.status == JobStatus.FINISHED, told
        assert vm.pk in trial.place.running(), told
        assert_nothing_lost(trial.place)


def test_power_is_asked_for_once_whatever_becomes_of_the_answer(trial: Trial) -> None:
    for verb, fault in product(POWER, UNSEEN):
        line, runs = POWER[verb]
        vm = trial.place.spare(running=verb != "run")
        job = trial.place.do(verb, vm)
        told = trial.suffer(job, (line, fault))
        if verb == "reboot" and job.status == JobStatus.FAILED:
            assert job.error["code"] == "reboot_uncertain", told
        else:
            assert job.status == JobStatus.FINISHED, told
        assert trial.calls().count(line) == 1, told
        assert (vm.pk in trial.place.running()) == runs, told
        assert_nothing_lost(trial.place)


def test_a_machine_is_adopted_and_given_back_whatever_becomes_of_the_answer(trial: Trial) -> None:
    place, line = trial.place, "PUT /vms/ID"
    keys = {fault: place.double.plant_vm(f"theirs-{fault}", comment="of the workshop") for fault in UNSEEN}
    place.strangers = place.look().strangers
    sync_provider(place.provider)
    for fault, key in keys.items():
        wish = Adoption((FoundVm.objects.get(external_id=key).pk,), place.centers["physics"].pk, "alice")
        [(vm, job)] = adopt(place.actor("root"), wish)
        told = trial.suffer(job, (line, fault))
        assert (job.status, trial.calls().count(line)) == (JobStatus.FINISHED, 1), told
        assert vm.pk.hex in place.double.things("vms")[key]["comment"]
        assert_nothing_lost(place)
        job = unadopt_vm(place.actor("root"), vm.pk)
        told = trial.suffer(job, (line, fault))
        assert (job.status, trial.calls().count(line)) == (JobStatus.FINISHED, 1), told
        assert_nothing_lost(place)  # among others' things it is as it was
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()


def test_a_making_that_fails_later_is_told_in_the_engines_words_and_leaves_nothing(engine_place: EnginePlace) -> None:
    place = engine_place
    place.double.fail("^POST /vms$", "job_fails", text="Failed to complete VM m-1 creation.")
    _vm, job = place.create("m-1")
    run_through(place, job, later=0.5)
    assert job.status == JobStatus.FAILED
    assert job.error["code"] == "hypervisor_making_failed", job.error
    assert_nothing_lost(place)
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    place.finish(place.create("m-1")[1])
