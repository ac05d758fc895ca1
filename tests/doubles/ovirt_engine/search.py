"""The engine's search: ``name=web* and status=up sortby name asc page 2``.

As its ``SyntaxChecker`` reads it: conditions side by side are joined by *and*, which binds closer than *or*; there are no
brackets; a value in quotes has no quotes in it; ``'`` and ``;`` are refused; a page comes after the direction of a sort. A
field that it does not know it takes for free text and finds nothing, which here is a misuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from tests.doubles.ovirt_engine.asked import Refused
from tests.doubles.ovirt_engine.store import Record

PAGE = 100
TOKEN = re.compile(r'\s*(?:("[^"]*")|(!=|>=|<=|=|>|<)|([^\s"=!<>]+))')
FORBIDDEN = re.compile("[';]")
OPERATORS = ("=", "!=", ">", "<", ">=", "<=")
SEVERITIES = ("normal", "warning", "error", "alert")
Value = str | int | float | None
Values = Callable[[str, Record], Iterable[Value]]
Test = Callable[[Record], bool]


class Query:
    """A search, read. ``values(field, record)``: what a record has under a field's name; raises ``KeyError``."""

    def __init__(self, text: str, values: Values, *, case_sensitive: bool = True) -> None:
        self._values = values
        self._case = case_sensitive
        self.page: int | None = None
        self.order: tuple[str, bool] | None = None
        self._tokens = self._tail(_tokens(text))
        self._test: Test = self._or() if self._tokens else lambda _: True
        if self._tokens:
            raise _unclear(text)

    def __call__(self, records: Iterable[Record]) -> list[Record]:
        """The records that match, in the order asked for; pages are cut by the caller."""
        found = [record for record in records if self._test(record)]
        if self.order:
            field, down = self.order
            found.sort(key=lambda record: _sortable(next(iter(self._values(field, record)), None)), reverse=down)
        return found

    def _tail(self, tokens: list[str]) -> list[str]:
        """Take ``sortby field asc|desc`` and ``page N`` from the end."""
        lower = [token.lower() for token in tokens]
        if "page" in lower[-2:-1] and lower[-1].isdigit():
            self.page = int(lower[-1])
            return self._tail(tokens[:-2])
        if "sortby" not in lower:
            return tokens
        at = lower.index("sortby")
        field, direction = (*lower[at + 1 :], "", "")[:2]
        if not field or len(lower) > at + 3 or direction not in ("asc", "desc", *(("",) if self.page is None else ())):
            raise _unclear(" ".join(tokens[at:]))
        self.order = (field, direction == "desc")
        self._values(field, {})
        return tokens[:at]

    def _or(self) -> Test:
        left = self._and()
        while self._next("or"):
            left = _either(left, self._and())
        return left

    def _and(self) -> Test:
        left = self._one()
        while self._tokens and self._tokens[0].lower() != "or":
            self._next("and")
            left = _both(left, self._one())
        return left

    def _next(self, word: str) -> bool:
        if self._tokens and self._tokens[0].lower() == word:
            self._tokens.pop(0)
            return True
        return False

    def _one(self) -> Test:
        if not self._tokens:
            raise _unclear("the end")
        field = self._tokens.pop(0)
        if self._tokens and self._tokens[0] in OPERATORS:
            sign = self._tokens.pop(0)
            if not self._tokens:
                raise _unclear(field)
            return self._compare(field.lower(), sign, self._tokens.pop(0))
        text = field.strip('"')
        return self._compare("", "=", f"*{text}*")

    def _compare(self, field: str, sign: str, wanted: str) -> Test:
        text = wanted.strip('"')
        self._values(field, {})
        if sign in ("=", "!="):
            return lambda record: any(self._alike(one, text) for one in self._values(field, record)) == (sign == "=")
        return lambda record: any(_ordered(one, sign, text) for one in self._values(field, record))

    def _alike(self, value: Value, pattern: str) -> bool:
        have = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if not self._case:
            have, pattern = have.lower(), pattern.lower()
        if "*" not in pattern:
            return have == pattern
        return fnmatchcase(have, pattern.replace("[", "[[]").replace("?", "[?]"))


def _either(left: Test, right: Test) -> Test:
    return lambda record: left(record) or right(record)


def _both(left: Test, right: Test) -> Test:
    return lambda record: left(record) and right(record)


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.strip()
    if FORBIDDEN.search(text):
        raise _unclear(text)
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise _unclear(text)
        found.append(next(part for part in match.groups() if part is not None))
        at = match.end()
    return found


def _unclear(text: str) -> Refused:
    return Refused(400, f"[Query could not be parsed: {text}]")


def _sortable(value: Any) -> tuple[bool, float, str]:
    if isinstance(value, (int, float)):
        return (value is not None, float(value), "")
    return (value is not None, 0.0, str(value or ""))


def _ordered(value: Value, sign: str, text: str) -> bool:
    left, right = _comparable(value), _comparable(text)
    if type(left) is not type(right):
        return False
    return {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[sign]  # type: ignore[operator]


def _comparable(value: Value) -> float | str:
    if isinstance(value, str) and value.lower() in SEVERITIES:
        return float(SEVERITIES.index(value.lower()))
    try:
        return float(value or 0)
    except ValueError:
        return str(value)
