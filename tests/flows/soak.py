"""A long run of random operations among random faults: ``python -m tests.flows.soak --operations 1000 --json``.

People make, use and delete machines; worker processes are killed with -9 at random moments and at random places of the
code; of the calls to the hypervisor 5 % fail and of 5 % the answer is lost. In the end nothing is lost and nothing is there
twice. The seed is told; it fixes what is asked for, not what the processes make of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.test")
    django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from compute.models import Vm
from compute.services import vms
from compute.sync.inventory import sync_provider
from portal.common.errors import PortalError
from portal.hypervisors import connect
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.lanes import Limits
from portal.jobs import claim, engine
from portal.jobs.models import Job, Step
from portal.jobs.states import FINAL, RUNNABLE, JobStatus
from tenants import quota
from tenants.models.quota import Dimension
from tenants.services.jobs import cancel_job
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.place import Place, make_place
from tests.flows.scenarios import operations
from tests.jobs.workers import Workers, running_workers

PEOPLE = {"alice": "physics", "bob": "physics", "charlie": "informatics"}
VERBS = ("run", "stop", "shut_down", "reboot", "delete", "delete")
OPEN_AT_ONCE = 8
LEASE_SECONDS, HEARTBEAT_SECONDS = 2.0, 0.4
SHARE = 0.05
CANCELLED = 0.05


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    operations: int
    seed: int
    workers: int = 3
    patience: float = 3600.0  # seconds for the whole run


@dataclass
class Tally:
    """What happened."""

    asked: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    cancelled: int = 0
    killed_at_random: int = 0
    retried_by_the_operator: int = 0
    compares_failed: int = 0


# --- the workers


def work_for_ever(seed: str) -> None:
    """A worker and its sweep in one: takes whatever job is due, one step of it, and the next. It ends by being killed."""
    random.seed(seed)
    claim.LEASE_SECONDS, claim.HEARTBEAT_SECONDS = LEASE_SECONDS, HEARTBEAT_SECONDS
    engine._pause = lambda _attempts: random.uniform(0.02, 0.3)
    connect.Limits = partial(Limits, cooldown_seconds=0.1)  # type: ignore[misc,assignment]
    while True:
        due = Job.objects.filter(claim.FREE & (Q(not_before=None) | Q(not_before__lte=Now())), status__in=RUNNABLE)
        uids = list(due.values_list("uid", flat=True)[:20])
        if uids:
            engine.advance(random.choice(uids))
        else:
            time.sleep(0.05)


class Staff:
    """Keeps so many workers at work, and kills them."""

    def __init__(self, workers: Workers, plan: Plan, tally: Tally) -> None:
        self.workers, self.plan, self.tally = workers, plan, tally
        self.random = random.Random(f"staff {plan.seed}")
        self.pids: list[int] = []
        self.hired = 0
        self.over = threading.Event()
        self.faults = Path(settings.FAULT_POINTS_DIR)
        self.points = list(_points())

    def keep_busy(self) -> None:
        """Hire, plant, kill, until told to stop; then the last workers work in peace.

        Nobody is killed before somebody got something done: on a busy machine they would do nothing but die.
        """
        done = 0
        while not self.over.wait(self.random.uniform(0.1, 0.8)):
            self.hire()
            before, done = done, _steps_done()
            if done == before:
                continue
            (self.faults / self.random.choice(self.points)).write_text("kill")
            if self.random.random() < 0.5:
                self.kill(self.random.choice(self.pids))
                self.tally.killed_at_random += 1
        for planted in self.faults.iterdir():
            if not planted.name.startswith("taken-"):
                planted.unlink()
        self.hire()
        connection.close()

    def hire(self) -> None:
        """In the place of those who died."""
        for pid in [pid for pid in self.pids if _is_dead(pid)]:
            self.workers.wait(pid)
            self.pids.remove(pid)
        while len(self.pids) < self.plan.workers:
            self.hired += 1
            seed = f"worker {self.plan.seed} {self.hired}"
            self.pids.append(self.workers.spawn_call("tests.flows.soak:work_for_ever", seed=seed))

    def kill(self, pid: int) -> None:
        """With -9: nothing is cleaned up."""
        os.kill(pid, signal.SIGKILL)
        self.workers.wait(pid)
        self.pids.remove(pid)

    def dismiss(self) -> None:
        """The end."""
        for pid in list(self.pids):
            self.kill(pid)

    def killed_at_points(self) -> int:
        """How many died at a named place."""
        return sum(1 for path in self.faults.iterdir() if path.name.startswith("taken-"))


def _steps_done() -> int:
    return Step.objects.exclude(ended_at=None).count()


def _points() -> Iterator[str]:
    for operation in operations():
        yield from (f"{operation.name}.on_finished", f"{operation.name}.on_failed")
        for step in operation.steps:
            places = ("before", "after", "saved", "made", "removed", "stopped", "asked")
            undo_places = ("undo_before", "undo_after", "undo_saved") if step.undo else ()
            yield from (f"{operation.name}.{step.name}.{place}" for place in places + undo_places)


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


# --- the people


class Crowd:
    """People who ask for things, some of which they may not have just now."""

    def __init__(self, place: Place, plan: Plan, tally: Tally) -> None:
        self.place, self.plan, self.tally = place, plan, tally
        self.random = random.Random(f"crowd {plan.seed}")
        self.number = 0

    def ask(self, *, until: float) -> None:
        """Until so many operations were accepted; no more than a few jobs are open at once."""
        while sum(self.tally.asked.values()) < self.plan.operations:
            assert time.monotonic() < until, "the run takes too long"
            if self.number % 20 == 0:
                self.compare()
            self.number += 1
            open_jobs = Job.objects.exclude(status__in=FINAL)
            if open_jobs.count() >= OPEN_AT_ONCE:
                self.help_stuck()
                time.sleep(0.02)
                continue
            self.one()

    def one(self) -> None:
        """One request of somebody."""
        person = self.random.choice(list(PEOPLE))
        mine = list(Vm.objects.filter(owner__username=person).order_by("created_at"))
        try:
            if len(mine) < 2 or (len(mine) < 5 and self.random.random() < 0.5):
                self._create(person)
            else:
                self._use(person, self.random.choice(mine))
        except PortalError:
            self.tally.refused += 1

    def _create(self, person: str) -> None:
        wish = self.place.wish(f"m-{self.number}", PEOPLE[person], run=self.random.random() < 0.5)
        _vm, job = vms.create_vm(self.place.actor(person), wish)
        self.tally.asked["create"] += 1
        if self.random.random() < CANCELLED:
            cancel_job(self.place.actor(person), job.pk)
            self.tally.cancelled += 1

    def _use(self, person: str, vm: Vm) -> None:
        verb = self.random.choice(VERBS)
        self.place.do(verb, vm, person)
        self.tally.asked[verb] += 1

    def compare(self) -> None:
        """What the watcher does once a minute; it meets faults too."""
        try:
            sync_provider(self.place.provider)
        except HypervisorError:
            self.tally.compares_failed += 1
            connect.forget(self.place.provider.uid)

    def help_stuck(self) -> None:
        """The operator's part."""
        for job in Job.objects.filter(status=JobStatus.STUCK):
            engine.retry_job(job.pk)
            self.tally.retried_by_the_operator += 1

    def wait_for_the_end(self, *, until: float) -> None:
        """All jobs are final."""
        while Job.objects.exclude(status__in=FINAL).exists():
            assert time.monotonic() < until, "jobs do not end: " + ", ".join(
                map(str, Job.objects.exclude(status__in=FINAL))
            )
            self.help_stuck()
            time.sleep(0.05)


# --- the run


def soak(place: Place, workers: Workers, plan: Plan) -> dict[str, Any]:
    """The whole run; the figures. Raises ``AssertionError`` with everything that is lost, twice or wrong."""
    tally, begin = Tally(), time.monotonic()
    crowd, staff = Crowd(place, plan, tally), Staff(workers, plan, tally)
    for center in place.centers.values():
        quota.set_limits(center, {Dimension.MACHINES: 8, Dimension.VCPUS_RUNNING: 5})
    staff.hire()
    place.double.forget_calls()
    place.double.configure(error_share=SHARE, lost_share=SHARE)
    try:
        _ask(crowd, staff, until=begin + plan.patience)
        place.double.configure(error_share=0, lost_share=0)
        crowd.wait_for_the_end(until=begin + plan.patience)
    finally:
        staff.dismiss()
    connect.forget(place.provider.uid)
    assert_nothing_lost(place)
    return _figures(place, plan, tally, staff, seconds=time.monotonic() - begin)


def _ask(crowd: Crowd, staff: Staff, *, until: float) -> None:
    """What people ask for, while workers are hired and killed."""
    keeper = threading.Thread(target=staff.keep_busy)
    keeper.start()
    try:
        crowd.ask(until=until)
    finally:
        staff.over.set()
        keeper.join()


def _figures(place: Place, plan: Plan, tally: Tally, staff: Staff, *, seconds: float) -> dict[str, Any]:
    outcomes = Counter(call.outcome for call in place.double.calls())
    ended = Counter(Job.objects.filter(target_kind="vm").values_list("status", flat=True))
    return {
        "seed": plan.seed,
        "operations": sum(tally.asked.values()),
        "asked": dict(tally.asked),
        "refused": tally.refused,
        "ended": dict(ended),
        "cancelled": tally.cancelled,
        "retried by the operator": tally.retried_by_the_operator,
        "workers killed at random": tally.killed_at_random,
        "workers killed at a named place": staff.killed_at_points(),
        "calls": sum(outcomes.values()),
        "calls that failed": sum(outcomes[name] for name in ("Busy", "Unavailable", "NoCapacity", "Denied", "Invalid")),
        "calls whose answer was lost": outcomes["OutcomeUnknown"],
        "calls cut off by a kill": outcomes["open"],
        "compares that failed": tally.compares_failed,
        "machines left": Vm.objects.count(),
        "lost": 0,
        "twice": 0,
        "seconds": round(seconds, 1),
    }


@contextmanager
def _fresh_place() -> Iterator[Place]:
    """A place in the configured database, which must be empty; by default one of its own in memory's file system."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        settings.FAULT_POINTS_DIR = str(Path(folder) / "faults")
        Path(settings.FAULT_POINTS_DIR).mkdir()
        call_command("migrate", verbosity=0)
        yield make_place(Path(folder))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    with _fresh_place() as place, running_workers() as workers:
        figures = soak(place, workers, Plan(options.operations, options.seed, options.workers))
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:34}{value}")


if __name__ == "__main__":
    main()
