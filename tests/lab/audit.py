"""The one way to change or forget what the audit log holds, for tests of what is old, lost or another's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.models import QuerySet

from portal.events.models import Event


@contextmanager
def opened() -> Iterator[QuerySet[Event]]:
    """Its rows, which can be changed and deleted in the block. In a transaction nobody else can meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO events_opening (reason) VALUES ('a test')")
        yield QuerySet(Event)
        cursor.execute("DELETE FROM events_opening")
