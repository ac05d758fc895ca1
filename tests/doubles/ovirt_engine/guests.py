"""Real machines under the double: a QEMU process for each that runs, with its disks, first-boot data, screen and agent.

They outlive the double, as machines outlive an engine: all that is needed to find them again lies in files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.guest import nocloud
from tests.guest.qemu_socket import QemuSocket, RefusedCommand

START_SECONDS = 20.0
BROKEN = (OSError, RefusedCommand, json.JSONDecodeError)


@dataclass(frozen=True)
class Hardware:
    """What a machine is started with. ``disks`` are ids in the order of its slots; ``first_boot`` is NoCloud's files."""

    uid: str
    memory_mib: int
    vcpus: int
    disks: Sequence[str]
    macs: Sequence[str]
    first_boot: Mapping[str, str]


class Guests:
    """The disks and machines of one double, in a folder of its own."""

    def __init__(self, folder: Path, image: Path, *, accelerator: str = "tcg") -> None:
        self.folder = folder
        self.image = image  # what templates' disks hold
        self.accelerator = accelerator
        for part in ("disks", "machines"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    # -- disks

    def disk_file(self, disk: str) -> Path:
        """Where a disk's bytes are; one that was never made is a template's."""
        path = self.folder / "disks" / f"{disk}.qcow2"
        return path if path.exists() else self.image

    def create_disk(self, disk: str, *, size_bytes: int, base: str = "") -> None:
        """An empty disk, or one over another."""
        path = self.folder / "disks" / f"{disk}.qcow2"
        backing = ["-b", str(self.disk_file(base)), "-F", "qcow2"] if base else []
        _qemu_img("create", "-q", "-f", "qcow2", *backing, str(path), str(size_bytes))

    def copy_disk(self, disk: str, *, source: str) -> None:
        """A whole copy, with nothing below it."""
        path = self.folder / "disks" / f"{disk}.qcow2"
        _qemu_img("convert", "-q", "-f", "qcow2", "-O", "qcow2", str(self.disk_file(source)), str(path))

    def remove_disk(self, disk: str) -> None:
        """Its bytes go; already gone is done."""
        (self.folder / "disks" / f"{disk}.qcow2").unlink(missing_ok=True)

    # -- machines

    def start(self, hardware: Hardware) -> None:
        """Power on. Raises ``RuntimeError`` with QEMU's own words."""
        if self.is_running(hardware.uid):
            return
        place = self._place(hardware.uid)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        # Sockets have short names.
        (place / "run").symlink_to(tempfile.mkdtemp(prefix="engine-guest-"))
        command = ["qemu-system-x86_64", *self._board(hardware), *self._devices(hardware), *_channels(place)]
        with (place / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=place
            )
        (place / "pid").write_text(str(process.pid))
        self._wait_for_monitor(hardware.uid, process)

    def stop(self, uid: str) -> None:
        """Cut the power; already off is done."""
        pid = self._pid(uid)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._wait_until_gone(uid)
        run = self._place(uid) / "run"
        if run.is_symlink():
            shutil.rmtree(run.readlink(), ignore_errors=True)
            run.unlink()

    def power_button(self, uid: str) -> None:
        """Press it; the guest may or may not heed it."""
        self._ask(uid, "system_powerdown")

    def reset(self, uid: str) -> None:
        """As its reset button does."""
        self._ask(uid, "system_reset")

    def pause(self, uid: str, *, paused: bool) -> None:
        """Stop its clock, or let it go on."""
        self._ask(uid, "stop" if paused else "cont")

    def is_running(self, uid: str) -> bool:
        """Whether its process lives."""
        return self._pid(uid) is not None

    def display(self, uid: str) -> tuple[str, int]:
        """Host and port of its VNC server."""
        told = self._ask(uid, "query-vnc")
        return "127.0.0.1", int(told["service"])

    def set_password(self, uid: str, password: str, *, seconds: int) -> None:
        """What lets new connections in, and for how long; those that are open stay."""
        self._ask(uid, "set_password", protocol="vnc", password=password)
        self._ask(uid, "expire_password", protocol="vnc", time=f"+{seconds}")

    def addresses(self, uid: str) -> list[tuple[str, str]]:
        """(MAC, address) as its agent tells them; nothing where it has none, or is not there yet."""
        try:
            with QemuSocket(self._place(uid) / "run" / "agent.sock", seconds=2) as agent:
                interfaces = agent.ask("guest-network-get-interfaces")
        except BROKEN:
            return []
        return [
            (interface.get("hardware-address", ""), address["ip-address"])
            for interface in interfaces
            if interface["name"] != "lo"
            for address in interface.get("ip-addresses", [])
        ]

    def stop_all(self) -> None:
        """Cut the power of every machine of this folder."""
        for place in (self.folder / "machines").iterdir():
            self.stop(place.name)

    # -- how it is done

    def _board(self, hardware: Hardware) -> list[str]:
        plain = ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std", "-name", hardware.uid]
        size = ["-m", str(hardware.memory_mib), "-smp", str(hardware.vcpus)]
        # The password is set before anybody is let in: until then the screen is shut.
        screen = ["-vnc", "127.0.0.1:0,to=9000,password=on"]
        return [*plain, "-machine", f"q35,accel={self.accelerator}", *size, *screen]

    def _devices(self, hardware: Hardware) -> list[str]:
        found = []
        for disk in hardware.disks:
            found += ["-drive", f"file={self.disk_file(disk)},if=virtio,format=qcow2,cache=unsafe"]
        if hardware.first_boot:
            volume = nocloud.write_volume(self._place(hardware.uid) / "first_boot.iso", hardware.first_boot)
            found += ["-drive", f"file={volume},if=virtio,format=raw,readonly=on"]
        for number, mac in enumerate(hardware.macs):
            # A network of its own that leads nowhere.
            found += ["-netdev", f"user,id=n{number},restrict=on"]
            found += ["-device", f"virtio-net-pci,netdev=n{number},mac={mac}"]
        return found

    def _place(self, uid: str) -> Path:
        return self.folder / "machines" / uid

    def _pid(self, uid: str) -> int | None:
        try:
            pid = int((self._place(uid) / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        if uid.encode() in command:
            return pid
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a child of ours that ended
        return None

    def _ask(self, uid: str, command: str, /, **arguments: object) -> Any:
        try:
            with QemuSocket(self._place(uid) / "run" / "monitor.sock", seconds=5) as monitor:
                monitor.ask("qmp_capabilities")
                return monitor.ask(command, **arguments)
        except BROKEN as error:
            raise RuntimeError(f"{command}: {error}") from error

    def _wait_for_monitor(self, uid: str, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while not (self._place(uid) / "run" / "monitor.sock").exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._place(uid) / "qemu.log").read_text(errors="replace")[-500:])
            time.sleep(0.02)

    def _wait_until_gone(self, uid: str) -> None:
        until = time.monotonic() + START_SECONDS
        while self.is_running(uid) and time.monotonic() < until:
            time.sleep(0.02)


def _channels(place: Path) -> list[str]:
    sockets = {
        name: f"socket,id={name},path={place}/run/{name}.sock,server=on,wait=off" for name in ("monitor", "agent")
    }
    port = "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"
    return [
        *("-chardev", sockets["monitor"], "-mon", "chardev=monitor,mode=control"),
        *("-chardev", sockets["agent"], "-device", "virtio-serial-pci", "-device", port),
        *("-chardev", f"file,id=serial,path={place}/serial.log", "-serial", "chardev:serial"),
    ]


def _qemu_img(*arguments: str) -> None:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
