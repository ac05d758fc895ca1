"""A backing of real machines: a QEMU process for each that runs, with its disks, first-boot data, screen and agent.

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
from pathlib import Path
from typing import Any

from tests.doubles.ovirt_engine.backing import BackingFailed, Disk, Machine
from tests.guest import nocloud
from tests.guest.qemu_socket import AgentSocket, QemuSocket, RefusedCommand

START_SECONDS = 20.0
ASK_SECONDS = 1.0
BROKEN = (OSError, RefusedCommand, json.JSONDecodeError)
IMAGE = "tiny-linux"  # what a disk that is made from the image holds


class Qemu:
    """The disks and machines of one double, in a folder of its own."""

    def __init__(self, folder: Path, image: Path, *, accelerator: str = "tcg") -> None:
        self.folder = folder
        self.image = image
        self.accelerator = accelerator
        for part in ("disks", "machines"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    # -- disks

    def create_disk(self, disk: Disk, *, base: str = "") -> None:
        below = self._file(base) if base else self.image if disk.holds == IMAGE else None
        backing = ["-b", str(below), "-F", "qcow2"] if below else []
        _qemu_img("create", "-q", "-f", "qcow2", *backing, str(self._file(disk.id)), str(disk.size_bytes))

    def copy_disk(self, disk: Disk, *, source: str) -> None:
        _qemu_img("convert", "-q", "-f", "qcow2", "-O", "qcow2", str(self._file(source)), str(self._file(disk.id)))

    def remove_disk(self, disk: str) -> None:
        self._file(disk).unlink(missing_ok=True)

    def actual_size(self, disk: str) -> int | None:
        path = self._file(disk)
        return path.stat().st_blocks * 512 if path.exists() else None

    # -- machines

    def start(self, machine: Machine) -> None:
        if self.is_running(machine.id):
            return
        place = self._place(machine.id)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        # Sockets have short names.
        (place / "run").symlink_to(tempfile.mkdtemp(prefix="engine-guest-"))
        command = ["qemu-system-x86_64", *self._board(machine), *self._devices(machine), *_channels(place)]
        with (place / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=place
            )
        (place / "pid").write_text(str(process.pid))
        self._wait_for_monitor(machine.id, process)

    def stop(self, machine: str) -> None:
        pid = self._pid(machine)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._wait_until_gone(machine)
        run = self._place(machine) / "run"
        if run.is_symlink():
            shutil.rmtree(run.readlink(), ignore_errors=True)
            run.unlink()

    def power_button(self, machine: str) -> None:
        self._tell(machine, "system_powerdown")

    def reset(self, machine: str) -> None:
        self._tell(machine, "system_reset")

    def is_running(self, machine: str) -> bool:
        return self._pid(machine) is not None

    def display(self, machine: str) -> tuple[str, int] | None:
        try:
            return "127.0.0.1", int(self._ask(machine, "query-vnc")["service"])
        except BackingFailed:
            return None

    def set_password(self, machine: str, password: str, *, seconds: int) -> None:
        self._ask(machine, "set_password", protocol="vnc", password=password)
        self._ask(machine, "expire_password", protocol="vnc", time=f"+{seconds}")

    def addresses(self, machine: str) -> tuple[str, ...]:
        try:
            with AgentSocket(self._place(machine) / "run" / "agent.sock", seconds=ASK_SECONDS) as agent:
                interfaces = agent.ask("guest-network-get-interfaces")
        except BROKEN:
            return ()  # none, or it is not there yet
        first: dict[str, Any] = next((one for one in interfaces if one["name"] != "lo"), {})
        return tuple(address["ip-address"] for address in first.get("ip-addresses", []))

    def reset_all(self) -> None:
        for place in (self.folder / "machines").iterdir():
            self.stop(place.name)
            shutil.rmtree(place)
        for disk in (self.folder / "disks").iterdir():
            disk.unlink()

    def close(self) -> None:
        """Machines go on."""

    # -- how it is done

    def _board(self, machine: Machine) -> list[str]:
        plain = ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std", "-name", machine.id]
        size = ["-m", str(machine.memory_mib), "-smp", str(machine.vcpus)]
        # The password is set before anybody is let in: until then the screen is shut.
        screen = ["-vnc", "127.0.0.1:0,to=1023,password=on"]
        return [*plain, "-machine", f"q35,accel={self.accelerator}", *size, *screen]

    def _devices(self, machine: Machine) -> list[str]:
        found = []
        for disk in machine.disks:
            found += ["-drive", f"file={self._file(disk)},if=virtio,format=qcow2,cache=unsafe"]
        if machine.initialization is not None:
            volume = nocloud.write_volume(self._place(machine.id) / "first_boot.iso", _first_boot(machine))
            found += ["-drive", f"file={volume},if=virtio,format=raw,readonly=on"]
        for number, card in enumerate(machine.cards):
            # A network of its own that leads nowhere.
            found += ["-netdev", f"user,id=n{number},restrict=on"]
            found += ["-device", f"virtio-net-pci,netdev=n{number},mac={card.mac}"]
        return found

    def _file(self, disk: str) -> Path:
        return self.folder / "disks" / f"{disk}.qcow2"

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
            with QemuSocket(self._place(uid) / "run" / "monitor.sock", seconds=ASK_SECONDS) as monitor:
                monitor.ask("qmp_capabilities")
                return monitor.ask(command, **arguments)
        except BROKEN as error:
            raise BackingFailed(f"{command}: {error}") from error

    def _tell(self, uid: str, command: str) -> None:
        """Ask for it; one that is off does not hear it."""
        if self.is_running(uid):
            self._ask(uid, command)

    def _wait_for_monitor(self, uid: str, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while not (self._place(uid) / "run" / "monitor.sock").exists():
            if process.poll() is not None or time.monotonic() > until:
                raise BackingFailed((self._place(uid) / "qemu.log").read_text(errors="replace")[-500:])
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


def _first_boot(machine: Machine) -> dict[str, str]:
    """What the engine's cloud-init settings are to a guest."""
    given = machine.initialization or {}
    keys = (given.get("authorized_ssh_keys") or "").splitlines()
    data: dict[str, Any] = {"ssh_pwauth": False}
    if given.get("user_name"):
        sudo = "ALL=(ALL) NOPASSWD:ALL"
        data["users"] = [{"name": given["user_name"], "sudo": sudo, "lock_passwd": True, "ssh_authorized_keys": keys}]
    hostname = given.get("host_name") or machine.name
    return {"meta-data": nocloud.meta_data(machine.id, hostname), "user-data": nocloud.user_data(data)}


def _qemu_img(*arguments: str) -> None:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise BackingFailed(done.stderr[-500:])
