"""Jobs to run, a world for them to act on, faults to plant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from celery import current_app
from django.db import transaction

from portal.common.actor import Actor, Door, NamedUser
from portal.jobs import publish
from portal.jobs.engine import advance
from portal.jobs.models import Job
from portal.jobs.operation import Operation
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from portal.jobs.states import RUNNABLE
from tests.jobs.toy import Toy
from tests.jobs.world import World

Start = Callable[..., Job]


@pytest.fixture
def actor() -> Actor:
    return Actor(user=NamedUser(uuid4(), "alice"), door=Door.API, request_id="request-1", client_address="192.0.2.7")


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "world").mkdir()
    return World(tmp_path / "world")


@pytest.fixture
def start(actor: Actor, world: World) -> Start:
    """Starts a job in a transaction of its own, as a service does."""

    def starts(operation: type[Operation] = Toy, *, target: UUID | None = None, locks: tuple[Lock, ...] | None = None,
               gate: Gate | None = None) -> Job:  # fmt: skip
        uid = target or uuid4()
        held = (Lock("thing", uid),) if locks is None else locks
        request = JobRequest(operation, Target("thing", uid, "a thing"), gate, held, {"world": str(world.folder)})
        with transaction.atomic():
            return start_job(actor, request)

    return starts


@pytest.fixture
def broker() -> Iterator[Callable[[str], None]]:
    """Points Celery at another broker for one test."""
    before = current_app.conf.broker_url

    def use(url: str) -> None:
        current_app.conf.broker_url = current_app.conf.broker_read_url = current_app.conf.broker_write_url = url
        publish._broker_rest.end()
        current_app.amqp._producer_pool = None
        current_app._pool = None

    yield use
    use(before)


def run(job: Job, *, most: int = 200) -> Job:
    """Runs a job until it is final or stuck, past its pauses: the clock is not waited for."""
    for _ in range(most):
        hurry(job)
        advance(job.uid)
        job.refresh_from_db()
        if job.status not in RUNNABLE:
            return job
    raise AssertionError(f"{job} goes round in circles")


def hurry(job: Job) -> None:
    """Lets the pauses and the lease of a job pass."""
    Job.objects.filter(uid=job.uid, status__in=RUNNABLE).update(not_before=None, lease_until=None)
