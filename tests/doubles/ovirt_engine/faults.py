"""Faults on request: what goes wrong with a request, once or so many times, by a pattern of its verb and path."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

# What may go wrong: before the request has had its effect, or after it.
BEFORE = {
    "reset_before": "the connection is reset before anything happens",
    "500": "an HTML page of the server before the engine, status 500",
    "503": "the same with 503",
    "401": "the token is no longer good",
    "fault": "the engine's own refusal: status, reason, detail",
    "hang": "no answer for so many seconds (default 3600), and nothing happens",
    "storage_full": "every storage domain is full, for this request",
}
AFTER = {
    "reset_after": "it happens, and the answer is lost",
    "garbled": "it happens, and the answer is no XML",
    "truncated": "it happens, and the answer breaks off",
    "slow": "it happens, and the answer comes after so many seconds (default 1)",
    "restart": "it happens, the engine restarts and the answer is lost: running jobs become unknown, tokens are gone",
    "job_fails": "the making that this begins fails at its end, with a text",
    "removal_fails": "the removal that this begins fails at its end: a disk of it is there still, illegal",
    "locked": "the making that this begins takes so many seconds (default 3600)",
}


@dataclass
class Fault:
    """One order: ``pattern`` is searched for in ``"POST /vms"`` (the path below the API's)."""

    pattern: str
    fault: str
    times: int
    more: dict[str, Any] = field(default_factory=dict)


class Faults:
    """The orders that stand, in the order in which they came."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []
        self._lock = threading.Lock()

    def order(self, pattern: str, fault: str, times: int, more: dict[str, Any]) -> None:
        """Raises ``ValueError`` for a fault that there is not."""
        if fault not in BEFORE and fault not in AFTER:
            raise ValueError(f"no such fault: {fault}; there are {', '.join([*BEFORE, *AFTER])}")
        with self._lock:
            self._orders.append(Fault(pattern, fault, times, more))

    def heal(self) -> None:
        with self._lock:
            self._orders.clear()

    def take(self, line: str) -> Fault | None:
        """What is to go wrong with this request, if anything."""
        with self._lock:
            for order in self._orders:
                if re.search(order.pattern, line):
                    order.times -= 1
                    if order.times <= 0:
                        self._orders.remove(order)
                    return order
        return None

    def standing(self) -> list[str]:
        """What has been ordered and has not happened."""
        with self._lock:
            return [f"{one.pattern}: {one.fault}" for one in self._orders]


def page(status: int) -> bytes:
    """The HTML page of the web server before an engine that is down."""
    title = {500: "Internal Server Error", 503: "Service Unavailable"}[status]
    text = f'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>{status} {title}</title>\n</head><body>\n<h1>{title}</h1>\n<p>The server is temporarily unable to service your request.</p>\n</body></html>\n'
    return text.encode()
