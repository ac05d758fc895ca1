"""What failed before this pytest run is a failed test of this run, so that pytest's closing line tells the truth.

bin/test runs the checks first, then the passes, the last of which has its last word.
Each hands its failures on in a file: `[{"name": ..., "what": ...}]`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

READ: Final = "STEGI_EARLIER_FAILURES"
WRITE: Final = "STEGI_KEEP_FAILURES"


class EarlierFailure(pytest.Item):
    """Stands in this run for something that failed before it."""

    def __init__(self, *, what: str, **known: Any) -> None:
        super().__init__(**known)
        self.what = what
        self.add_marker("quick")

    def runtest(self) -> None:
        pytest.fail(self.what, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path / "bin" / "test", None, self.name


def earlier_failures(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """An item for each earlier failure; `items` are this run's, at least one of which tells where to hang them."""
    path = os.environ.get(READ)
    if not path or not items:
        return []
    found = json.loads(Path(path).read_text())
    return [
        EarlierFailure.from_parent(items[0].session, nodeid=each["name"], name=each["name"], what=each["what"])
        for each in found
    ]


def keep_failures(config: pytest.Config) -> None:
    """Writes this run's failures for a later one, where bin/test asked for it."""
    path, reporter = os.environ.get(WRITE), config.pluginmanager.get_plugin("terminalreporter")
    if not path or reporter is None:
        return
    failed = [report for outcome in ("failed", "error") for report in reporter.stats.get(outcome, [])]
    where = "PostgreSQL" if os.environ.get("STEGI_TEST_PASS") == "postgres" else "SQLite"
    kept = [{"name": f"[{where}] {report.nodeid}", "what": report.longreprtext} for report in failed]
    Path(path).write_text(json.dumps(kept))
