"""libvirtd: started where none answers, and never stopped, for machines depend on it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from failure import StartError, say

URI: Final = "qemu:///system"
START_SECONDS: Final = 30
# Where a daemon would not start, perhaps because another start of this portal, or of another, was faster.
OVERTAKEN_SECONDS: Final = 5
BOOTED_WITH_SYSTEMD: Final = Path("/run/systemd/system")  # sd_booted(3)


def ensure() -> None:
    """Returns when libvirt answers; raises StartError when it cannot be brought to."""
    if answers():
        return
    say("starting libvirtd")
    failed = [error for command in _start_commands() if (error := _start(command))]
    until = time.monotonic() + (OVERTAKEN_SECONDS if failed else START_SECONDS)
    while not answers():
        if time.monotonic() > until:
            silent = StartError(
                f"libvirtd does not answer on {URI}", "see its log (journalctl -u libvirtd, or run libvirtd by hand)"
            )
            raise failed[0] if failed else silent
        time.sleep(0.2)


def answers() -> bool:
    """Whether a libvirt answers at all, within 10 s; virsh is a process, so a silent libvirtd cannot hold us."""
    command = ["virsh", "--connect", URI, "--quiet", "uri"]
    try:
        return (
            subprocess.run(command, capture_output=True, check=False, timeout=10, stdin=subprocess.DEVNULL).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _start_commands() -> list[list[str]]:
    if BOOTED_WITH_SYSTEMD.is_dir():
        return [["systemctl", "start", "libvirtd.service"]]
    logger = [] if _runs("/run/virtlogd.pid") or _runs("/run/libvirt/virtlogd.pid") else [["virtlogd", "-d"]]
    return [*logger, ["libvirtd", "-d"]]


def _runs(pid_file: str) -> bool:
    """Whether the daemon of this pid file lives: its name is compared, for the number may be another's by now."""
    try:
        pid = int(Path(pid_file).read_text())
        return (Path("/proc") / str(pid) / "comm").read_text().strip() == Path(pid_file).stem
    except (OSError, ValueError):
        return False


def _start(command: Sequence[str]) -> StartError | None:
    """Without our terminal, output or environment: it outlives us. Why it ended at once, if it did."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
    environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        done = subprocess.run(
            command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, check=False, timeout=START_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(
            f"{command[0]} cannot be started ({error})", "see that libvirt-daemon-system is installed"
        ) from error
    if done.returncode == 0:
        return None
    return StartError(f"{' '.join(command)} failed with exit code {done.returncode}", "run it by hand to see why")
