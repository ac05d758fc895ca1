"""Shared by all tests: the lab's real parts and rules, and people to act."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.lab.rows import begin_with_what_is_there
from tests.people import Institute, the_institute

pytest_plugins = [
    "tests.lab.fixtures",
    "tests.lab.selection",
    "tests.jobs.fixtures",
    "tests.doubles.ovirt_engine.fixtures",
]


# So many new objects are there before some of them are looked at for cycles; by default it is 700.
LOOKED_AT_AFTER = 50_000


def pytest_collection_finish() -> None:
    """What was loaded stays: to look for garbage in it again and again took a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(LOOKED_AT_AFTER, 20, 20)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The test database, whose tests leave it as they found it."""
    with django_db_blocker.unblock():
        begin_with_what_is_there()


@pytest.fixture
def institute(db: None, tmp_path: Path) -> Institute:
    """Two departments on a double."""
    return the_institute(tmp_path)


@pytest.fixture(autouse=True)
def no_look_is_left_open() -> Iterator[None]:
    """What was read for one page would count in the tests after it, however rights change."""
    yield
    from tenants.holdings import is_looking

    assert not is_looking(), "a look at somebody's rights was begun and never ended"


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one test uploads is no other's left-over."""
    settings.IMAGE_SPOOL = tmp_path_factory.getbasetemp() / "spools" / uuid4().hex
