"""Starting a job: all or nothing with the caller's transaction, one holder per object, and a message that may get lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from portal.common.actor import Actor, system_actor
from portal.common.errors import Busy
from portal.jobs.claim import overdue
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job, JobLock, Step
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from portal.jobs.states import JobStatus
from portal.jobs.tasks import sweep
from tests.jobs.conftest import Start, run
from tests.jobs.fixtures import Plant
from tests.jobs.toy import Toy
from tests.jobs.world import World

THREADS = 20


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """A server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def in_threads(act: Callable[[int], Any], *, count: int = THREADS) -> list[Any]:
    """What each of so many threads, let loose at once, returned or raised."""
    results: list[Any] = [None] * count
    together = threading.Barrier(count)

    def one(number: int) -> None:
        together.wait()
        try:
            results[number] = act(number)
        except Exception as error:  # noqa: BLE001
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return results


@pytest.mark.django_db
def test_the_row_says_who_what_and_for_whom(actor: Actor):
    target = Target("vm", uuid4(), "web", uuid4())
    gate = Gate("VM_CREATE", "data_center", uuid4())

    job = start_job(actor, JobRequest(Toy, target, gate, (Lock("vm", target.uid),), {"size": 3}))

    job.refresh_from_db()
    assert (job.operation, job.version, job.params, job.status) == ("toy.make", 1, {"size": 3}, JobStatus.QUEUED)
    assert (job.actor_uid, job.actor_name, job.request_id) == (actor.uid, "alice", "request-1")
    assert (job.target_kind, job.target_uid, job.target_name) == ("vm", target.uid, "web")
    assert (job.permit, job.permit_kind, job.permit_uid) == ("VM_CREATE", "data_center", gate.uid)
    assert (job.data_center_uid, job.audit_verb) == (target.data_center_uid, "TOY_MAKE")
    assert [step.name for step in job.steps.all()] == ["disk", "nic", "vm"]


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_starts(actor: Actor):
    with pytest.raises(TransactionManagementError):
        start_job(actor, JobRequest(Toy, Target("vm", uuid4()), None))
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_request_that_rolls_back_leaves_no_job_and_no_lock(actor: Actor):
    uid = uuid4()
    with transaction.atomic():
        start_job(actor, JobRequest(Toy, Target("vm", uid), None, (Lock("vm", uid),)))
        transaction.set_rollback(True)
    assert not Job.objects.exists()
    assert not JobLock.objects.exists()
    assert not Step.objects.exists()


@pytest.mark.django_db
def test_a_second_job_on_a_held_object_is_refused_and_names_the_first(start: Start):
    uid = uuid4()
    first = start(target=uid)

    with pytest.raises(Busy) as refused:
        start(target=uid)

    assert refused.value.status == 409
    assert refused.value.data["job"] == {
        "id": str(first.uid),
        "operation": "toy.make",
        "title": "Make three things",
        "status": "queued",
    }
    assert Job.objects.count() == 1


@pytest.mark.django_db
def test_the_object_is_free_again_when_the_job_has_ended(start: Start, plant: Plant):
    uid = uuid4()
    run(start(target=uid))
    plant("toy.make.nic.before", "fail")
    run(start(target=uid))
    assert start(target=uid).status == JobStatus.QUEUED


@pytest.mark.django_db
def test_many_share_what_nobody_may_then_have_alone(start: Start):
    template = uuid4()
    shared, alone = Lock("template", template, exclusive=False), Lock("template", template)
    holders = [start(locks=(shared,)) for _ in range(3)]

    with pytest.raises(Busy) as refused:
        start(locks=(alone,))
    assert refused.value.data["job"]["id"] == str(holders[0].uid)

    for holder in holders:
        run(holder)
    start(locks=(alone,))
    with pytest.raises(Busy):
        start(locks=(shared,))


@pytest.mark.django_db
def test_an_object_named_twice_is_locked_once_and_exclusively(start: Start):
    uid = uuid4()
    start(locks=(Lock("vm", uid, exclusive=False), Lock("vm", uid), Lock("vm", uid, exclusive=False)))
    assert list(JobLock.objects.values_list("uid", "exclusive")) == [(uid, True)]


@pytest.mark.django_db(transaction=True)
def test_of_20_requests_at_once_for_one_object_exactly_one_starts(start: Start):
    uid = uuid4()

    results = in_threads(lambda _number: start(target=uid))

    assert sum(isinstance(result, Job) for result in results) == 1, results
    assert sum(isinstance(result, Busy) for result in results) == THREADS - 1, results
    assert JobLock.objects.count() == Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_shared_and_exclusive_requests_at_once_never_mix(start: Start):
    for _round in range(3):
        uid = uuid4()
        results = in_threads(lambda number, uid=uid: start(locks=(Lock("template", uid, exclusive=number % 5 == 0),)))
        held = list(JobLock.objects.filter(uid=uid).values_list("exclusive", flat=True))
        assert held, results
        assert held == [True] or not any(held), held
        assert all(isinstance(result, (Job, Busy)) for result in results), results


@pytest.mark.django_db(transaction=True)
def test_requests_that_name_the_same_two_objects_in_any_order_never_hold_each_other_up(start: Start):
    one, two = Lock("vm", uuid4()), Lock("vm", uuid4())

    results = in_threads(lambda number: start(locks=(one, two) if number % 2 else (two, one)))

    assert sum(isinstance(result, Job) for result in results) == 1, results
    assert sum(isinstance(result, Busy) for result in results) == THREADS - 1, results


@pytest.mark.turns
@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_tf09_a_broker_that_is_silent_costs_seconds_and_never_the_job(
    start: Start, world: World, broker: Callable[[str], None], silent_broker: str, caplog: pytest.LogCaptureFixture
):
    broker(silent_broker)
    began = time.monotonic()
    job = start()
    took = time.monotonic() - began
    broker("memory://")

    assert "was not sent" in caplog.text
    assert took < 20, "bounded by the broker's time-outs; without them it would hang for ever"
    assert Job.objects.get().status == JobStatus.QUEUED
    _grow_old(job.uid)
    assert overdue(5) == [job.uid]
    assert sweep() == 1
    assert run_to_end(job.uid).status == JobStatus.FINISHED


@pytest.mark.django_db(transaction=True)
def test_tf09_a_broker_that_is_away_fails_no_request(start: Start, broker: Callable[[str], None]):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    broker(f"redis://127.0.0.1:{port}/0")

    job = start()

    assert job.status == JobStatus.QUEUED
    _grow_old(job.uid)
    assert sweep() == 0


@pytest.mark.django_db
def test_a_job_of_the_portal_itself_has_no_user(world: World):
    job = start_job(system_actor(), JobRequest(Toy, Target("vm", uuid4()), None, (), {"world": str(world.folder)}))
    assert (job.actor_uid, job.actor_name) == (None, "portal")
    assert run(job).status == JobStatus.FINISHED


def _grow_old(job_uid: UUID) -> None:
    """As if the job had been lying about for a minute."""
    Job.objects.filter(uid=job_uid).update(changed_at=Job.objects.get(uid=job_uid).changed_at.replace(year=2020))
