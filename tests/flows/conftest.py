"""A place for the flows to happen in, and real worker processes to kill in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.compute.fake_sysprep import stand_in
from tests.flows.place import Place, the_place


@pytest.fixture
def place(transactional_db: None, tmp_path: Path, settings: Any) -> Place:
    """Two departments on a double, among other people's things, and a spool of their own."""
    settings.IMAGE_SPOOL = tmp_path / "spool"
    stand_in(settings, tmp_path / "programs")
    return the_place(tmp_path)
