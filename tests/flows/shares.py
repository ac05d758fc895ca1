"""What a run of the whole suite takes of many cases: on each database every other one, so that each is tried in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")
FIRST = {"postgres": 0, "rows": 1}  # the two passes of a whole run that take turns


def every_other(cases: Sequence[T], config: pytest.Config) -> Sequence[T]:
    """Those of this pass; all of them with ``--full``, and in a run on one database alone."""
    first = FIRST.get(os.environ.get("STEGI_TEST_PASS", ""))
    return cases if first is None or config.getoption("--full") else cases[first::2]
