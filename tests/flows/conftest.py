"""A place for the flows to happen in, and real worker processes to kill in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.place import Place, make_place
from tests.jobs.workers import Workers, running_workers

Plant = Callable[[str, str], None]


@pytest.fixture
def place(transactional_db: None, tmp_path: Path) -> Place:
    """Two departments on a double, among other people's things."""
    return make_place(tmp_path)


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
