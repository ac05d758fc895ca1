"""Runs one command in namespaces of its own, so that whatever it starts stays in there and ends with it.

usage (as root): namespace.py COMMAND [ARGUMENT...]

Inside: a network with nothing but its own loopback, private /run, /var/lib/libvirt, /var/cache/libvirt,
/var/log/libvirt and /etc/libvirt (a copy), and process numbers of its own. `qemu:///system` is therefore whatever the
command starts there, never the machine's own libvirtd, and the kernel ends every process of the lab, guests included,
when the command has ended. Standard library only: it runs under Debian's Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# On a disk, for QEMU cannot open files of a tmpfs past the page cache (O_DIRECT).
LABS: Final = Path("/var/tmp")
PREFIX: Final = "stegi-lab-"
SHORT: Final = Path("/run/lab")
LIBVIRT_FOLDERS: Final = ("/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/etc/libvirt")
# Both would reach past the namespaces: control groups and AppArmor profiles belong to the whole machine, and the names
# of guests in them would collide with those of the machine's own libvirtd.
QEMU_SETTINGS: Final = '\ncgroup_controllers = [ ]\nsecurity_driver = "none"\n'
# What is there on the machine's own libvirt, and started with it: machines, networks, pools. In the lab they are not.
THERE: Final = ("qemu/**/*.xml", "storage/**/*.xml")
# Files a command run through sudo leaves in the checkout; they go back to who called.
LEFTOVERS: Final = (".pytest_cache", ".hypothesis", "test-output", ".coverage", ".state/cache/migrated")

# linux/sched.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x20000000,
    0x40000000,
)
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h


def main(command: Sequence[str]) -> int:
    if os.geteuid() != 0:
        print("lab: namespaces need root -> run bin/test as root or with sudo", file=sys.stderr)
        return 1
    _remove_stale_labs()
    folder, handle = _own_folder()
    try:
        return _run_inside(folder, command)
    finally:
        _give_back_leftovers()
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


# --- outside


def _own_folder() -> tuple[Path, int]:
    """A lab's folder, held before it has the name by which others find it: they start at the same moment, too."""
    made = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=LABS))
    made.chmod(0o755)
    handle = _hold(made)
    return made.rename(made.with_name(made.name.removeprefix("new-"))), handle


def _hold(folder: Path) -> int:
    """Locks a lab's folder for as long as this process lives, and tells later runs that it does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    return handle


def _remove_stale_labs() -> None:
    """What a run that was killed left on disk. Its processes are gone: the kernel saw to that."""
    for folder in LABS.glob(f"{PREFIX}*"):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == 0:
            try:
                handle = _hold(folder)
            except OSError:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _run_inside(folder: Path, command: Sequence[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        print(f"lab: no namespaces of its own ({reason}) -> run bin/test where root may make them", file=sys.stderr)
        return 1
    parent = os.getpid()
    first = os.fork()
    if first == 0:
        os._exit(_first_process(libc, folder, command, parent))
    # The terminal's Ctrl-C reaches the command by itself; this process must outlive it to clean up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _frame: _hand_on(first, number))
    return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])


def _give_back_leftovers() -> None:
    caller = os.environ.get("SUDO_UID", "0")
    found = [name for name in LEFTOVERS if Path(name).exists()]
    if caller != "0" and found:
        subprocess.run(
            ["chown", "-R", f"{caller}:{os.environ.get('SUDO_GID', caller)}", *found], check=False, timeout=60
        )


# --- inside


def _first_process(libc: ctypes.CDLL, folder: Path, command: Sequence[str], parent: int) -> int:
    """The namespace's process 1: makes the room, runs the command, buries orphans. When it ends, all in there end."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in {0, parent}:
        return 1  # the parent was gone before it could be watched
    try:
        _make_room(folder)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"lab: cannot make its room ({error}) -> see that root may mount here", file=sys.stderr)
        return 1
    return _run_and_reap(folder, command)


def _make_room(folder: Path) -> None:
    _mount("--make-rprivate", "/")
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "sysfs", "sysfs", "/sys")  # /sys/class/net shows the network of whoever mounted it
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    _short_paths(folder)
    for target in map(Path, LIBVIRT_FOLDERS):
        _privately(target, folder / target.relative_to("/").as_posix().replace("/", "-"))
    _loopback_up()


def _short_paths(folder: Path) -> None:
    """The lab's folder again as /run/lab: the address of a unix socket holds 107 bytes, tests nest folders deeply."""
    for path, mode in (("/run/lock", 0o1777), (str(SHORT), 0o755)):
        Path(path).mkdir()
        Path(path).chmod(mode)
    _mount("--bind", str(folder), str(SHORT))
    (SHORT / "tmp").mkdir()
    (SHORT / "tmp").chmod(0o1777)


def _privately(target: Path, own: Path) -> None:
    """Covers a folder of the machine by one of the lab's; only /etc/libvirt begins as a copy, of settings alone."""
    if target.is_relative_to("/etc") and target.is_dir():
        subprocess.run(["cp", "-a", str(target), str(own)], check=True, timeout=60)
        with (own / "qemu.conf").open("a") as settings:
            settings.write(QEMU_SETTINGS)
        for described in [path for pattern in THERE for path in own.glob(pattern)]:
            described.unlink()
    else:
        own.mkdir(mode=0o755)
    if target.is_dir():  # absent where libvirt is not installed, and then nothing writes there
        _mount("--bind", str(own), str(target))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise OSError(done.stderr.strip() or f"mount {' '.join(arguments)} failed")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _run_and_reap(folder: Path, command: Sequence[str]) -> int:
    """A guest's QEMU is an orphan by design: unburied, libvirt would take its zombie for a guest that won't end."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    try:
        child = subprocess.Popen(command, env=environment | _told_of(folder))
    except OSError as error:
        print(f"lab: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _frame: _hand_on(child.pid, number))
    while True:
        ended, status = os.wait()
        if ended == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _told_of(folder: Path) -> dict[str, str]:
    """The lab's folder by its short name, and by the one that it has in labs within the lab, too."""
    return {"STEGI_LAB": str(SHORT), "STEGI_LAB_FOLDER": str(folder), "TMPDIR": str(SHORT / "tmp")}


def _hand_on(child: int, number: int) -> None:
    """Not by Popen, which buries a child that it finds dead: whoever waits for its end would then wait in vain."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
