"""The engine double with a driver on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.hypervisors.ovirt.driver import OvirtDriver
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.hypervisors.ovirt_driver.world import Engine


@pytest.fixture
def engine(ovirt_engine: EngineDouble) -> Iterator[Engine]:
    """The engine as it is when it is fresh, with a driver on it."""
    made = Engine(ovirt_engine)
    yield made
    made.close()


@pytest.fixture
def driver(engine: Engine) -> OvirtDriver:
    """Its driver."""
    return engine.driver
