"""Queries whose SQL Django writes once for a process: those that are asked with every request.

To write a query's text takes Django several times what the database needs to answer it. Only the text is kept, never an
answer. What differs from one time to the next stands in it as a ``Slot``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Expression, Field, QuerySet
from django.db.models.expressions import RawSQL

MOST = 512  # texts that one builder keeps


class Slot(Expression):
    """The place of a value that is given when the query is asked; ``output_field`` says of what kind it is."""

    def __init__(self, name: str, output_field: Field[Any, Any]) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, *_compiler: Any) -> tuple[str, Any]:
        """Itself among the parameters, which are as many and in the same order whatever fills it."""
        return "%s", [self]


class Compiled:
    """A query's text with its parameters, some of them slots, which ``rows`` and ``subquery`` fill by their names."""

    def __init__(self, rows: QuerySet[Any, Any]) -> None:
        compiler = rows.query.get_compiler(DEFAULT_DB_ALIAS)
        self.sql, self.params = compiler.as_sql()
        self._columns = [column for column, *_named in compiler.select]

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """What the database answers now."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self._filled(values))
            found: list[tuple[Any, ...]] = cursor.fetchall()
        for place, column in enumerate(self._columns):
            for convert in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection)):
                found = [(*row[:place], convert(row[place], column, connection), *row[place + 1 :]) for row in found]
        return found

    def subquery(self, **values: Any) -> RawSQL:
        """For ``filter(pk__in=...)``: it becomes a part of the other query."""
        return RawSQL(self.sql, self._filled(values))  # noqa: S611  # the text is Django's own

    def _filled(self, values: dict[str, Any]) -> list[Any]:
        return [
            each.output_field.get_db_prep_value(values[each.name], connection) if isinstance(each, Slot) else each
            for each in self.params
        ]


def compiled(build: Callable[..., QuerySet[Any, Any]]) -> Callable[..., Compiled]:
    """Decorator of what makes a query: its text is kept for each set of arguments, which stand in it for good."""

    @lru_cache(maxsize=MOST)
    def kept(*given: Hashable) -> Compiled:
        return Compiled(build(*given))

    return kept
