"""One engine double for all tests of this folder, as good as new for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.common.actor import Actor, system_actor
from portal.hypervisors.connect import forget
from portal.hypervisors.models import Provider
from tests.doubles.ovirt_engine.control import EngineDouble


@pytest.fixture(scope="session")
def session_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineDouble]:
    double = EngineDouble(tmp_path_factory.mktemp("engine"))
    double.start()
    yield double
    double.stop()


@pytest.fixture
def engine(session_engine: EngineDouble, db: None) -> Iterator[EngineDouble]:
    session_engine.reset()
    yield session_engine
    for uid in Provider.objects.values_list("uid", flat=True):
        forget(uid)


@pytest.fixture
def root() -> Actor:
    return system_actor()
