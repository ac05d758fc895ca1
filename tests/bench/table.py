"""What every bench prints: rows of figures, as a table for people or as JSON for programs."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``against`` and ``ratio`` where it was measured beside something else in the same run."""

    name: str
    unit: str
    p50: float
    best: float
    rounds: int = 1
    against: str = ""
    against_p50: float | None = None
    ratio: float | None = None
    cpu_ratio: float | None = None


def row(name: str, unit: str, values: Sequence[float], *, against: str = "", floor: Sequence[float] = ()) -> Row:
    """The median and the least of some rounds, and their ratio to the median of others."""
    middle = statistics.median(values)
    if not floor:
        return Row(name, unit, middle, min(values), len(values))
    beside = statistics.median(floor)
    return Row(name, unit, middle, min(values), len(values), against, beside, middle / beside)


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """On standard output, with the load of the machine."""
    if as_json:
        print(json.dumps({"load": os.getloadavg(), "rows": [asdict(each) for each in rows]}))
        return
    print(f"{'':58}{'p50':>10}{'best':>10}  {'rounds':>6}  against")
    for each in rows:
        print(f"{each.name:58}{_figure(each.p50)}{_figure(each.best)}  {each.rounds:6}  {_beside(each)}")
    print("load", *(f"{load:.2f}" for load in os.getloadavg()))


def _figure(value: float) -> str:
    return f"{value:10.0f}" if value >= 100 or value == int(value) else f"{value:10.2f}"


def _beside(each: Row) -> str:
    known: Any = each.ratio
    return (
        f"{each.unit}"
        + (f"; {each.against}: {each.against_p50:.2f}; ratio {known:.2f}" if known is not None else "")
        + (f"; of CPU time {each.cpu_ratio:.2f}" if each.cpu_ratio is not None else "")
    )
