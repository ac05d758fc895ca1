"""libvirtd and virtlogd of Debian's packages, run inside the lab's namespaces where they are `qemu:///system`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.lab.servers import RealPartFailed, Server, lab_folder, new_folder, wait_until

URI: Final = "qemu:///system"
CALL_SECONDS: Final = 20
STARTS: Final = 3


class LogServer(Server):
    """virtlogd, which holds the guests' logs and consoles; libvirtd cannot start a guest without it."""

    name = "virtlogd"

    def command(self) -> Sequence[str]:
        return ["/usr/sbin/virtlogd"]

    def prepare(self) -> None:
        end_by_pid_file(Path("/run/virtlogd.pid"))

    def answers(self) -> bool:
        return Path("/run/libvirt/virtlogd-sock").exists()


class LibvirtServer(Server):
    name = "libvirtd"
    uri = URI

    def __init__(self) -> None:
        if lab_folder() is None:
            raise RealPartFailed("the lab's libvirtd runs in namespaces of its own: start the tests with bin/test")
        super().__init__(new_folder("libvirt"))
        self.logs = LogServer(self.folder)

    def command(self) -> Sequence[str]:
        return ["/usr/sbin/libvirtd"]

    def prepare(self) -> None:
        end_by_pid_file(Path("/run/libvirtd.pid"))

    def start(self) -> None:
        if self.is_running:
            return
        self.logs.start()
        for _ in range(STARTS):
            super().start()
            if self._knows_qemu():
                return
            self.kill()
        raise RealPartFailed(f"libvirtd hung {STARTS} times when it asked QEMU what it can")

    def _knows_qemu(self) -> bool:
        """libvirtd asks QEMU what it can at the first need and keeps it over its restarts. On a busy machine it was seen to
        wait for that answer for ever, and with it whoever needs QEMU.
        """
        try:
            return self.virsh("domcapabilities", "--virttype", "qemu", check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def answers(self) -> bool:
        try:
            return self.virsh("list", "--name", check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def virsh(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Asks this libvirtd from outside the tested code; raises RealPartFailed when it refuses and `check` is on."""
        command = ["virsh", "-q", "-c", URI, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CALL_SECONDS)
        if check and done.returncode != 0:
            raise RealPartFailed(f"virsh {' '.join(arguments)}: {done.stderr.strip()}")
        return done

    def guests(self) -> list[str]:
        """The UUIDs of the guests that run."""
        return self.virsh("list", "--uuid").stdout.split()

    def close(self) -> None:
        """Destroys the guests that still run, then ends both daemons."""
        self.start()
        for uuid in self.guests():
            self.virsh("destroy", uuid, check=False)
        self.stop()
        self.logs.stop()


def end_by_pid_file(path: Path) -> None:
    """Ends the daemon that a tested program started in this lab (bin/up does), so that the fixture's can take over.

    Its file is the lab's own, as all of /run is; guests live on through it.
    """
    if lab_folder() is None or not path.exists():
        return
    process = Path("/proc") / path.read_text().strip()
    if process.is_dir() and (process / "comm").read_text().strip() == path.stem:
        os.kill(int(process.name), signal.SIGTERM)
        wait_until(lambda: not process.is_dir(), f"the running {path.stem} to end")
