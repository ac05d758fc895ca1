"""Where the answers of real engines are, if they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
