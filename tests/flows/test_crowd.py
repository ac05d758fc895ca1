"""Many at once: the quota holds at every instant, every machine is made once, and nothing is shared that must not be."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from compute import rules
from compute.models import Nic, Vm
from portal.events.models import Event
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants import quota
from tenants.models import QuotaAccount
from tenants.models.quota import Dimension
from tests.crowd import in_threads
from tests.flows.doors import Api
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.place import Place
from tests.jobs.workers import Workers

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

LIMIT, THREADS, EACH = 10, 25, 8


@contextmanager
def watched(place: Place) -> Iterator[list[int]]:
    """Every figure of used machines that could be read meanwhile."""
    seen: list[int] = []
    over = threading.Event()
    account = QuotaAccount.objects.filter(
        data_center=place.centers["physics"], subject_kind="data_center", dimension=Dimension.MACHINES
    )

    def watch() -> None:
        while not over.is_set():
            seen.append(account.get().used)
            over.wait(0.002)
        connection.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield seen
    over.set()
    watcher.join()


@pytest.mark.turns
def test_cc01_of_200_creations_at_once_as_many_are_accepted_as_the_quota_holds(place: Place, workers: Workers):
    quota.set_limits(place.centers["physics"], {Dimension.MACHINES: LIMIT, Dimension.VCPUS_RUNNING: None})
    api = Api(place, "alice")

    def ask(number: int) -> list[int]:
        return [api.create(f"m-{number}-{turn}").status_code for turn in range(EACH)]

    with watched(place) as seen:
        codes = Counter(code for answers in in_threads(THREADS, ask) for code in answers)

    assert codes == {202: LIMIT, 409: THREADS * EACH - LIMIT}
    assert 0 < max(seen) <= LIMIT
    assert Event.objects.filter(code="VM_CREATE_REFUSED").count() == THREADS * EACH - LIMIT
    jobs = list(Job.objects.filter(operation="compute.create_vm"))
    for pid in [workers.spawn(job.pk) for job in jobs]:
        assert workers.wait(pid) == 0
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {JobStatus.FINISHED}
    assert Vm.objects.count() == LIMIT
    assert_nothing_lost(place)


def test_a_mac_address_that_is_taken_is_not_drawn_again(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rules, "mac_of", lambda uid_hex: f"52:54:00:00:00:0{uid_hex[0]}")
    for number in range(LIMIT):
        place.create(f"m-{number}", run=False)
    assert Nic.objects.values("mac").distinct().count() == LIMIT
