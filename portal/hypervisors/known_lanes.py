"""The lanes that a process has to its providers, and their tidying."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from uuid import UUID

from portal.hypervisors.lanes import Lane
from portal.hypervisors.specs import Connection

TIDY_SECONDS = 60.0  # between looks for connections that nobody uses any more


@dataclass(frozen=True, slots=True)
class KnownLane:
    """A lane, and what it was made from; another fingerprint, another lane."""

    fingerprint: tuple[str, ...]
    connection: Connection
    lane: Lane


class KnownLanes:
    """The lanes of one process; whoever looks at them holds the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[UUID, KnownLane] = {}
        self._timer: threading.Timer | None = None

    def tidy_later(self) -> None:
        """Now and then, for as long as there are any.

        A provider is disabled, removed or given another key by one process: the others may never ask for it again.
        """
        if self._timer is None and self.known:
            self._timer = threading.Timer(TIDY_SECONDS, self._tidy)
            self._timer.daemon = True
            self._timer.start()

    def _tidy(self) -> None:
        with self.lock:
            self._timer = None
            lanes = [known.lane for known in self.known.values()]
            self.tidy_later()
        for lane in lanes:
            lane.close_idle()
