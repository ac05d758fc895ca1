"""Which processes are ours, by facts of /proc: a process id alone never is proof, for the kernel gives it out again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Carried in the environment of everything we start, and inherited by what that starts; its value is random.
MARK: Final = "STEGI_RUN"


@dataclass(frozen=True)
class Identity:
    """One process for all time on this boot: its id and its start, in clock ticks since the boot."""

    pid: int
    started: int


def boot() -> str:
    """The kernel's name for the present boot: start times of another one mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """The living process that has this id now; None when there is none, or only its remains (a zombie)."""
    fields = _stat(pid)
    return Identity(pid, int(fields[19])) if fields and fields[0] not in "ZX" else None


def lives(identity: Identity) -> bool:
    return identify(identity.pid) == identity


def marked(mark: str, *, group: int | None = None) -> list[Identity]:
    """Living processes that carry our mark; with `group` only those of that process group."""
    needle = f"{MARK}={mark}".encode()
    found = (identify(pid) for pid in _pids() if _carries(pid, needle) and group in {None, _group(pid)})
    return [identity for identity in found if identity and identity.pid != os.getpid()]


def send(identity: Identity, number: signal.Signals) -> None:
    """Signals this process and no other: the handle is opened first and the start compared after."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(identity.pid)
        try:
            if lives(identity):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def end(identities: Iterable[Identity], *, grace: float) -> None:
    """SIGTERM, up to `grace` seconds of patience, then SIGKILL; returns when all are gone."""
    wanted = list(identities)
    for identity in wanted:
        send(identity, signal.SIGTERM)
    if not wait_gone(wanted, seconds=grace):
        for identity in wanted:
            send(identity, signal.SIGKILL)
        wait_gone(wanted, seconds=5)


def wait_gone(identities: Iterable[Identity], *, seconds: float) -> bool:
    """Whether all of them were gone within this time."""
    left, until = list(identities), time.monotonic() + seconds
    while left := [identity for identity in left if lives(identity)]:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _carries(pid: int, needle: bytes) -> bool:
    try:
        return needle in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _group(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def _stat(pid: int) -> list[str]:
    """Fields of proc(5) stat after the name, which may hold blanks and brackets: state, parent, group, ..."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
