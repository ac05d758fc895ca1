"""Every call that an operation makes suffers faults a hypervisor can have: it ends well, or undone and honest.

With ``--full`` each call suffers each fault.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest
from django.db import connection

from compute.models import Vm
from compute.sync.inventory import sync_provider
from portal.common.errors import PortalError
from portal.jobs.models import Job
from portal.jobs.operation import Operation
from portal.jobs.states import JobStatus
from tenants import quota
from tenants.models.quota import Dimension
from tests.doubles.hypervisor_state import Fault
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import run_through
from tests.flows.place import Place
from tests.flows.scenarios import SCENARIOS, name_of, operations, undone_operations
from tests.jobs.fixtures import Plant

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

PASSING = (Fault.BUSY, Fault.GONE, Fault.LOST, Fault.LOST_BEFORE, Fault.SLOW)
LASTING = (Fault.FULL, Fault.REFUSED, Fault.INVALID, Fault.VANISH)
# A method suffers every fault at its first call, and at its later ones the two that all others are cousins of.
OFTEN = {Fault.GONE, Fault.REFUSED}


class Trial:
    """Operations on objects of their own, one call of each made to suffer."""

    def __init__(self, place: Place, plant: Plant, *, full: bool) -> None:
        self.place, self.plant, self.double, self.count, self.full = place, plant, place.double, 0, full

    def start(self, operation: type[Operation], *, failing: bool = False) -> Job:
        """The operation asked for, its calls counted from now; ``failing``: when its last step is done it is undone."""
        self.count += 1
        job = SCENARIOS[operation.name].start(self.place, f"m-{self.count}")
        if failing:
            self.plant(f"{operation.name}.on_finished", "fail")
        self.double.forget_calls()
        return job

    def victims(self, operation: type[Operation], faults: Iterable[Fault]) -> Iterator[tuple[Fault, str, int]]:
        """Which calls suffer which fault: a method, and how many calls of it come before."""
        calls = self.calls(operation)
        cases = [(fault, *call) for fault in faults for call in calls if call[1] == 0 or fault in OFTEN]
        yield from cases if self.full else a_share_of(cases, operation.name)

    def calls(self, operation: type[Operation], *, failing: bool = False) -> list[tuple[str, int]]:
        """Which methods it calls when all goes well, with how many calls of the same came before."""
        run_through(self.place, self.start(operation, failing=failing))
        seen: Counter[str] = Counter()
        found = []
        for call in self.double.calls():
            found.append((call.method, seen[call.method]))
            seen[call.method] += 1
        return found

    def undo_calls(self, operation: type[Operation]) -> list[tuple[str, int]]:
        """The same for what is called while it is undone."""
        forward = self.calls(operation)
        return [call for call in self.calls(operation, failing=True) if call not in forward]

    def suffer(self, job: Job, method: str, nth: int, fault: Fault, *, times: int = 1) -> Job:
        """The job is run while one call suffers; then all is well again."""
        self.double.fail(method, fault, after=nth, times=times, seconds=0.01)
        run_through(self.place, job)
        assert self.double.pending() == 0, f"{method} was not called so often"
        self.double.heal()
        return job


def a_share_of(cases: Sequence[tuple[Fault, str, int]], seed: str) -> list[tuple[Fault, str, int]]:
    """So many that each call suffers something and each fault is suffered; ``--full`` takes all."""
    left = list(cases)
    random.Random(seed + connection.vendor).shuffle(left)
    seen: set[object] = set()
    share = []
    for case in left:
        fault, *call = case
        if fault not in seen or tuple(call) not in seen:
            seen |= {fault, tuple(call)}
            share.append(case)
    return share


@pytest.fixture
def trial(place: Place, plant: Plant, request: pytest.FixtureRequest) -> Trial:
    for dimension in (Dimension.MACHINES, Dimension.VCPUS_RUNNING):
        quota.set_limits(place.centers["physics"], {dimension: None})
    # What passes with time takes none: how often a job looks must not depend on the clock.
    place.double.configure(boot_seconds=0, halt_seconds=0)
    return Trial(place, plant, full=request.config.getoption("--full"))


def assert_honest(job: Job) -> None:
    """It failed, and says why in a sentence of which the hypervisor's own words are no part."""
    assert job.status == JobStatus.FAILED, job.error
    text = job.error["text"]
    assert text.endswith(".")
    assert "double" not in text
    assert job.error["code"] != "internal_error"


def assert_can_go_on(trial: Trial, job: Job) -> None:
    """After a failure the way is free: what was to be made can be made under its name, what was to go can go."""
    if job.operation == "compute.create_vm":
        again = trial.place.create(job.target_name)[1]
    elif job.operation == "compute.delete_vm":
        again = trial.place.do("delete", Vm.objects.get(pk=job.target_uid))
    else:
        return
    assert run_through(trial.place, again).status == JobStatus.FINISHED, again.error
    assert_nothing_lost(trial.place)


def lose_for_good(trial: Trial, job: Job) -> bool:
    """A machine of ours that vanished on the hypervisor is shown as absent, and can be deleted."""
    vm = Vm.objects.filter(pk=job.target_uid).first()
    if vm is None or str(vm.pk) in trial.double.things("vm"):
        return False
    sync_provider(trial.place.provider)
    vm.refresh_from_db()
    assert vm.is_absent
    with pytest.raises(PortalError, match="does not have this machine any more"):
        trial.place.do("run", vm)
    assert run_through(trial.place, trial.place.do("delete", vm)).status == JobStatus.FINISHED
    return True


@pytest.mark.turns
@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_tf11_what_passes_is_outlasted(trial: Trial, operation: type[Operation]):
    for fault, method, nth in trial.victims(operation, PASSING):
        job = trial.suffer(trial.start(operation), method, nth, fault)
        if job.status != JobStatus.FINISHED:
            assert job.error["code"] == SCENARIOS[operation.name].uncertain != "", (fault, method, nth, job.error)
            assert fault in {Fault.LOST, Fault.LOST_BEFORE}
        assert_nothing_lost(trial.place)


@pytest.mark.turns
@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_tf11_what_lasts_ends_the_job_undone_and_honest(trial: Trial, operation: type[Operation]):
    for fault, method, nth in trial.victims(operation, LASTING):
        job = trial.suffer(trial.start(operation), method, nth, fault)
        gone = fault is Fault.VANISH and lose_for_good(trial, job)
        if job.status != JobStatus.FINISHED and not gone:
            assert_honest(job)
            if fault is Fault.REFUSED:
                assert_can_go_on(trial, job)
        assert_nothing_lost(trial.place)


@pytest.mark.turns
@pytest.mark.parametrize("operation", undone_operations(), ids=name_of)
def test_tf11_an_undo_outlasts_any_fault_that_comes_once(trial: Trial, operation: type[Operation]):
    calls = trial.undo_calls(operation)
    first = dict(reversed(calls))
    faults = (*PASSING, Fault.REFUSED)
    cases = [(fault, *call) for fault in faults for call in calls if fault in OFTEN or first[call[0]] == call[1]]
    for fault, method, nth in cases if trial.full else a_share_of(cases, operation.name):
        job = trial.suffer(trial.start(operation, failing=True), method, nth, fault)
        assert job.status == JobStatus.FAILED, (fault, method, nth, job.error)
        assert_nothing_lost(trial.place)


@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_a_job_that_fails_when_all_its_steps_are_done_leaves_no_wrong_charge(trial: Trial, operation: type[Operation]):
    assert run_through(trial.place, trial.start(operation, failing=True)).status == JobStatus.FAILED
    assert_nothing_lost(trial.place)
