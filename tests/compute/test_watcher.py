"""The watcher's manners: how often it knocks, compares and looks, and that it keeps its lease while it is at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, InterfaceError, OperationalError, connections
from django.utils.translation import override

from compute.choices import UNREADABLE
from compute.models import Host
from compute.sync import watcher
from compute.sync.watcher import MOST_LOOKS, Pace, ProviderWatcher, look_at_changed
from portal.common.phrases import said
from portal.hypervisors.errors import Denied, HypervisorError, Unavailable
from portal.hypervisors.leases import claim_watch
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Change
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.flows.patience import until
from tests.people import Institute, the_institute


@pytest.fixture
def institute(transactional_db: None, tmp_path: Path) -> Institute:
    return the_institute(tmp_path)


@pytest.fixture
def double(institute: Institute) -> HypervisorDouble:
    return HypervisorDouble(Path(institute.provider.address.removeprefix("double://")))


@contextmanager
def watching(provider: Provider) -> Iterator[ProviderWatcher]:
    stop = threading.Event()
    thread = ProviderWatcher(provider.pk, stop)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(30)


def status(provider: Provider) -> str:
    return str(Provider.objects.get(pk=provider.pk).status)


def until_kept(provider: Provider) -> None:
    """Until the lease on watching it was prolonged, twice: then it is, again and again."""
    for _ in range(2):
        before = Provider.objects.get(pk=provider.pk).watcher_until
        until(lambda before=before: Provider.objects.get(pk=provider.pk).watcher_until > before)


@pytest.mark.turns
@pytest.mark.long
def test_a_refused_account_is_left_alone_for_minutes_and_tried_at_once_when_it_is_given_anew(
    institute: Institute, double: HypervisorDouble, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watcher, "RETRY_SECONDS", 0.05)
    provider = institute.provider
    double.fail("watch", Fault.REFUSED, times=-1)
    with watching(provider):
        until(lambda: status(provider) == "denied")
        until_kept(provider)
        assert len(double.calls("watch")) == 1
        assert claim_watch(provider.pk, holder="another", seconds=30) is None, "nobody knocks in its place"
        double.heal()
        Provider.objects.filter(pk=provider.pk).update(username="portal")
        until(lambda: status(provider) == "up")


def test_a_compare_that_fails_by_what_nobody_foresaw_makes_a_provider_that_cannot_be_read(
    institute: Institute, monkeypatch: pytest.MonkeyPatch
):
    thread = ProviderWatcher(institute.provider.pk, stop := threading.Event())
    stop.set()  # it looks once, and does not follow
    thread._once()
    assert status(institute.provider) == "up"
    real, faults = watcher.sync_provider, list[Exception]()

    def failing(_provider: Provider) -> None:
        raise faults.pop()

    monkeypatch.setattr(watcher, "sync_provider", failing)
    for fault in (OperationalError(), InterfaceError()):
        faults.append(fault)
        thread._once()
        assert status(institute.provider) == "up", "it is our own database that does not answer"
    for fault in (ValueError(), DataError()):
        faults.append(fault)
        Provider.objects.update(status="up", status_detail="")
        thread._once()
        told = Provider.objects.get()
        assert (told.status, told.status_detail) == ("unreachable", UNREADABLE)
        assert set(Host.objects.values_list("status", flat=True)) == {"unknown"}
    with override("el"):
        assert said(UNREADABLE) != UNREADABLE
    monkeypatch.setattr(watcher, "sync_provider", real)
    thread._once()
    assert (status(institute.provider), Provider.objects.get().status_detail) == ("up", "")


@pytest.mark.parametrize("error", [Denied(), Unavailable()], ids=["refused", "broken"])
def test_what_fails_by_credentials_that_were_replaced_meanwhile_says_nothing_of_the_provider(
    institute: Institute, monkeypatch: pytest.MonkeyPatch, error: HypervisorError
):
    Provider.objects.update(status="up")

    def replaced(provider: Provider) -> None:
        if not provider.username:
            Provider.objects.update(username="another")
        raise error

    monkeypatch.setattr(watcher, "sync_provider", replaced)
    thread = ProviderWatcher(institute.provider.pk, threading.Event())
    thread._once()
    assert (status(institute.provider), thread._refused) == ("up", None)
    thread._once()
    assert status(institute.provider) != "up", "by the new ones it is told"


def test_each_refusal_is_followed_by_a_longer_rest(institute: Institute, monkeypatch: pytest.MonkeyPatch):
    Provider.objects.update(status="denied")
    seen: list[float] = []

    class Clock:
        """Time goes by the waiting alone."""

        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def wait(self, seconds: float) -> bool:
            self.now += seconds
            return False

    clock = Clock()
    monkeypatch.setattr(watcher, "time", clock)
    thread = ProviderWatcher(institute.provider.pk, clock)  # type: ignore[arg-type]
    for refusals in (0, 1, 2, 3, 9):
        thread._refused, thread._refusals = institute.provider if refusals else None, refusals
        began = clock.now
        thread._leave_alone()
        seen.append(clock.now - began)
    assert seen == [0, 60, 120, 240, 600]


@pytest.mark.turns
@pytest.mark.long
def test_the_lease_is_kept_while_a_compare_lasts(institute: Institute, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watcher, "LEASE_SECONDS", 3)
    begun, go = threading.Event(), threading.Event()

    def lasts(_provider: Any) -> None:
        begun.set()
        assert go.wait(30)

    monkeypatch.setattr(watcher, "sync_provider", lasts)
    with watching(institute.provider):
        assert begun.wait(30)
        until_kept(institute.provider)
        assert claim_watch(institute.provider.pk, holder="another", seconds=30) is None
        go.set()
    connections.close_all()


def test_many_changes_are_looked_at_by_one_compare_and_few_one_by_one(monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []

    def look(_provider: Provider, key: str) -> bool:
        looked.append(key)
        return key != "theirs"

    monkeypatch.setattr(watcher, "look_at", look)
    pace = Pace(1000.0)
    look_at_changed(Provider(), [Change(f"vm-{number}") for number in range(MOST_LOOKS)], pace)
    assert len(looked) == MOST_LOOKS
    assert not pace.is_due(1059.0)
    look_at_changed(Provider(), [Change("theirs"), Change("vm-1")], pace)
    assert sorted(looked[MOST_LOOKS:]) == ["theirs", "vm-1"]
    assert (pace.is_due(1014.9), pace.is_due(1015.0)) == (False, True)
    look_at_changed(Provider(), [Change(f"vm-{number}") for number in range(MOST_LOOKS + 1)], pace)
    assert len(looked) == MOST_LOOKS + 2
    assert pace.is_due(1003.0)


def test_a_compare_that_takes_long_is_not_asked_for_all_the_time():
    pace = Pace(0.0)
    pace.something_changed()
    assert (pace.is_due(2.9), pace.is_due(3.0)) == (False, True)
    pace.compared(began=3.0, ended=8.0)
    pace.something_changed()
    assert (pace.is_due(57.9), pace.is_due(58.0)) == (False, True)
    pace.many_changed()
    assert (pace.is_due(17.9), pace.is_due(18.0)) == (False, True)


def test_strangers_that_come_and_go_without_end_are_looked_at_less_and_less_often():
    pace, at = Pace(0.0), 0.0
    for pause in (15.0, 30.0, 60.0, 15.0):
        pace.strangers_changed()
        at += pause
        assert (pace.is_due(at - 1), pace.is_due(at)) == (False, True), pause
        pace.compared(began=at, ended=at)
