"""A place for the flows to happen in, and real worker processes to kill in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal.hypervisors import connect
from tests.compute.fake_sysprep import stand_in
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.flows.ovirt_place import EnginePlace, make_engine_place
from tests.flows.place import Place, the_place


@pytest.fixture
def place(transactional_db: None, tmp_path: Path, settings: Any) -> Place:
    """Two departments on a double, among other people's things, and a spool of their own."""
    settings.IMAGE_SPOOL = tmp_path / "spool"
    stand_in(settings, tmp_path / "programs")
    return the_place(tmp_path)


@pytest.fixture
def engine_place(
    transactional_db: None, tmp_path: Path, ovirt_engine: EngineDouble, settings: Any
) -> Iterator[EnginePlace]:
    """A department on an engine, over HTTPS."""
    settings.IMAGE_SPOOL = tmp_path / "spool"
    place = make_engine_place(tmp_path, ovirt_engine)
    yield place
    connect.forget(place.provider.pk)
