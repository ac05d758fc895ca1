"""What a database finds out about a row only when a transaction is committed, found out while its cause is still known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def at_once() -> Iterator[None]:
    """Rows that are written in the block must stand on rows that are there: ``IntegrityError`` now, not at the commit.

    PostgreSQL waits for whoever is deleting such a row just now. On SQLite there is one writer at a time.
    """
    with transaction.atomic():
        yield
        if connection.vendor == "postgresql":
            connection.check_constraints()
