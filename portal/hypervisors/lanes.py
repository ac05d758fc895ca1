"""A provider's own lane: few calls at once, each bounded and abandoned when it does not come back.

libvirt offers no time-out: a call on a stopped daemon or a hung QEMU blocks for ever and cannot be interrupted. So each
call runs on a daemon thread; when its time is over the caller leaves it there and goes on, and the connection is closed
when the call has ended (closing it under a running call is not safe).

A connection serves one call at a time. When keepalive gives up one that two calls of libvirt's client (9.0) wait on, the
second waits on, reads memory that was given back, and takes the whole process with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from portal.hypervisors.base import Driver, Watch
from portal.hypervisors.errors import Busy, OutcomeUnknown, Unavailable
from portal.hypervisors.specs import About, Change

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one lane, in seconds where they are times."""

    at_once: int = 4
    queue_seconds: float = 5.0  # how long a call waits for a place before it is refused
    cooldown_seconds: float = 4.0  # how long a provider that did not answer is refused at once
    probe_seconds: float = 3.0  # how long the proof of life may take: its driver's ``proof_seconds``
    stuck_at_most: int = 16  # abandoned calls that have not ended, beyond which the long cool-down applies
    full_cooldown_seconds: float = 60.0
    idle_seconds: float = 300.0  # after which a connection that no call was on is let go


class Pulse:
    """Tells that a long call still makes progress; its time-out counts from the last beat."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.abandoned = False

    def beat(self) -> None:
        """Progress was made. Raises ``OutcomeUnknown`` in a call that nobody waits for any more."""
        if self.abandoned:
            raise OutcomeUnknown(detail="abandoned by its caller")
        self.last = time.monotonic()


class _Link:
    """A driver with its connection: opened by its first call, used by one call at a time."""

    def __init__(self, open_driver: Callable[[], Driver], generation: int) -> None:
        self._open = open_driver
        self._driver: Driver | None = None
        self.generation = generation
        self.spoiled = False  # its call was abandoned
        self.idle_since = 0.0

    def driver(self) -> Driver:
        """The driver; its caller has the link for itself."""
        if self._driver is None:
            self._driver = self._open()
        return self._driver

    @property
    def is_usable(self) -> bool:
        """Whether another call may be made on it."""
        return not self.spoiled and (self._driver is None or not self._driver.is_broken)

    def close(self) -> None:
        """Let it go, once no call is on it any more."""
        driver, self._driver = self._driver, None
        if driver is not None:
            close_aside(driver.close)


class _Links:
    """The connections of a lane that no call is on, the latest used on top."""

    def __init__(self, open_driver: Callable[[], Driver]) -> None:
        self._open = open_driver
        self._lock = threading.Lock()
        self._generation = 0
        self.idle: list[_Link] = []

    def take(self) -> _Link:
        """One for a call, to be given back at its end: an idle one, or another."""
        with self._lock:
            broken = [link for link in self.idle if not link.is_usable]
            self.idle = [link for link in self.idle if link.is_usable]
            link = self.idle.pop() if self.idle else _Link(self._open, self._generation)
        for each in broken:
            each.close()
        return link

    def give_back(self, link: _Link) -> None:
        """Its call has ended."""
        with self._lock:
            is_kept = link.is_usable and link.generation == self._generation
            link.idle_since = time.monotonic()
            if is_kept:
                self.idle.append(link)
        if not is_kept:
            link.close()

    def close_idle(self, seconds: float) -> None:
        """Close those that no call was on for so long."""
        until = time.monotonic() - seconds
        with self._lock:
            old = [link for link in self.idle if link.idle_since < until]
            self.idle = [link for link in self.idle if link.idle_since >= until]
        for link in old:
            link.close()

    def drop(self, *, but: _Link | None = None) -> None:
        """Close those that are idle now, and each other at the end of its call; ``but``: one that may stay."""
        with self._lock:
            dropped, self.idle = self.idle, []
            self._generation += 1
            if but is not None:
                but.generation = self._generation
        for link in dropped:
            link.close()


def close_aside(*closing: Callable[[], None]) -> None:
    """Close these, one after the other: a close may block like any other call, and nobody needs its end."""
    threading.Thread(target=lambda: [close() for close in closing], name="hypervisor-close", daemon=True).start()


class BoundedWatch(Watch):
    """A stream of changes with a connection of its own: it ends with no call but its own, and bounds its waiting itself."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._watch = driver.watch()

    def next(self, *, timeout: float) -> list[Change]:
        return self._watch.next(timeout=timeout)

    def close(self) -> None:
        close_aside(self._watch.close, self._driver.close)


class _Running:
    """One call's place: given back once, by its end or by being abandoned, whichever comes first."""

    def __init__(self, places: threading.BoundedSemaphore | None) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._over = False
        self._count_stuck: Callable[[int], None] | None = None

    def end(self) -> None:
        """The thread is done."""
        with self._lock:
            if self._count_stuck:
                self._count_stuck(-1)
            self._give_back()

    def abandon(self, count_stuck: Callable[[int], None]) -> None:
        """Nobody waits any more; the thread counts as stuck until it ends."""
        with self._lock:
            if not self._over:
                self._count_stuck = count_stuck
                count_stuck(+1)
                self._give_back()

    def _give_back(self) -> None:
        if not self._over and self._places:
            self._places.release()
        self._over = True


class Lane:
    """All calls of this process to one provider."""

    def __init__(self, name: str, open_driver: Callable[[], Driver], *, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.open_driver = open_driver
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(limits.at_once)
        self._links = _Links(open_driver)
        self._stuck = 0
        self._dead_until = 0.0  # 0: taken for alive
        self._probing = False
        self._proved_at = 0.0

    def call(
        self, what: str, work: Callable[[Driver], T], *, seconds: float, mutates: bool, pulse: Pulse | None = None
    ) -> T:
        """Run ``work`` on the lane.

        Raises ``Busy`` when no place came free, ``Unavailable`` at once while the provider is taken for dead, and for a
        call that does not end in time ``OutcomeUnknown`` when it changes something, else ``Unavailable``.
        """
        self._admit()
        if not self._places.acquire(timeout=self.limits.queue_seconds):
            raise Busy(detail=f"{self.name}: no place for {what} among {self.limits.at_once}")
        try:
            result = self._bounded(what, work, seconds=seconds, pulse=pulse or Pulse())
        except OutcomeUnknown as error:
            if mutates:
                raise
            raise Unavailable(error.public, detail=error.detail) from error
        return result

    def close(self) -> None:
        """Let the connections go, once the calls on them have ended."""
        self._links.drop()

    def close_idle(self) -> None:
        """Let those connections go that were not used for long: whoever is reached may have been given up elsewhere."""
        self._links.close_idle(self.limits.idle_seconds)

    # -- one call

    def _bounded(self, what: str, work: Callable[[Driver], T], *, seconds: float, pulse: Pulse) -> T:
        link = self._links.take()
        running = _Running(self._places)
        future = self._start(what, work, link=link, running=running)
        while not future.done():
            left = pulse.last + seconds - time.monotonic()
            if left <= 0:
                self._abandon(what, running=running, link=link, pulse=pulse)
            wait([future], timeout=left)
        try:
            return future.result()
        except Unavailable as error:
            self._links.drop()  # what broke one broke them all
            self._doubt(f"{what}: {error.detail}")
            raise

    def _start(self, what: str, work: Callable[[Driver], T], *, link: _Link, running: _Running) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = work(link.driver())
            except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
                self._end(link, running)
                future.set_exception(error)
            else:
                self._end(link, running)
                future.set_result(result)

        threading.Thread(target=run, name=f"hypervisor-{self.name}-{what}", daemon=True).start()
        return future

    def _end(self, link: _Link, running: _Running) -> None:
        """The thread is done: with its place, and with its connection."""
        self._links.give_back(link)
        running.end()

    def _abandon(self, what: str, *, running: _Running, link: _Link, pulse: Pulse) -> NoReturn:
        pulse.abandoned = link.spoiled = True
        running.abandon(self._count_stuck)
        self._doubt(f"{what} did not come back")
        raise OutcomeUnknown(detail=f"{self.name}: {what} did not come back in time and was abandoned")

    # -- the circuit breaker

    def _admit(self) -> None:
        """Let a call pass; while the provider is taken for dead only one caller at a time looks whether it is back."""
        with self._lock:
            if self._stuck >= self.limits.stuck_at_most and not self._dead_until:
                self._dead_until = time.monotonic() + self._cooldown()
            if not self._dead_until:
                return
            if self._probing or time.monotonic() < self._dead_until:
                raise Unavailable(detail=f"{self.name}: did not answer a moment ago")
            self._probing = True
        alive = False
        try:
            alive = self._alive()
        finally:
            with self._lock:
                self._probing = False
                self._dead_until = 0.0 if alive else time.monotonic() + self._cooldown()
        if not alive:
            raise Unavailable(detail=f"{self.name}: still does not answer")

    def _doubt(self, why: str) -> None:
        """One hung machine or one broken connection is no dead provider: ask it something easy before it is refused."""
        if not self._alive():
            self._take_for_dead(why)

    def _take_for_dead(self, why: str) -> None:
        log.warning("provider %s is taken for dead for %.0f s: %s", self.name, self._cooldown(), why)
        with self._lock:
            self._dead_until = time.monotonic() + self._cooldown()

    def _cooldown(self) -> float:
        """Much longer once many abandoned calls have not ended, so that their threads do not pile up."""
        full = self._stuck >= self.limits.stuck_at_most
        return self.limits.full_cooldown_seconds if full else self.limits.cooldown_seconds

    def _alive(self) -> bool:
        """Whether the provider tells its version within a short while, to this look or to an earlier one that was given up.

        One that is late keeps its connection, and is as good a proof when it comes back: else a provider whose log-in takes
        longer would be asked to begin anew for ever.
        """
        began, link, running = time.monotonic(), self._links.take(), _Running(None)
        future = self._start("probe", lambda driver: driver.about(), link=link, running=running)
        future.add_done_callback(self._note_proof)
        wait([future], timeout=self.limits.probe_seconds)
        if not future.done():
            running.abandon(self._count_stuck)
        elif not isinstance(future.exception(), Unavailable):
            return True
        with self._lock:
            is_proved = self._proved_at > began
        if not is_proved:
            self._links.drop(but=link)
        return is_proved

    def _note_proof(self, probe: Future[About]) -> None:
        if not isinstance(probe.exception(), Unavailable):
            with self._lock:
                self._proved_at, self._dead_until = time.monotonic(), 0.0

    def _count_stuck(self, change: int) -> None:
        with self._lock:
            self._stuck += change
            if change < 0 and self._dead_until and self._stuck < self.limits.stuck_at_most:
                # Calls that were given up end after all, so it may be back: the long cool-down has lost its reason.
                self._dead_until = min(self._dead_until, time.monotonic() + self.limits.cooldown_seconds)
