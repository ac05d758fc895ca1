"""Each promise is tried on every hypervisor that declares that it can keep it, and on no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.hypervisors.base import Driver
from tests.hypervisors.contract.engine_world import EngineWorld
from tests.hypervisors.contract.libvirt_worlds import MemoryWorld, QemuWorld
from tests.hypervisors.contract.things import Things
from tests.hypervisors.contract.worlds import DoubleWorld, World
from tests.lab.libvirt_server import LibvirtServer

WORLDS: dict[str, type[World]] = {
    "double": DoubleWorld,
    "libvirt-test": MemoryWorld,
    "qemu": QemuWorld,
    "engine": EngineWorld,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        needed = [name for marker in metafunc.definition.iter_markers("needs") for name in marker.args]
        able = [name for name, world in WORLDS.items() if all(_has(world, need) for need in needed)]
        marks = {"qemu": [pytest.mark.libvirt], "engine": [pytest.mark.long, pytest.mark.once]}
        metafunc.parametrize("world", [pytest.param(name, marks=marks.get(name, [])) for name in able], indirect=True)


def _has(world: type[World], need: str) -> bool:
    return bool(getattr(world.capabilities, need))


@pytest.fixture
def make_world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], World]:
    def make(name: str) -> World:
        if name == "double":
            return DoubleWorld(tmp_path)
        if name == "engine":
            return EngineWorld(request.getfixturevalue("ovirt_engine"))
        if name == "qemu":
            server: LibvirtServer = request.getfixturevalue("session_libvirtd")
            server.start()
        return WORLDS[name]()  # type: ignore[call-arg]

    return make


@pytest.fixture
def world(request: pytest.FixtureRequest, make_world: Callable[[str], World]) -> Iterator[World]:
    world = make_world(request.param)
    yield world
    world.close()


@pytest.fixture
def driver(world: World) -> Driver:
    """The portal's connection."""
    return world.driver()


@pytest.fixture
def things(world: World, driver: Driver) -> Things:
    """Makes what a test is not about."""
    return Things(world, driver)
