"""Relay tests run on both event loops that the server may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from django.db import connections

from portal.asgi import application
from tests.compute.console.certificates import Authority
from tests.compute.console.qemu import PASSWORD, QemuVnc
from tests.compute.console.serving import serving
from tests.compute.console.world import World, make_world


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith("test_relay"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make("Lab CA")


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Callable[..., QemuVnc]]:
    """Real QEMUs by kind, started when first asked for: ``machines("plain", password=True, tls="right")``."""
    folder = tmp_path_factory.mktemp("qemu")
    started: dict[tuple, QemuVnc] = {}

    def machine(name: str, *, password: bool = False, tls: str = "") -> QemuVnc:
        key = (name, password, tls)
        if key not in started or not started[key].running:
            started[key] = QemuVnc(
                folder,
                name=f"{name}-{len(started)}",
                password=PASSWORD if password else "",
                tls=_credentials(folder / f"tls-{len(started)}", authority=authority, kind=tls) if tls else None,
            )
        return started[key]

    yield machine
    for qemu in started.values():
        qemu.stop()


def _credentials(folder: Path, *, authority: Authority, kind: str) -> Path:
    if kind == "expired":
        return authority.issue(folder, host="vnc.lab", days=(-20, -1))
    if kind == "stranger":
        return Authority.make("Lab CA").issue(folder, host="vnc.lab")  # same name, another key
    return authority.issue(folder, host="vnc.lab")


@pytest.fixture
def world(transactional_db: None, tmp_path: Path) -> Iterator[World]:
    """People, a machine and its screen."""
    with make_world(tmp_path / "double") as made:
        yield made


@pytest.fixture
def portal(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same with the real ASGI server before it."""
    # A thread's connection that is kept open would stop the test's database from being removed.
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    with serving(application) as port:
        world.address = f"127.0.0.1:{port}"
        settings.PUBLIC_ORIGINS = [world.origin]
        yield world
