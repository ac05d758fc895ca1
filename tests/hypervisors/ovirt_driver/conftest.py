"""The engine double, started once; and where the answers of real engines are, if they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.hypervisors.ovirt.driver import OvirtDriver
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.hypervisors.ovirt_driver.world import Engine


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest) -> Path:
    """The folder with answers that real engines gave, which no other test needs."""
    try:
        given = request.config.getoption("--reference")
    except ValueError:
        given = os.environ.get("STEGI_REFERENCE")
    if not given:
        pytest.skip("no folder of reference answers was given")
    return Path(str(given))


@pytest.fixture(scope="session")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineDouble]:
    """One engine for all tests."""
    engine = EngineDouble(tmp_path_factory.mktemp("engine"))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def engine(double: EngineDouble) -> Iterator[Engine]:
    """The engine as it is when it is fresh, with a driver on it; nothing that its API does not have was asked of it."""
    double.reset()
    made = Engine(double)
    yield made
    made.close()
    assert double.violations() == []


@pytest.fixture
def driver(engine: Engine) -> OvirtDriver:
    """Its driver."""
    return engine.driver
