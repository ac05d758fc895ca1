"""What a run of the whole suite takes turns in: half on each of the two databases, the other half the next day.

With ``--full``, and in a run on one database or of a selection, nothing takes turns: all is tried. What has very many cases
tries another share of them each day, in any run but one with ``--full``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
PLACE: Final = {"postgres": 0, "rows": 1, "doors": 1}  # the passes of a whole run that take turns, by their database
MARKER: Final = "turns"


def every_other(cases: Sequence[T], config: pytest.Config) -> Sequence[T]:
    """Those of this pass. Which of the two begins with the first one changes from day to day, so that each meets each case."""
    place = PLACE.get(os.environ.get("STEGI_TEST_PASS", ""))
    if place is None or len(cases) < 2 or config.getoption("--full"):
        return cases
    return cases[(place + int(os.environ["STEGI_TEST_TURN"])) % 2 :: 2]


def todays(cases: Sequence[T], config: pytest.Config, *, days: int) -> Sequence[T]:
    """A share of them in any run, so that all are tried within so many days; with ``--full`` all at once."""
    if config.getoption("--full"):
        return cases
    day = int(os.environ.get("STEGI_TEST_TURN") or datetime.now(UTC).toordinal())
    return cases[day % days :: days]


def without_others_turn(items: Sequence[pytest.Item], config: pytest.Config) -> list[pytest.Item]:
    """All but the tests marked ``turns`` whose turn is the other pass's; the passes on both databases must be given the same ones."""
    turning = [item for item in items if item.get_closest_marker(MARKER)]
    mine = set(every_other(turning, config))
    return [item for item in items if item in mine or not item.get_closest_marker(MARKER)]
