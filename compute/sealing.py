"""Sealing a disk: what is taken out of it, and whether this machine can do that.

virt-sysprep works on a private copy. Deleting a file leaves its bytes on the disk, so the free space is forgotten afterwards.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from compute import guestfs, spool
from compute.guestfs import LINUX, GuestfsFailed, LeftOut, NoSystem, Room, Stopped

log = logging.getLogger(__name__)

KVM = Path("/dev/kvm")
KVM_SECONDS, TRY_SECONDS = (
    60.0,
    240.0,
)  # a KVM that does not work may hang; emulation is slow, and the first try makes the machine
SEAL_SECONDS = 3600.0
WAIT_SECONDS = 1.0  # between two looks whether another process still tries
OFF, FAILS = "sealing_off", "sealing_fails"
BOOT, MODULES = Path("/boot"), Path("/lib/modules")


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is taken out: by operations of virt-sysprep's, and as files that it deletes or empties by name.

    An operation goes on where a file cannot be removed; a delete by name is an error then. So what is secret is named too.
    """

    text: str | Promise
    operations: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()


# Nothing that makes a system work as its makers set it up: users, passwords, programs, their settings and timers stay.
PARTS = (
    Part(_("SSH host keys"), ("ssh-hostkeys",), ("/etc/ssh/*_host_*", "/etc/dropbear/dropbear_*_host_key")),
    Part(
        _("The SSH keys of its users in /root, /home and /var/lib, those that let them in and their own"),
        ("ssh-userdir",),
        ("/{root,home/*,var/lib/*}/.ssh",),
    ),
    # virt-sysprep's last operation writes a new id where there is none, which all its machines would have.
    Part(
        _("The machine id, and the seed of random numbers"),
        ("machine-id",),
        ("/var/lib/systemd/random-seed",),
        ("/etc/machine-id",),
    ),
    Part(
        _("Logs, reports of crashes, and who was logged in"),
        ("logfiles", "abrt-data", "crash-data", "pacct-log", "utmp"),
    ),
    Part(
        _("What cloud-init has done: it begins anew"),
        (),
        ("/var/lib/cloud/instance*", "/var/lib/cloud/{data,sem,seed}"),
    ),
    Part(
        _("DHCP leases, and what ties it to its network cards"),
        ("dhcp-client-state", "dhcp-server-state", "udev-persistent-net", "net-hostname", "net-hwaddr"),
    ),
    Part(
        _("Histories in /root and /home (files named .*_history), mail, temporary files"),
        ("bash-history", "mail-spool", "tmp-files"),
        ("/{root,home/*}/.*_history",),
    ),
    Part(_("Old copies of the files of passwords"), ("passwd-backups",)),
    Part(
        _("Kerberos keys of the machine, and its registrations with vendors"),
        ("kerberos-hostkeytab", "rh-subscription-manager", "rhn-systemid", "yum-uuid"),
        ("/etc/krb5.keytab",),
    ),
)


class SealRefused(Exception):
    """A disk cannot be sealed; ``code`` is "unknown_system", "not_linux", "left_out" or "failed"."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(code)


def arguments() -> list[str]:
    """What virt-sysprep is told, all of it by name: what another version does unasked is not done."""
    operations = [name for part in PARTS for name in part.operations]
    files = [f"--delete={name}" for part in PARTS for name in part.files]
    emptied = [f"--write={name}:" for part in PARTS for name in part.emptied]
    return ["--operations", ",".join([*operations, "customize"]), *files, *emptied]


def seal(image: Path, *, room: Room, report: Callable[[int], None]) -> None:
    """Seal a qcow2 image in place; ``report`` is told how far that is in percent.

    Raises ``SealRefused`` for a disk without a Linux system that libguestfs knows, and for a damaged one; ``Stopped``.
    """
    try:
        report(10)
        found = guestfs.sysprep(image, arguments(), room)
        if found != {LINUX}:
            raise SealRefused("not_linux", ", ".join(sorted(found)))
        report(60)
        guestfs.forget_free_space(image, room)
        report(90)
    except NoSystem as error:
        raise SealRefused("unknown_system", error.detail) from error
    except LeftOut as error:
        raise SealRefused("left_out", error.detail) from error
    except GuestfsFailed as error:
        raise SealRefused("failed", error.detail) from error


# -- whether it can be done here: codes of ``diagnosis.FOUND``, empty where it can


def lacking() -> str:
    """What is plainly missing, or what the last try found; empty too where nobody has tried yet. Costs next to nothing."""
    if not settings.SYSPREP_FOLDER:
        return OFF
    if not all(os.access(program, os.X_OK) for program in _programs()):
        return "sealing_programs_missing"
    if not any(os.access(kernel, os.R_OK) for kernel in _kernels()):
        return "sealing_kernel_missing"
    return _remembered() or ""


def tried(go_on: Callable[[], bool] = lambda: True, *, anew: bool = False) -> str:
    """The same for certain: libguestfs' machine is started once, and again only when something here has changed, or ``anew``.

    One process tries at a time, and whoever waited for it takes what it found. Where nothing can be written here it fails, and nothing
    is remembered of that. Raises ``Stopped``.
    """
    found = lacking()
    if found not in {"", FAILS} or (not anew and _remembered() is not None):
        return found
    try:
        before = _read_note().get("try")
        with _alone(go_on):
            if _remembered() is None or (anew and _read_note().get("try") == before):
                _try_out(go_on)
        return _remembered() or ""
    except OSError as error:
        log.warning("sealing cannot be tried: %s", error)
        return FAILS


@contextmanager
def _alone(go_on: Callable[[], bool]) -> Iterator[None]:
    """While no other process tries. The kernel gives the lock back when its holder dies."""
    handle = os.open(
        guestfs.machine_folder() / "try.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        while not _has_locked(handle):
            if not go_on():
                raise Stopped
            time.sleep(WAIT_SECONDS)
        yield
    finally:
        os.close(handle)


def _has_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_out(go_on: Callable[[], bool]) -> None:
    for is_emulated in _ways():
        with spool.work(uuid4()) as folder:
            seconds = TRY_SECONDS if is_emulated else KVM_SECONDS
            try:
                guestfs.try_out(Room(folder, seconds, go_on=go_on, is_emulated=is_emulated))
            except GuestfsFailed as error:
                log.warning("sealing does not work %s KVM: %s", "without" if is_emulated else "with", error.detail)
            else:
                remember("", is_emulated=is_emulated)
                return
    remember(FAILS)


def _ways() -> tuple[bool, ...]:
    """Whether to emulate, in the order in which that is tried."""
    has_kvm = not settings.SYSPREP_EMULATED and os.access(KVM, os.R_OK | os.W_OK)
    return (False, True) if has_kvm else (True,)


def _programs() -> list[Path]:
    return [Path(settings.SYSPREP_FOLDER) / name for name in guestfs.PROGRAMS]


def _kernels() -> Iterator[Path]:
    """Those that the machine could be made with; each needs its modules."""
    if settings.SYSPREP_KERNEL:
        yield Path(settings.SYSPREP_KERNEL)
        return
    for kernel in sorted(BOOT.glob("vmlinuz-*")):
        if os.access(MODULES / kernel.name.removeprefix("vmlinuz-"), os.R_OK | os.X_OK):
            yield kernel


def _note() -> Path:
    return guestfs.machine_folder() / "tried.json"


def _now() -> list[str]:
    """What a try depends on: another of it, another try."""
    files = [f"{path} {path.stat().st_mtime_ns}" for path in [*_programs(), *_kernels()] if path.exists()]
    return [*files, settings.SYSPREP_MODULES, str(settings.SYSPREP_EMULATED)]


def _read_note() -> dict[str, object]:
    """What the last try left; empty before it, and when something has changed since."""
    try:
        note = json.loads(_note().read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and note.get("of") == _now() else {}


def _remembered() -> str | None:
    """What the last try found; None before it."""
    note = _read_note()
    return str(note["found"]) if "found" in note else None


def is_emulated() -> bool:
    """Whether it works without KVM alone, as the last try found."""
    return bool(_read_note().get("is_emulated"))


def remember(found: str, *, is_emulated: bool = False) -> None:
    """Keep what a try with what is here now has found."""
    with spool.part_of(_note()) as part:
        part.write_text(json.dumps({"of": _now(), "found": found, "is_emulated": is_emulated, "try": uuid4().hex}))
        part.replace(_note())
