"""Shared by all tests: the lab's real parts and rules, and people to act."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.people import Institute, make_institute

pytest_plugins = ["tests.lab.fixtures", "tests.lab.selection", "tests.jobs.fixtures"]


@pytest.fixture
def institute(db: None, tmp_path: Path) -> Institute:
    """Two departments on a double."""
    return make_institute(tmp_path)
