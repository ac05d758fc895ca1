"""Worker processes to kill, and faults to plant, for every suite that wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.workers import Workers, running_workers

Plant = Callable[[str, str], None]


@pytest.fixture(scope="module")
def module_workers(django_db_setup: None, django_db_blocker: object) -> Iterator[Workers]:
    with running_workers() as workers:
        yield workers


@pytest.fixture
def workers(module_workers: Workers) -> Workers:
    """Worker processes on the test's database."""
    return module_workers


@pytest.fixture
def plant(tmp_path: Path, settings: Any) -> Plant:
    """Plants a fault at a named point, for this process and those it starts."""
    folder = tmp_path / "faults"
    folder.mkdir()
    settings.FAULT_POINTS_DIR = str(folder)
    return lambda point, fault: (folder / point).write_text(fault) and None
