"""The engine double, a super-admin to connect it, and nothing left open afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.common.actor import Actor, system_actor
from portal.hypervisors.connect import forget
from portal.hypervisors.models import Provider
from tests.doubles.ovirt_engine.control import EngineDouble


@pytest.fixture
def engine(ovirt_engine: EngineDouble, db: None) -> Iterator[EngineDouble]:
    yield ovirt_engine
    for uid in Provider.objects.values_list("uid", flat=True):
        forget(uid)


@pytest.fixture
def root() -> Actor:
    return system_actor()
