"""The engine double for tests: one process for a whole run, back at its fresh institute for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.ovirt_engine import reference
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.lab.servers import new_folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference", default=os.environ.get(reference.NAMED_BY, ""), metavar="FOLDER",
        help="a folder with answers of real oVirt engines and the schema of their API, to which the engine double is held",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Whoever starts a double, in a program of its own too, finds the folder in the environment."""
    if named := config.getoption("--reference"):
        os.environ[reference.NAMED_BY] = str(Path(named).resolve())


@pytest.fixture(scope="session")
def reference_folder(pytestconfig: pytest.Config) -> Path:
    """The folder of ``--reference``; what asks for it is left out of a run without one."""
    named = pytestconfig.getoption("--reference")
    if not named:
        pytest.skip("no --reference folder")
    return Path(named)


@pytest.fixture(scope="session")
def session_ovirt_engine() -> Iterator[EngineDouble]:
    """One engine double for the run, held to the schema where ``--reference`` names one."""
    double = EngineDouble(new_folder("ovirt"))
    double.start()
    yield double
    double.stop()


@pytest.fixture
def ovirt_engine(session_ovirt_engine: EngineDouble) -> Iterator[EngineDouble]:
    """An engine double with the fresh institute; a test may kill it. At the end nothing may have been misused."""
    yield from fresh(session_ovirt_engine)


def fresh(double: EngineDouble) -> Iterator[EngineDouble]:
    """The double at its fresh institute, for a test or a module; afterwards nothing may have been misused."""
    double.start()
    double.reset()
    yield double
    double.start()
    violations = double.violations()
    double.reset()
    assert not violations, violations
