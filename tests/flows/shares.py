"""What a run of the whole suite takes of many cases: on each database every other one, so that each is tried in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")
FIRST = {"postgres": 0, "rows": 1}  # the two passes of a whole run that take turns


def every_other(cases: Sequence[T], config: pytest.Config) -> Sequence[T]:
    """Those of this pass; all of them with ``--full``, and in a run on one database alone.

    Which of the two begins with the first one changes from day to day, so that each database meets each case.
    """
    first = FIRST.get(os.environ.get("STEGI_TEST_PASS", ""))
    if first is None or len(cases) < 2 or config.getoption("--full"):
        return cases
    return cases[(first + int(os.environ["STEGI_TEST_TURN"])) % 2 :: 2]
