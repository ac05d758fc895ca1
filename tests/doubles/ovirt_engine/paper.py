"""A backing of paper: machines that are a line in a file, with guests that obey the power button at once."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from random import sample
from typing import Any

from tests.doubles.ovirt_engine.backing import BackingFailed, Disk, Machine

SPARSE_BYTES = 200 * 1024


class Paper:
    """Simulated machines and disks. The file holds who runs, for they outlive the engine.

    ``deaf``: machines whose guest ignores the power button. ``fails``: the text with which the next start fails.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "paper.json"
        self._lock = threading.Lock()
        self._running: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._disks: dict[str, int] = {}
        self._passwords: dict[str, tuple[str, int]] = {}
        self._screens = Screens()
        self.deaf: set[str] = set()
        self.fails = ""

    def create_disk(self, disk: Disk, *, base: str = "") -> None:
        self._disks[disk.id] = SPARSE_BYTES if disk.sparse else disk.size_bytes

    def copy_disk(self, disk: Disk, *, source: str) -> None:
        self._disks[disk.id] = disk.size_bytes if not disk.sparse else disk.size_bytes // 4

    def remove_disk(self, disk: str) -> None:
        self._disks.pop(disk, None)

    def start(self, machine: Machine) -> None:
        if self.fails:
            text, self.fails = self.fails, ""
            raise BackingFailed(text)
        self._running[machine.id] = machine.cards[0].mac if machine.cards else ""
        self._save()

    def stop(self, machine: str) -> None:
        if self._running.pop(machine, None) is not None:
            self._save()

    def power_button(self, machine: str) -> None:
        if machine not in self.deaf:
            self.stop(machine)

    def reset(self, machine: str) -> None:
        """Nothing of a paper machine is lost by it."""

    def is_running(self, machine: str) -> bool:
        return machine in self._running

    def display(self, machine: str) -> tuple[str, int] | None:
        return ("127.0.0.1", self._screens.port()) if machine in self._running else None

    def set_password(self, machine: str, password: str, *, seconds: int) -> None:
        self._passwords[machine] = (password, seconds)

    def password(self, machine: str) -> tuple[str, int] | None:
        """What the last ticket set, and for how many seconds."""
        return self._passwords.get(machine)

    def addresses(self, machine: str) -> tuple[str, ...]:
        mac = self._running.get(machine, "")
        if not mac:
            return ()
        last = [int(part, 16) for part in mac.split(":")[-2:]]
        return (f"10.20.{last[0]}.{last[1]}", f"fd00::{last[0]:x}:{last[1]:x}")

    def actual_size(self, disk: str) -> int | None:
        return self._disks.get(disk)

    def reset_all(self) -> None:
        self._running.clear()
        self._disks.clear()
        self._passwords.clear()
        self.deaf.clear()
        self.fails = ""
        self._save()

    def close(self) -> None:
        self._screens.close()

    def _save(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._running))
        new.replace(self._path)


def _listening() -> socket.socket:
    """A port that a display has on an engine's host; whoever has one already keeps it."""
    for port in sample(range(5900, 6924), 1024):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    raise OSError("every port for displays is taken")


class Screens:
    """One loopback port for the screens of all paper machines: it greets as a VNC server does, and says no more."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._guests: list[Any] = []

    def port(self) -> int:
        """The port; opened when it is first asked for."""
        if self._socket is None:
            self._socket = _listening()
            threading.Thread(target=self._greet, args=(self._socket,), daemon=True).start()
        port: int = self._socket.getsockname()[1]
        return port

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _greet(self, listener: socket.socket) -> None:
        while True:
            try:
                guest, _ = listener.accept()
                guest.sendall(b"RFB 003.008\n")
            except OSError:
                return
            self._guests.append(guest)
