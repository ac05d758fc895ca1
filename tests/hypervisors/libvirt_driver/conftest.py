"""Real libvirt and QEMU, with faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.hypervisors.base import Driver
from tests.hypervisors.contract.libvirt_worlds import QemuWorld
from tests.hypervisors.contract.things import Things
from tests.lab.libvirt_server import LibvirtServer


@pytest.fixture
def world(libvirtd: LibvirtServer) -> Iterator[QemuWorld]:
    """A portal on real libvirt; what a test leaves is removed, once libvirtd answers again."""
    world = QemuWorld()
    yield world
    libvirtd.start()
    libvirtd.thaw()
    world.close()


@pytest.fixture
def driver(world: QemuWorld) -> Driver:
    return world.driver()


@pytest.fixture
def things(world: QemuWorld, driver: Driver) -> Things:
    return Things(world, driver)
