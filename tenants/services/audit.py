"""The hallway of the audit log: what of it is asked for, and taking that away as a file.

A file is written a page of rows at a time, whatever its length, and rights are asked anew for each page. Who looks at rows
in a spreadsheet runs what begins like a formula: such cells get an apostrophe before them (CSV injection).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from io import StringIO
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import get_language, override

from portal.common.actor import Actor
from portal.common.phrases import said
from portal.events.codes import Outcome, code_for
from portal.events.models import Event
from portal.events.record import Subject, attempt
from tenants import policy, selectors
from tenants.permits import Permit

PAGE = 500
# Where a spreadsheet may begin a cell: it splits at its language's separator (";" in Greek), whatever the quotes say.
FORMULA = re.compile(r"(^|[;\t\r\n])(?=[\s\"]*[=+\-@\t\r])")
COLUMNS = (
    "at",
    "code",
    "severity",
    "outcome",
    "actor",
    "client_address",
    "door",
    "object_kind",
    "object_id",
    "object_name",
    "data_center",
    "job",
    "request_id",
    "message",
    "details",
    "id",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the log; empty fields ask for nothing. ``since`` is within, ``until`` is not."""

    query: str = ""  # a part of an actor's or object's name, or of a code
    verb: str = ""
    outcome: str = ""
    actor: UUID | None = None
    object: UUID | None = None
    data_center: UUID | None = None
    job: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def of(self, rows: QuerySet[Event]) -> QuerySet[Event]:
        """These rows, as far as they are asked for."""
        if self.query:
            named = Q(object_name__icontains=self.query) | Q(actor_name__icontains=self.query)
            rows = rows.filter(named | Q(code__icontains=self.query))
        if self.verb:
            rows = rows.filter(code__in={code_for(self.verb, outcome) for outcome in Outcome})
        exact = {
            "outcome": self.outcome,
            "actor_uid": self.actor,
            "object_uid": self.object,
            "data_center_uid": self.data_center,
            "correlation_id": self.job,
            "at__gte": self.since,
            "at__lt": self.until,
        }
        return rows.filter(**{name: value for name, value in exact.items() if value})

    def as_data(self) -> dict[str, str]:
        """What was asked for, for the log."""
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in asked.items() if value}


def export(actor: Actor, wanted: Wanted, *, is_csv: bool) -> Callable[[], Iterator[bytes]]:
    """The pieces of a file of the events that the actor may read, the newest first: CSV, or JSON lines.

    That somebody took it is in the log, and is not in the file: what happened since he asked comes with the next one.
    """
    asked_at = timezone.now()
    with attempt(actor, "EVENTS_EXPORT", Subject("events", None)) as trial:
        trial.data = {"format": "csv" if is_csv else "jsonl"} | wanted.as_data()
    language = get_language()

    def pieces() -> Iterator[bytes]:
        if is_csv:
            yield _csv_lines([list(COLUMNS)])
        last: Event | None = None
        while True:
            with override(language):
                rows, piece = _page(actor, wanted, asked_at, last, is_csv=is_csv)
            if rows:
                yield piece
            if len(rows) < PAGE:
                return
            last = rows[-1]

    return pieces


async def one_by_one(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The same for a server that is asynchronous, which would first gather all of them otherwise."""
    while (piece := await sync_to_async(_next)(pieces)) is not None:
        yield piece


def _page(
    actor: Actor, wanted: Wanted, before: datetime, last: Event | None, *, is_csv: bool
) -> tuple[list[Event], bytes]:
    rows = wanted.of(selectors.events(actor)).filter(at__lt=before)
    if last is not None:
        rows = rows.filter(Q(at__lt=last.at) | Q(at=last.at, uid__lt=last.pk), at__lte=last.at)
    found = list(rows[:PAGE])
    shows_addresses = policy.holds_everywhere(actor, Permit.EVENT_VIEW)
    told = [_row(event, shows_addresses=shows_addresses) for event in found]
    if not is_csv:
        return found, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in told).encode()
    return found, _csv_lines([[_cell(row[name]) for name in COLUMNS] for row in told])


def _row(event: Event, *, shows_addresses: bool) -> dict[str, Any]:
    """By column; addresses as on the page, for those alone who read everything."""
    return {
        "at": event.at.isoformat(),
        "code": event.code,
        "severity": event.severity,
        "outcome": event.outcome,
        "actor": event.actor_name,
        "client_address": event.client_address if shows_addresses else "",
        "door": event.door,
        "object_kind": event.object_kind,
        "object_id": _text(event.object_uid),
        "object_name": event.object_name,
        "data_center": _text(event.data_center_uid),
        "job": _text(event.correlation_id),
        "request_id": event.request_id,
        "message": said(event.message),
        "details": event.data,
        "id": str(event.pk),
    }


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value else ""
    return FORMULA.sub(r"\1'", text)


def _csv_lines(rows: list[list[str]]) -> bytes:
    out = StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _text(uid: UUID | None) -> str:
    return str(uid) if uid else ""


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
