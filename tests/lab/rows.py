"""All rows of the test database as they are: read, put back, and swept away after a test that committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection, transaction
from django.test import TransactionTestCase

from tests.lab.audit import opened

Rows = list[tuple[Any, ...]]
_first: Final[dict[str, Rows]] = {}  # what migrations left in the tables, for this process' one database


def contents() -> dict[str, Rows]:
    """Every table's rows, in no order; those that are empty, which are nearly all, are told by one query."""
    filled = counts()
    with connection.cursor() as cursor:
        return {table: _all(cursor, table) if rows else [] for table, rows in filled.items()}


def counts() -> dict[str, int]:
    """How many rows each table has, in one query."""
    each = " UNION ALL ".join(f"SELECT '{table}', COUNT(*) FROM {_quoted(table)}" for table in _tables())
    with connection.cursor() as cursor:
        cursor.execute(each)
        return {str(table): int(found) for table, found in cursor.fetchall()}


def put(rows: Mapping[str, Rows]) -> None:
    """Makes these tables hold these rows, all columns given; whatever they refer to may come in any order."""
    with transaction.atomic(), opened(), connection.cursor() as cursor:
        for table in rows:
            cursor.execute(f"DELETE FROM {_quoted(table)}")
        add(rows)


def add(rows: Mapping[str, Rows]) -> None:
    """Gives these tables these rows more, all columns given; whatever they refer to may come in any order."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table, found in rows.items():
            if found:
                one = f"({', '.join(['%s'] * len(found[0]))})"
                statement = f"INSERT INTO {_quoted(table)} VALUES {', '.join([one] * len(found))}"
                cursor.execute(statement, [value for row in found for value in row])


def begin_with_what_is_there() -> None:
    """From now on the end of a test that commits brings the tables back to what they hold now.

    Django's own way truncates every table and makes all content types and permissions anew, with other keys.
    """
    _first.update({table: rows for table, rows in contents().items() if rows})
    TransactionTestCase._fixture_teardown = sweep  # type: ignore[attr-defined]


def sweep(_case: TransactionTestCase | None = None) -> None:
    """Brings the tables back, keys and all: what is kept in memory by a key (content types) stays true."""
    now = {table for table, found in counts().items() if found}
    changed = [table for table in sorted(now | set(_first)) if _is_changed(table)]
    if not changed:
        return
    with _no_references():
        put({table: _first.get(table, []) for table in changed})


def _is_changed(table: str) -> bool:
    if table not in _first:
        return True
    with connection.cursor() as cursor:
        return sorted(map(repr, _all(cursor, table))) != sorted(map(repr, _first[table]))


@contextmanager
def _no_references() -> Iterator[None]:
    """Nothing cascades, and rows go in any order: they all go."""
    if connection.vendor != "postgresql":
        with connection.constraint_checks_disabled(), transaction.atomic():
            yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield


def _all(cursor: Any, table: str) -> Rows:
    cursor.execute(f"SELECT * FROM {_quoted(table)}")
    return [tuple(row) for row in cursor.fetchall()]


def _quoted(table: str) -> str:
    return connection.ops.quote_name(table)


def _tables() -> Sequence[str]:
    return sorted(connection.introspection.django_table_names(only_existing=False, include_views=False))
