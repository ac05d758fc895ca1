"""Bringing rows to what was found on a provider: few queries, however much there is, and none for what did not change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

BATCH = 500

Row = TypeVar("Row", bound=Model)
Thing = TypeVar("Thing")
Values = Mapping[str, Any]


def bring(
    rows: QuerySet[Row], seen: Mapping[str, Values], *, of: Values, at_first: Mapping[str, Values] | None = None
) -> list[Row]:
    """Bring ``rows`` to what was ``seen``, by external id; what is new gets ``of`` and ``at_first`` besides.

    The rows of what is not there any more are given back as they are. Another compare may be at it: what it made meanwhile
    stays as it made it.
    """
    there = {_key(row): row for row in rows}
    first = at_first or {}
    fresh = [
        rows.model(external_id=key, **{**of, **values, **first.get(key, {})})
        for key, values in seen.items()
        if key not in there
    ]
    changed = [there[key] for key, values in seen.items() if key in there and take(there[key], values)]
    if fresh:
        rows.model._default_manager.bulk_create(fresh, batch_size=BATCH, ignore_conflicts=True)
    if changed:
        fields = list(next(iter(seen.values())))
        rows.model._default_manager.bulk_update(changed, fields, batch_size=BATCH)
    return [row for key, row in there.items() if key not in seen]


def follow(rows: Mapping[Row, Hashable], there: Mapping[str, Hashable]) -> None:
    """Rows by their names, of which some things are not there any more under their external ids: each of these takes the id of
    the thing of its name that has no row. What is ``there``: names by external ids. Where two have one name, none is taken.
    """
    known = {_key(row) for row in rows}
    lost = _alone({row: name for row, name in rows.items() if _key(row) not in there})
    new = _alone({key: name for key, name in there.items() if key not in known})
    for name in lost.keys() & new.keys():
        row: Any = lost[name]
        row.external_id = new[name]
        row.save(update_fields=["external_id"])


def _alone(named: Mapping[Thing, Hashable]) -> dict[Hashable, Thing]:
    """What has its name alone, by its name."""
    counts = Counter(named.values())
    return {name: thing for thing, name in named.items() if counts[name] == 1}


def take(row: Model, values: Values) -> bool:
    """Whether anything of a row changed by taking these values."""
    if all(getattr(row, name) == value for name, value in values.items()):
        return False
    for name, value in values.items():
        setattr(row, name, value)
    return True


def batches(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """In pieces that a database takes in one query."""
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]


def _key(row: Any) -> str:
    return str(row.external_id)
