"""Running virt-sysprep and its sisters on an image: in libguestfs' small machine, without a network, and within bounds.

What a guest put on its disk is read by the kernel of that machine, never by this host's.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from compute.qemu_img import ONE_ARENA

PROGRAMS = ("virt-filesystems", "virt-sysprep", "virt-sparsify")
MEMORY_BYTES = 8 * 1024**3  # of addresses: QEMU reserves far more than it uses
MACHINE_MIB = 768  # the memory of the small machine
MACHINE_BYTES = 5 * 1024**3  # the largest file that it is made of
LOOK_SECONDS = 0.05
ASK_SECONDS = 2.0  # between two questions whether to go on
COMPLAINT_BYTES = 64 * 1024  # of what a program said last
LINUX = "linux"
# virt-sysprep does nothing to what is no Linux, and says so nowhere else.
KIND = re.compile(r'libguestfs: trace: (?:\S+: )?inspect_get_type = "(\w+)"')
NOTHING_FOUND = "no operating systems were found"
# Both go on, and end well, where a file system cannot be mounted or told to forget, or a log cannot be removed. What is not removed for
# another reason ends them: all that matters is deleted by name as well (``sealing.PARTS``), and a failing delete is an error.
LEFT_OUT = re.compile(r"(?!libguestfs: trace: ).*(?:\(ignored\)|fstrim operation is not supported on )")
CALL = re.compile(r"libguestfs: trace: (?:\S+: )?(list_filesystems = |mount\w* )(.*)")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
MOUNT_FAILED = "= -1 (error)"
NO_FILES = {"swap", "unknown"}  # kinds of what is no file system, which nobody can mount


class GuestfsFailed(Exception):
    """A program refused the image, or did not end within its bounds. ``detail`` is for the log."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class NoSystem(GuestfsFailed):
    """There is no system on the disk that libguestfs knows."""


class LeftOut(GuestfsFailed):
    """It ended well, and did not do a part of its work."""


class Stopped(Exception):
    """Nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where a program works and for how long: a folder of its own, seconds, the largest file; ``go_on`` is asked now and then.

    ``is_emulated``: without KVM.
    """

    folder: Path
    seconds: float
    file_bytes: int = 0
    go_on: Callable[[], bool] = lambda: True
    is_emulated: bool = False


def try_out(room: Room) -> None:
    """Let the small machine start once and look at an empty disk. Raises ``GuestfsFailed``."""
    blank = room.folder / "blank.img"
    blank.touch(mode=0o600)
    os.truncate(blank, 1024**2)
    _run("virt-filesystems", ["--format=raw", "-a", str(blank), "--all"], room)


def sysprep(image: Path, arguments: list[str], room: Room) -> set[str]:
    """Let virt-sysprep change a qcow2 disk. The kinds of systems that it found there ("linux", "windows"), by its own trace.

    Raises ``GuestfsFailed``, its kind ``NoSystem`` where nothing was recognized, ``LeftOut`` where a part was not sealed.
    """
    try:
        _run("virt-sysprep", ["--quiet", "-x", "--no-network", *arguments, "--format=qcow2", "-a", str(image)], room)
    except GuestfsFailed as error:
        if NOTHING_FOUND in error.detail:
            raise NoSystem(error.detail) from error
        raise
    trace = room.folder / "stderr"
    _refuse_left_out(trace)
    with trace.open(errors="replace") as lines:
        return {found[1] for line in lines if (found := KIND.match(line))}


def forget_free_space(image: Path, room: Room) -> None:
    """Let a qcow2 disk forget what its file systems do not use: what was removed stands there still.

    Raises ``GuestfsFailed``, its kind ``LeftOut`` where one of them did not.
    """
    _run("virt-sparsify", ["--quiet", "-x", "--in-place", "--format=qcow2", str(image)], room)
    _refuse_left_out(room.folder / "stderr")


def _refuse_left_out(trace: Path) -> None:
    """Only its complaints and its trace tell what a program left out that ended well."""
    kinds: dict[str, str] = {}
    device = ""
    with trace.open(errors="replace") as lines:
        for line in lines:
            if LEFT_OUT.match(line):
                raise LeftOut(line.strip()[-400:])
            if (call := CALL.match(line)) is None:
                continue
            words = WORD.findall(call[2])
            if call[1].startswith("list"):
                kinds = dict(zip(words[::2], words[1::2], strict=False))
            elif len(words) > 1:
                device = words[-2]
            elif call[2].startswith(MOUNT_FAILED) and kinds.get(device) not in NO_FILES:
                raise LeftOut(f"{device} was not mounted")


def _run(program: str, arguments: list[str], room: Room) -> None:
    """Raises ``GuestfsFailed``, ``Stopped``, and what ``go_on`` raises; then nothing of it runs any more."""
    said, complained = room.folder / "stdout", room.folder / "stderr"
    with said.open("wb") as out, complained.open("wb") as err:
        try:
            child = subprocess.Popen(
                _command(program, arguments, room), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=_environment(room), cwd=room.folder, umask=0o077, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise GuestfsFailed(f"{program} cannot be run: {error}") from error
        try:
            _wait(child, program, room)
        finally:
            _end(child)
    if child.returncode != 0:
        raise GuestfsFailed(f"{program} ended with {child.returncode}: {_complaint(complained)}")


def _command(program: str, arguments: list[str], room: Room) -> list[str]:
    largest = max(room.file_bytes, MACHINE_BYTES)
    limits = [f"--as={MEMORY_BYTES}", f"--cpu={max(1, int(room.seconds))}", f"--fsize={largest}", "--core=0"]
    # The child dies with the worker that waits for it, and libguestfs ends its machine then.
    bounds = ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", "prlimit", *limits, "nice", "-n", "10"]
    return [*bounds, str(Path(settings.SYSPREP_FOLDER) / program), *arguments]


def _environment(room: Room) -> dict[str, str]:
    """Nothing of ours: libguestfs reads much from its environment."""
    kernel = {"SUPERMIN_KERNEL": settings.SYSPREP_KERNEL, "SUPERMIN_MODULES": settings.SYSPREP_MODULES}
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "HOME": str(room.folder),
        "TMPDIR": str(room.folder),
        "LIBGUESTFS_CACHEDIR": str(machine_folder()),
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_MEMSIZE": str(MACHINE_MIB),
        **({"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"} if room.is_emulated else {}),
        **{name: value for name, value in kernel.items() if value},
        **ONE_ARENA,
    }


def machine_folder() -> Path:
    """Where libguestfs keeps the small machine, once it has made it."""
    folder = Path(settings.DATA_DIR) / "appliance"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _wait(child: subprocess.Popen[bytes], program: str, room: Room) -> None:
    """Until it has ended; its process id is kept, for its group (``_end``)."""
    until = time.monotonic() + room.seconds
    asked = time.monotonic()
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        if now > until:
            raise GuestfsFailed(f"{program} took longer than {room.seconds:.0f} s")
        if now - asked >= ASK_SECONDS:
            asked = now
            if not room.go_on():
                raise Stopped


def _end(child: subprocess.Popen[bytes]) -> None:
    """The program with all that it started in its group, which may be there still when it has ended by itself."""
    os.killpg(child.pid, signal.SIGKILL)  # it was not waited for yet, so the group is its own
    child.wait()


def _complaint(path: Path) -> str:
    """The last errors that a program told of, else its last words."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - COMPLAINT_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return " / ".join([line for line in lines if "error:" in line] or lines)[-400:]
