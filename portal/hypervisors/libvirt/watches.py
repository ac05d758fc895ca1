"""libvirt's domain events as a stream of changes."""

from __future__ import annotations

import logging
import queue
from datetime import UTC, datetime
from typing import Any

import libvirt

from portal.hypervisors.base import Watch
from portal.hypervisors.errors import Unavailable
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.failures import calling
from portal.hypervisors.specs import Change

log = logging.getLogger(__name__)

# Beyond this many unread changes the reader is told to read everything instead.
MOST_UNREAD = 10_000

_LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutting_down",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}
_OTHERS = {
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT: "rebooted",
    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: "agent",
    libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON: "io_error",
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE: "metadata",
}


class LibvirtWatch(Watch):
    """Callbacks on libvirt's event thread fill a queue; the reader empties it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._queue: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self._ids: list[int] = []
        self._is_broken = False
        session.when_broken(lambda: self._queue.put(None))
        with calling("watch"):
            conn = session.libvirt()
            self._register(conn, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle)
            for event, what in _OTHERS.items():
                self._register(conn, event, self._named(what), is_optional=True)

    def next(self, *, timeout: float) -> list[Change]:
        first = self._take(timeout)
        if first is None:
            return []
        changes = [first]
        while (more := self._take(0.0)) is not None:
            changes.append(more)
        return changes if len(changes) <= MOST_UNREAD else [Change(external_id="", what="too_many")]

    def close(self) -> None:
        if self._is_broken:
            return
        for callback in self._ids:
            try:
                self._session.libvirt().domainEventDeregisterAny(callback)
            except (libvirt.libvirtError, Unavailable) as error:
                log.debug("closing a watch: %s", error)

    def _take(self, timeout: float) -> Change | None:
        if self._is_broken:
            raise Unavailable(detail="the stream of events broke")
        try:
            change = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except queue.Empty:
            return None
        if change is None:
            self._is_broken = True
            raise Unavailable(detail="the stream of events broke")
        return change

    # -- on libvirt's thread

    def _register(self, conn: Any, event: int, callback: Any, *, is_optional: bool = False) -> None:
        try:
            self._ids.append(conn.domainEventRegisterAny(None, event, callback, None))
        except libvirt.libvirtError as error:
            if not is_optional:
                raise
            log.debug("no events of kind %d: %s", event, error)

    def _lifecycle(self, _conn: Any, domain: Any, event: int, *_rest: Any) -> None:
        self._put(domain, _LIFECYCLE.get(event, "changed"))

    def _named(self, what: str) -> Any:
        return lambda _conn, domain, *_rest: self._put(domain, what)

    def _put(self, domain: Any, what: str) -> None:
        if self._queue.qsize() <= MOST_UNREAD:
            self._queue.put(Change(external_id=domain.UUIDString(), what=what, at=datetime.now(UTC)))
