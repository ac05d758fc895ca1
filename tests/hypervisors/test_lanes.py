"""A provider's lane: bounded calls, a bulkhead, and a breaker, tried on a double that hangs and goes away on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors import lanes
from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Busy, Denied, OutcomeUnknown, Unavailable
from portal.hypervisors.lanes import Lane, Limits, Pulse
from portal.hypervisors.specs import About, Connection
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.lab.servers import wait_until

NEVER = 3600.0  # a cool-down that no test waits for
# Short bounds: what is tried is that they hold, not how long they are. But who lives has all the time to prove it.
LIMITS = Limits(at_once=2, queue_seconds=0.1, cooldown_seconds=NEVER, probe_seconds=60, stuck_at_most=3)
SOON = 0.2  # the bound of a proof of life that does not come


class Clock:
    """The lane's clock, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class Counted(DoubleDriver):
    """A double that tells when it was closed, and whose connection may end by itself."""

    closed = ended = False

    @property
    def is_broken(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.closed = True


@dataclass
class Place:
    """A lane to a double, and what it opened. ``hang`` is work that does not come back before ``release`` is set."""

    folder: Path
    limits: Limits = LIMITS
    opened: list[Counted] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    refuse_to_open: bool = False

    def __post_init__(self) -> None:
        self.double = HypervisorDouble(self.folder)
        self.lane = Lane(self.folder.name, self._open, limits=self.limits)

    def _open(self) -> Driver:
        if self.refuse_to_open:
            raise Unavailable(detail="nobody listens")
        self.opened.append(Counted(Connection("double", self.double.address, uuid4(), uuid4())))
        return self.opened[-1]

    def hang(self, _driver: Driver) -> str:
        assert self.release.wait(60), "the test let nothing go"
        return "late"

    def read(self) -> str:
        return self.lane.call("read", lambda driver: driver.about().product, seconds=30, mutates=False)

    def abandon(self, *, mutates: bool = True) -> None:
        self.lane.call("hang", self.hang, seconds=0.05, mutates=mutates)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    places: list[Place] = []

    def make(**limits: Any) -> Place:
        places.append(Place(tmp_path / f"provider-{len(places)}", replace(LIMITS, **limits)))
        return places[-1]

    yield make
    for each in places:
        each.double.heal()
        each.release.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lanes, "time", clock)
    return clock


@pytest.fixture
def aside() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Runs something on another thread."""
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


# -- one call


def test_answers_and_errors_come_through_and_one_connection_serves_all(place):
    here = place()
    assert not here.opened, "a connection opens at the first call, not before"
    assert here.read() == here.read() == "Double"
    here.double.fail("about", Fault.REFUSED)
    with pytest.raises(Denied):
        here.read()
    with pytest.raises(ZeroDivisionError):
        here.lane.call("bug", lambda _driver: 1 // 0, seconds=30, mutates=True)
    assert here.read() == "Double"
    assert len(here.opened) == 1


def test_a_change_that_does_not_come_back_is_abandoned_as_outcome_unknown(place):
    here = place()
    with pytest.raises(OutcomeUnknown) as failed:
        here.abandon()
    assert failed.value.can_retry
    assert failed.value.outcome_unknown


def test_a_read_that_does_not_come_back_is_unavailable_for_it_changed_nothing(place):
    here = place()
    with pytest.raises(Unavailable) as failed:
        here.abandon(mutates=False)
    assert not failed.value.outcome_unknown


def test_one_call_that_hangs_makes_no_dead_provider(place):
    here = place()
    with pytest.raises(OutcomeUnknown):
        here.abandon()
    assert here.read() == "Double"


def test_a_connection_serves_one_call_at_a_time_and_the_next_when_it_is_done(place, aside):
    here, drivers, both = place(), [], threading.Barrier(2)

    def meet(driver: Driver) -> None:
        drivers.append(driver)
        both.wait(60)

    for call in [aside(lambda: here.lane.call("meet", meet, seconds=60, mutates=False)) for _ in range(2)]:
        call.result(10)
    assert len(set(map(id, drivers))) == len(here.opened) == 2
    for _ in range(3):
        assert here.read() == "Double"
    assert len(here.opened) == 2
    assert not any(driver.closed for driver in here.opened)


def test_the_connection_of_a_hung_call_is_closed_when_the_call_has_ended_and_no_other_before(place, aside):
    here = place()
    other = threading.Event()
    slow = aside(lambda: here.lane.call("slow", lambda _driver: other.wait(60), seconds=60, mutates=False))
    wait_until(lambda: len(here.opened) == 1, "the first call")
    with pytest.raises(OutcomeUnknown):
        here.abandon()
    assert here.read() == "Double"
    under_slow, hung, *_rest = here.opened
    assert not hung.closed, "it was closed under a running call"
    here.release.set()
    wait_until(lambda: hung.closed, "its connection to be closed")
    other.set()
    assert slow.result(10) is True
    assert not under_slow.closed


def test_a_connection_that_ended_while_nobody_used_it_costs_no_call(place):
    here = place()
    assert here.read() == "Double"
    here.opened[0].ended = True
    assert here.read() == "Double"
    assert len(here.opened) == 2
    wait_until(lambda: here.opened[0].closed, "the rest of it to be closed")


# -- the bulkhead


def test_calls_beyond_the_places_are_refused_and_other_providers_do_not_notice(place, aside):
    here, there = place(), place()
    held = [aside(lambda: here.lane.call("hold", here.hang, seconds=60, mutates=True)) for _ in range(2)]
    wait_until(lambda: here.lane._places._value == 0, "both places to be taken")
    with pytest.raises(Busy) as refused:
        here.read()
    assert refused.value.can_retry
    assert not here.double.calls("about"), "the refused call was made all the same"
    assert there.read() == "Double"
    here.release.set()
    assert [call.result(10) for call in held] == ["late", "late"]
    assert here.read() == "Double"


def test_a_place_comes_back_from_every_kind_of_end(place):
    here = place(stuck_at_most=100)
    for _ in range(5):
        with pytest.raises(OutcomeUnknown):
            here.abandon()
        with pytest.raises(ZeroDivisionError):
            here.lane.call("bug", lambda _driver: 1 // 0, seconds=30, mutates=True)
    here.release.set()
    assert here.read() == "Double"
    wait_until(lambda: here.lane._stuck == 0, "the stuck threads to end")
    assert here.lane._places._value == LIMITS.at_once


# -- the breaker


def test_a_hung_provider_is_refused_at_once_until_it_answers_again(place, clock):
    here = place(stuck_at_most=100, probe_seconds=SOON)
    here.double.fail("*", Fault.HANG, times=-1)
    with pytest.raises(Unavailable):
        here.lane.call("about", lambda driver: driver.about(), seconds=0.05, mutates=False)
    asked = len(here.double.calls())
    for _ in range(3):
        with pytest.raises(Unavailable):
            here.read()
    assert len(here.double.calls()) == asked, "a provider taken for dead was asked"
    clock.ahead += NEVER
    with pytest.raises(Unavailable):
        here.read()
    assert len(here.double.calls()) == asked + 1, "one proof of life, and no call without it"
    here.double.heal()
    here.lane.limits = replace(LIMITS, stuck_at_most=100)
    clock.ahead += NEVER
    assert here.read() == "Double"
    assert here.read() == "Double"


def test_one_caller_alone_looks_whether_a_dead_provider_is_back(place, clock, aside):
    here = place(probe_seconds=60)
    here.lane._take_for_dead("the test says so")
    clock.ahead += NEVER
    here.double.fail("about", Fault.HANG)
    looking = aside(here.read)
    wait_until(lambda: len(here.double.calls("about")) == 1, "the proof of life")
    for _ in range(3):
        with pytest.raises(Unavailable):
            here.read()
    here.double.heal()
    assert looking.result(10) == "Double"
    assert len(here.double.calls("about")) == 2


def test_a_provider_that_broke_a_connection_and_answers_on_another_is_not_refused(place):
    here = place()
    assert here.read() == "Double"
    here.double.fail("about", Fault.GONE)
    with pytest.raises(Unavailable):
        here.read()
    assert here.read() == "Double"
    assert len(here.opened) == 2


def test_a_provider_that_cannot_be_reached_is_found_again(place, clock):
    here = place()
    here.refuse_to_open = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            here.read()
    here.refuse_to_open = False
    clock.ahead += NEVER
    assert here.read() == "Double"


class Slow(Counted):
    """One whose log-in, which the first call pays for, lasts until it is let in."""

    def __init__(self, place: Place) -> None:
        super().__init__(Connection("double", place.double.address, uuid4(), uuid4()))
        self._place = place
        self._is_in = False

    def about(self) -> About:
        if not self._is_in:
            self._place.hang(self)
            self._is_in = True
        return super().about()


def test_a_proof_of_life_that_comes_late_is_one_and_its_connection_is_used(place, clock):
    here = place(probe_seconds=SOON)
    here.lane = Lane("slow", lambda: here.opened.append(Slow(here)) or here.opened[-1], limits=here.limits)
    here.lane._take_for_dead("the test says so")
    clock.ahead += NEVER
    with pytest.raises(Unavailable):
        here.read()
    assert here.lane._stuck == 1
    here.release.set()
    wait_until(lambda: here.lane._stuck == 0, "the late look")
    wait_until(lambda: not here.lane._dead_until, "the provider to be alive")
    assert here.read() == "Double"
    assert len(here.opened) == 1, "who logged in slowly was made to do it again"


def test_a_look_that_is_given_up_believes_an_earlier_one_that_came_back_meanwhile(place, clock, aside):
    here = place(probe_seconds=0.3)
    here.lane = Lane("slow", lambda: here.opened.append(Slow(here)) or here.opened[-1], limits=here.limits)
    here.lane._take_for_dead("the test says so")
    clock.ahead += NEVER
    with pytest.raises(Unavailable):
        here.read()
    clock.ahead += NEVER
    second = aside(here.read)
    wait_until(lambda: len(here.opened) == 2, "the second look")
    here.release.set()
    assert second.result(10) == "Double"


def test_stuck_threads_do_not_pile_up(place, clock):
    here = place(full_cooldown_seconds=10 * NEVER)
    for _ in range(LIMITS.stuck_at_most):
        with pytest.raises(OutcomeUnknown):
            here.abandon()
    for _ in range(5):
        with pytest.raises(Unavailable):
            here.abandon(mutates=False)
    clock.ahead += NEVER
    with pytest.raises(Unavailable):
        here.read()
    assert here.lane._stuck == LIMITS.stuck_at_most
    here.release.set()
    wait_until(lambda: here.lane._stuck == 0, "the stuck threads to end")
    with pytest.raises(Unavailable):
        here.read()
    clock.ahead += NEVER  # the short cool-down, for the long one was for the threads that have ended
    assert here.read() == "Double"


# -- long calls


def test_a_long_call_that_makes_progress_is_not_abandoned(place, clock):
    here, pulse = place(), Pulse()

    def upload(_driver: Driver) -> str:
        for _ in range(5):
            clock.ahead += 40
            pulse.beat()
        return "whole"

    assert here.lane.call("upload", upload, seconds=60, mutates=True, pulse=pulse) == "whole"


def test_a_long_call_that_stands_still_is_abandoned_and_ends_when_it_moves_again(place):
    here, pulse, ended = place(), Pulse(), threading.Event()

    def upload(driver: Driver) -> None:
        try:
            here.hang(driver)
            pulse.beat()
        finally:
            ended.set()

    with pytest.raises(OutcomeUnknown):
        here.lane.call("upload", upload, seconds=0.05, mutates=True, pulse=pulse)
    here.release.set()
    assert ended.wait(10)
    with pytest.raises(OutcomeUnknown):
        pulse.beat()


def test_a_connection_that_nobody_uses_is_let_go_and_the_next_call_opens_another(place, clock, aside):
    one = place()
    two = threading.Barrier(2)
    for done in [aside(one.lane.call, "read", lambda _: two.wait(60), seconds=60, mutates=False) for _ in range(2)]:
        done.result(60)
    assert len(one.opened) == 2
    clock.ahead += LIMITS.idle_seconds - 30
    one.read()  # by one of them
    clock.ahead += 60
    one.lane.close_idle()
    wait_until(lambda: [driver.closed for driver in one.opened].count(True) == 1, "the unused one to be closed")
    one.read()
    assert len(one.opened) == 2
    clock.ahead += LIMITS.idle_seconds + 1
    one.lane.close_idle()
    wait_until(lambda: all(driver.closed for driver in one.opened), "the other to be closed")
    one.read()
    assert len(one.opened) == 3


def test_a_closed_lane_lets_its_connection_go(place):
    here = place()
    assert here.read() == "Double"
    here.lane.close()
    wait_until(lambda: here.opened[0].closed, "the connection to be closed")
