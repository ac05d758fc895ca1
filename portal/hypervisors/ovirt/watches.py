"""An engine's events as a stream of changes: asked for what is new, about once a second, in one request.

Events are counted, but one that was written by a longer transaction may appear after others that count higher. So each
look goes back to where the events ended some seconds before, and what was told already is left out.
"""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

from portal.hypervisors.base import Watch
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.specs import Change

EVERY_SECONDS = 1.0
LATE_SECONDS = 10.0
MOST_AT_ONCE = 1000
# Reading everything is dear: what happens to hosts, storage and networks asks for it no more often than this.
EVERYTHING_SECONDS = 10.0

# A log-in and a log-out, ours among them; nothing changed.
_IDLE = {30, 31, 114}


class OvirtWatch(Watch):
    """Begins with what comes after now. ``every``: the seconds between two looks."""

    def __init__(self, session: Session, *, every: float = EVERY_SECONDS) -> None:
        self._session = session
        self._every = every
        self._closed = False
        with calling("watch"):
            newest = newest_index(session.system())
        self._seen: set[int] = set()
        self._ends = deque([(time.monotonic(), newest)])  # where the events ended, and when that was seen
        self._next_look = 0.0
        self._everything_at = -EVERYTHING_SECONDS
        self._owes_everything = False

    def next(self, *, timeout: float) -> list[Change]:
        until = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            if now < self._next_look:
                time.sleep(max(0.0, min(self._next_look, until) - now))
            if time.monotonic() >= self._next_look:
                changes = self._look()
                if changes:
                    return changes
            if time.monotonic() >= until:
                return []

    def close(self) -> None:
        self._closed = True

    def _look(self) -> list[Change]:
        if self._closed:
            raise Unavailable(detail="the watch was closed")
        self._next_look = time.monotonic() + self._every
        try:
            with calling("read events"):
                events = self._session.system().events_service().list(from_=self._begin(), max=MOST_AT_ONCE)
        except Unavailable:
            self._closed = True
            raise
        except HypervisorError as error:
            self._closed = True
            raise Unavailable(error.public, detail=error.detail) from error
        return self._changes(events)

    def _begin(self) -> int:
        """Where the events ended some seconds ago; what was told and lies before that is forgotten."""
        late = time.monotonic() - LATE_SECONDS
        while len(self._ends) > 1 and self._ends[1][0] <= late:
            self._ends.popleft()
        begin = self._ends[0][1]
        self._seen = {index for index in self._seen if index > begin}
        return begin

    def _changes(self, events: Any) -> list[Change]:
        fresh = sorted((event for event in events if index_of(event) not in self._seen), key=index_of)
        if fresh:
            self._seen |= {index_of(event) for event in fresh}
            self._ends.append((time.monotonic(), max(self._ends[-1][1], index_of(fresh[-1]))))
        if len(events) >= MOST_AT_ONCE:
            self._ends = deque([self._ends[-1]])  # what is late is read with everything
            self._owes_everything, self._everything_at = False, time.monotonic()
            return [Change("", "too_many")]
        found = {}
        for event in fresh:
            if event.vm is not None and event.vm.id:
                found[str(event.vm.id)] = Change(str(event.vm.id), f"event {event.code}", _moment(event))
            elif event.code not in _IDLE:
                self._owes_everything = True
        return list(found.values()) + self._everything()

    def _everything(self) -> list[Change]:
        now = time.monotonic()
        if not self._owes_everything or now < self._everything_at + EVERYTHING_SECONDS:
            return []
        self._owes_everything, self._everything_at = False, now
        return [Change("", "changed")]


def newest_index(system: Any) -> int:
    """How far the engine's events go by now; within ``calling``."""
    events = system.events_service().list(max=1)  # the newest first, by itself
    return max(map(index_of, events), default=0)


def index_of(event: Any) -> int:
    """An event's place in the order; its id, where an engine does not tell it apart."""
    if event.index is not None:
        return int(event.index)
    return int(event.id) if str(event.id or "").isdigit() else 0


def _moment(event: Any) -> datetime | None:
    """When it happened; the SDK's time zones do not leave this folder."""
    return event.time.astimezone(UTC) if event.time is not None and event.time.tzinfo else None
