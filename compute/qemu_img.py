"""Running qemu-img on images that came from outside: explicit formats, and bounds on time, CPU, memory and what it writes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

MEMORY_BYTES = 1024**3  # of addresses: qemu-img's threads and caches want more than half of it
# glibc reserves 64 MiB of addresses for each thread that allocates, and more for threads that are many at once: now and then
# that was too much for the bound, and qemu-img could start no thread.
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
SOUND = (0, 3)  # 3: clusters that nobody uses, which the conversion leaves out
BLOCK_BYTES = (
    4096  # of nearly every file system; what is forgotten are whole clusters, and an image has 64 KiB of them else
)
OVERHEAD_BYTES = 64 * 1024**2  # what a qcow2 image has beside its data, and a little more
OVERHEAD_SHARE = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds of the clock and of the CPU, and the most bytes of a file."""

    seconds: float
    file_bytes: int


class QemuImgFailed(Exception):
    """qemu-img refused the image, or did not end within its bounds. ``detail`` is for the log."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


def check(path: Path, *, bounds: Bounds) -> None:
    """Raise ``QemuImgFailed`` for a qcow2 image whose parts are not where it says: one that was cut off, say."""
    done = _run(["check", "-q", "-f", "qcow2", str(path)], bounds=bounds)
    if done.returncode not in SOUND:
        raise QemuImgFailed(f"check ended with {done.returncode}: {_tail(done.stderr)}")


def convert(source: Path, *, said: str, target: Path, bounds: Bounds) -> None:
    """Make a plain qcow2 image of ``source``, which is of the format ``said``. Whole or not there: a torso is never ``target``.

    Each try writes a file of its own, for the child of a worker that was killed may still be at it for a moment.
    """
    for torso in target.parent.glob(f"{target.stem}.*.part"):
        torso.unlink(missing_ok=True)
    part = target.with_name(f"{target.stem}.{uuid4().hex}.part")
    try:
        done = _run(["convert", "-f", said, "-O", "qcow2", str(source), str(part)], bounds=bounds)
        if done.returncode != 0:
            raise QemuImgFailed(f"convert ended with {done.returncode}: {_tail(done.stderr)}")
        part.chmod(0o600)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def overlay(path: Path, *, over: Path, bounds: Bounds) -> None:
    """Make a qcow2 image that lies over another one, which is never written then. It forgets single blocks of a file system."""
    layout = ["-o", f"cluster_size={BLOCK_BYTES}", "-b", str(over), "-F", "qcow2"]
    done = _run(["create", "-q", "-f", "qcow2", *layout, str(path)], bounds=bounds)
    if done.returncode != 0:
        raise QemuImgFailed(f"create ended with {done.returncode}: {_tail(done.stderr)}")


def most_bytes(virtual_bytes: int) -> int:
    """The most bytes that a qcow2 image of a disk of this size can have."""
    return virtual_bytes + virtual_bytes // OVERHEAD_SHARE + OVERHEAD_BYTES


def _run(arguments: list[str], *, bounds: Bounds) -> subprocess.CompletedProcess[bytes]:
    limits = [f"--as={MEMORY_BYTES}", f"--cpu={int(bounds.seconds)}", f"--fsize={bounds.file_bytes}", "--core=0"]
    # The child dies with the worker that waits for it.
    command = ["setpriv", "--pdeathsig", "KILL", "prlimit", *limits, "nice", "-n", "10", "qemu-img", *arguments]
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=bounds.seconds,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"} | ONE_ARENA,
            umask=0o077,
        )
    except subprocess.TimeoutExpired as error:
        raise QemuImgFailed(f"{arguments[0]} took longer than {bounds.seconds:.0f} s") from error
    except OSError as error:
        raise QemuImgFailed(f"{arguments[0]} cannot be run: {error}") from error


def _tail(stderr: bytes) -> str:
    return stderr[-300:].decode(errors="replace")
