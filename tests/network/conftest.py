"""Two departments with machines that are up, services on the host, and a world outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hypervisors.libvirt.real import Guest, RealPlace, real_place, until
from tests.lab.libvirt_server import LibvirtServer

GREETER = Path(__file__).with_name("greeter.py")
PORT = 7777
# Addresses of the documentation's ranges, which are public to the filter: the host's own on the way out, one more of its
# own, and somebody's outside. And one of a private range.
HOST_OUTSIDE, HOST_PUBLIC, HOST_PRIVATE, OUTSIDE = "198.51.100.1", "203.0.113.9", "172.16.9.9", "198.51.100.2"


class Service:
    """A greeter that runs; ``visits`` is what it wrote down."""

    def __init__(self, prefix: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            command = [*prefix, sys.executable, str(GREETER), str(PORT)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
        until(self._log.read_text, "the greeter", seconds=20)

    @property
    def visits(self) -> list[str]:
        return self._log.read_text().splitlines()[1:]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


@dataclass
class Departments:
    """Ada and bob are machines of physics, carl is one of informatics."""

    place: RealPlace
    ada: Guest
    bob: Guest
    carl: Guest
    host: Service
    outside: Service

    @property
    def all(self) -> tuple[Guest, ...]:
        return (self.ada, self.bob, self.carl)


@pytest.fixture(scope="package")
def departments(
    session_libvirtd: LibvirtServer,
    tiny_linux_image: Path,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Departments]:
    folder = tmp_path_factory.mktemp("departments")
    with (
        django_db_blocker.unblock(),
        _world(),
        real_place(session_libvirtd, tiny_linux_image, folder) as place,
        _service([], folder / "host") as host,
        _service(["ip", "netns", "exec", "outside"], folder / "outside") as outside,
    ):
        machines = {"ada": ("alice", "physics"), "bob": ("bob", "physics"), "carl": ("charlie", "informatics")}
        made = {name: place.machine(name, who, center) for name, (who, center) in machines.items()}
        guests = {name: place.guest(vm) for name, vm in made.items()}
        for guest in guests.values():
            guest.says("true")
        yield Departments(place, **guests, host=host, outside=outside)


@pytest.fixture(autouse=True)
def db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The rows are the package's: no test of it takes back what another has made."""
    with django_db_blocker.unblock():
        yield


@contextmanager
def _service(prefix: list[str], log: Path) -> Iterator[Service]:
    service = Service(prefix, log)
    yield service
    service.stop()


@contextmanager
def _world() -> Iterator[None]:
    """A network outside, behind the host, which has addresses of its own beside those of its bridges."""
    _ip("netns add outside")
    _ip("link add out0 type veth peer name in0 netns outside")
    _ip(f"address add {HOST_OUTSIDE}/24 dev out0")
    _ip("link set out0 up")
    _ip(f"-n outside address add {OUTSIDE}/24 dev in0")
    _ip("-n outside link set in0 up")
    for address in (HOST_PUBLIC, HOST_PRIVATE):
        _ip(f"address add {address}/32 dev lo")
    yield
    for address in (HOST_PUBLIC, HOST_PRIVATE):
        _ip(f"address delete {address}/32 dev lo")
    _ip("netns delete outside")  # the pair of devices goes with it


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, timeout=20)
