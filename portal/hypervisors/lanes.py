"""A provider's own lane: few calls at once, each bounded and abandoned when it does not come back.

libvirt offers no time-out: a call on a stopped daemon or a hung QEMU blocks for ever and cannot be interrupted. So each
call runs on a daemon thread; when its time is over the caller leaves it there and goes on, the connection is replaced,
and the old one is closed when the last call on it has ended (closing it under a running call is not safe).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Busy, OutcomeUnknown, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one lane, in seconds where they are times."""

    at_once: int = 4
    queue_seconds: float = 5.0  # how long a call waits for a place before it is refused
    cooldown_seconds: float = 4.0  # how long a provider that did not answer is refused at once
    probe_seconds: float = 3.0  # how long the proof of life may take
    stuck_at_most: int = 16  # abandoned calls that have not ended, beyond which the long cool-down applies
    full_cooldown_seconds: float = 60.0


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
    """A driver with its connection, opened by the first call and closed after the last."""

    def __init__(self, open_driver: Callable[[], Driver]) -> None:
        self._open = open_driver
        self._opening = threading.Lock()
        self._counting = threading.Lock()
        self._driver: Driver | None = None
        self._users = 0
        self._discarded = False

    def enter(self) -> Driver:
        with self._counting:
            self._users += 1
        with self._opening:
            if self._driver is None:
                self._driver = self._open()
            return self._driver

    def leave(self) -> None:
        with self._counting:
            self._users -= 1
        self._close_if_last()

    def discard(self) -> None:
        with self._counting:
            self._discarded = True
        self._close_if_last()

    def _close_if_last(self) -> None:
        with self._counting:
            if not self._discarded or self._users or self._driver is None:
                return
            driver, self._driver = self._driver, None
        # A close may block like any other call, and nobody needs its end.
        threading.Thread(target=driver.close, name="hypervisor-close", daemon=True).start()


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
        self._open_driver = open_driver
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(limits.at_once)
        self._link = _Link(open_driver)
        self._stuck = 0
        self._dead_until = 0.0  # 0: taken for alive
        self._probing = False

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
        """Let the connection go, once the calls on it have ended."""
        self._link.discard()

    # -- one call

    def _bounded(self, what: str, work: Callable[[Driver], T], *, seconds: float, pulse: Pulse) -> T:
        link = self._link
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
            self._replace(link)
            self._doubt(f"{what}: {error.detail}")
            raise

    def _start(self, what: str, work: Callable[[Driver], T], *, link: _Link, running: _Running) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = work(link.enter())
            except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
                running.end()
                future.set_exception(error)
            else:
                running.end()
                future.set_result(result)
            finally:
                link.leave()

        threading.Thread(target=run, name=f"hypervisor-{self.name}-{what}", daemon=True).start()
        return future

    def _abandon(self, what: str, *, running: _Running, link: _Link, pulse: Pulse) -> NoReturn:
        pulse.abandoned = True
        running.abandon(self._count_stuck)
        self._replace(link)
        self._doubt(f"{what} did not come back")
        raise OutcomeUnknown(detail=f"{self.name}: {what} did not come back in time and was abandoned")

    def _replace(self, link: _Link) -> None:
        with self._lock:
            if self._link is link:
                self._link = _Link(self._open_driver)
        link.discard()

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
        """Whether the provider tells its version within a short while, on the present connection."""
        link = self._link
        running = _Running(None)
        future = self._start("probe", lambda driver: driver.about(), link=link, running=running)
        wait([future], timeout=self.limits.probe_seconds)
        if not future.done():
            running.abandon(self._count_stuck)
            self._replace(link)
            return False
        if isinstance(future.exception(), Unavailable):
            self._replace(link)
            return False
        return True

    def _count_stuck(self, change: int) -> None:
        with self._lock:
            self._stuck += change
