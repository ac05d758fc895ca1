"""What every call to the double has: a line in its log, the fault that is armed for it, and the marks of a portal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import (
    Busy,
    Denied,
    HypervisorError,
    Invalid,
    NoCapacity,
    OutcomeUnknown,
    Unavailable,
)
from portal.hypervisors.specs import (
    Connection,
    Marker,
)
from tests.doubles.hypervisor_state import Fault, Store, drop

Body = dict[str, Any]

ERRORS: dict[Fault, type[HypervisorError]] = {
    Fault.FULL: NoCapacity,
    Fault.BUSY: Busy,
    Fault.GONE: Unavailable,
    Fault.REFUSED: Denied,
    Fault.INVALID: Invalid,
    Fault.LOST_BEFORE: OutcomeUnknown,
}


class DoubleCalls(Driver):
    """The ground of the double's parts."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.store = Store(Path(connection.address.removeprefix("double://")))

    @contextmanager
    def call(self, method: str, key: object = "", *, kind: str = "") -> Iterator[None]:
        """One call: logged, and made to suffer the next fault armed for it."""
        call_id = self.store.log(method, str(key))
        outcome = "ok"
        try:
            after = self._suffer(method)
            yield
            if after is Fault.VANISH:
                self._lose(kind, str(key))
            if after is Fault.LOST:
                raise OutcomeUnknown(detail=f"double: the answer of {method} is lost")
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self.store.end(call_id, outcome)

    def _suffer(self, method: str) -> Fault | None:
        armed = self.store.take_fault(method)
        if armed is None:
            return None
        fault_id, fault, seconds = armed
        if fault in ERRORS:
            raise ERRORS[fault](detail=f"double: {fault}")
        if fault is Fault.SLOW:
            time.sleep(seconds)
        while fault is Fault.HANG and self.store.fault_exists(fault_id):
            time.sleep(0.02)
        return fault

    def _lose(self, kind: str, key: str) -> None:
        with self.store.change() as db:
            drop(db, kind, key)

    def _mark(self, uid: UUID) -> Body:
        return {"portal_id": str(self.connection.portal_id), "uid": str(uid)}

    def _is_ours(self, body: Body) -> bool:
        return bool(body["marker"]) and body["marker"]["portal_id"] == str(self.connection.portal_id)

    def _is(self, body: Body, uid: UUID) -> bool:
        return bool(body["marker"] == self._mark(uid))

    def _prefix(self) -> str:
        return f"stegi-{self.connection.portal_id.hex[:8]}"

    def _name(self, uid: UUID, suffix: str) -> str:
        return f"{self._prefix()}-{uid}.{suffix}"


def marker_of(body: Body | None) -> Marker | None:
    return Marker(portal_id=UUID(body["portal_id"]), uid=UUID(body["uid"])) if body else None
