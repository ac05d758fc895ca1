"""bin/up's modules are a program's, not a package: they are imported from their folder, as Python does for a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "bin"))

from tests.up.portal_run import PortalRun  # noqa: E402


@pytest.fixture
def portal_run() -> Iterator[PortalRun]:
    """A data folder and a free port of its own; whatever it started is gone after the test."""
    run = PortalRun.new()
    yield run
    run.close()
