"""The install step that bin/up and bin/test share: Debian packages, `.venv`, browser libraries.

Standard library only, because it runs before anything is installed. Every function looks before it acts, so that a
second start costs well under a second, and raises InstallError: one line saying what failed and what to do about it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PACKAGE_LISTS: Final = REPOSITORY / "deploy" / "packages"
REQUIREMENTS: Final = REPOSITORY / "deploy" / "requirements"
VENV: Final = REPOSITORY / ".venv"
VENV_PYTHON: Final = VENV / "bin" / "python"
BROWSER_LIBRARIES: Final = REPOSITORY / "static"
SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
POLICY: Final = Path("/usr/sbin/policy-rc.d")
# How invoke-rc.d is told "no" (exit 101, Debian's policy-rc.d contract); the second line lets a later run know a
# file that a killed one left behind.
POLICY_MARK: Final = "put here by the install step of Stegi, and removed when it ends"
POLICY_TEXT: Final = f"#!/bin/sh\n# {POLICY_MARK}\nexit 101\n"
# Programs we start ourselves, or that come along with others. Freshly installed they must not come up at the machine's next boot either.
PROGRAMS_ONLY: Final = {
    "dmeventd": ("dm-event.socket",),
    "lvm2": ("blk-availability.service", "lvm2-lvmpolld.socket", "lvm2-monitor.service"),
    "mdadm": ("mdadm-shutdown.service",),
    "openssh-server": ("ssh.service",),
    "postgresql": ("postgresql.service",),
    "redis-server": ("redis-server.service",),
    "samba": ("smbd.service", "nmbd.service", "samba-ad-dc.service"),
    "slapd": ("slapd.service",),
    "tgt": ("tgt.service",),
    "uuid-runtime": ("uuidd.socket",),
    "winbind": ("winbind.service",),
}
KVM: Final = Path("/dev/kvm")
MODULES: Final = Path("/lib/modules")
OLDEST_NODE: Final = 18
APT_SECONDS: Final = 1800
PIP_SECONDS: Final = 1800
NPM_SECONDS: Final = 900
LOCK_SECONDS: Final = 600
APT_OPTIONS: Final = (
    "-q",
    "-y",
    "-o=DPkg::Lock::Timeout=300",
    "-o=Dpkg::Use-Pty=0",
    "-o=Acquire::Retries=3",
    "-o=Dpkg::Options::=--force-confdef",
    "-o=Dpkg::Options::=--force-confold",
)


class InstallError(Exception):
    """Something could not be installed. `what` happened and the `remedy`, both fit for one printed line."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} -> {remedy}")
        self.what = what
        self.remedy = remedy


def say(line: str) -> None:
    """Prints one line of progress at once."""
    print(f"install: {line}", flush=True)


def install(*, packages: Sequence[str], locks: Sequence[str], browser_libraries: bool = True) -> Path:
    """Installs all that is missing and returns the virtual environment's Python.

    `packages` names lists of deploy/packages (`"base"`, `"run"`), `locks` lock files of deploy/requirements.
    """
    with _alone(REPOSITORY):
        install_packages(*packages)
        if "run" in packages:
            open_kvm()
        if "seal" in packages and not MODULES.exists():  # supermin looks there, though it is told of a kernel elsewhere
            _logged(as_root(["mkdir", "-p", str(MODULES)]), seconds=60)
        if browser_libraries and not _node_is_there():
            install_packages("node")
        python = install_python(*locks)
        if browser_libraries:
            install_browser_libraries()
    return python


# --- Debian packages


def install_packages(*lists: str) -> list[str]:
    """Installs the missing Debian packages of these lists without starting a service; returns what was missing."""
    missing = missing_packages(wanted_packages(*lists))
    if missing:
        say(f"{len(missing)} Debian packages: {_shortened(missing)}")
        lacking = missing_packages(list(PROGRAMS_ONLY))
        with _alone(Path("/var/lib/dpkg")), _no_service_starts():
            _apt_install(missing)
        still = missing_packages(lacking) if lacking else []
        _disable_at_boot([name for name in lacking if name not in still])
    return missing


def open_kvm() -> None:
    """Gives /dev/kvm the group and mode of Debian's udev rule, on machines (containers, mostly) without a udev.

    libvirt finds KVM as root, sees that its QEMU user may not open it, takes what it knows of QEMU for outdated, and asks
    QEMU anew at every look: 17 times 0.6 s for one start of a guest (libvirt 9.0).
    """
    if not KVM.exists() or KVM.stat().st_mode & 0o060 == 0o060:
        return
    done = _logged(as_root(["sh", "-c", 'chgrp kvm "$1" && chmod 660 "$1"', "sh", str(KVM)]), seconds=60)
    if done.returncode != 0:
        say(f"{KVM} stays closed to libvirt's QEMU, which makes libvirt slow: {_telling_line(done.stdout)}")


def wanted_packages(*lists: str) -> list[str]:
    """The package names of deploy/packages/<list>.txt, comments left out, each once."""
    names: dict[str, None] = {}
    for name in lists:
        path = PACKAGE_LISTS / f"{name}.txt"
        if not path.is_file():
            raise InstallError(f"there is no list of packages {path}", "restore it from the repository")
        lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
        names.update(dict.fromkeys(line for line in lines if line))
    return list(names)


def missing_packages(wanted: Sequence[str]) -> list[str]:
    """Those of the wanted packages that dpkg does not report as installed."""
    if not shutil.which("dpkg-query"):
        raise InstallError("this is not Debian (no dpkg-query)", "run it on Debian 12")
    query = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *wanted]
    found = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60).stdout
    there = {line.split()[0] for line in found.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in there]


def as_root(command: Sequence[str]) -> list[str]:
    """The command as root: unchanged for root, else through sudo, which asks only where somebody can answer."""
    if os.geteuid() == 0:
        return list(command)
    if not shutil.which("sudo"):
        raise InstallError("this needs root and there is no sudo", "run it as root")
    return ["sudo", *([] if sys.stdin.isatty() else ["-n"]), *command]


def _apt_install(missing: Sequence[str]) -> None:
    """First with the lists at hand; when they lack a package or its file has moved on, with fresh lists."""
    command = ["install", "--no-install-recommends", *missing]
    if _apt(*command).returncode == 0:
        return
    say("refreshing Debian's package lists")
    for answer in (_apt_update(), _apt(*command)):
        if answer.returncode != 0:
            raise InstallError(
                f"apt-get failed: {_telling_line(answer.stdout)}",
                "see that the machine is Debian 12 (bookworm), that its mirror is in reach and that root or sudo may install; "
                f"the whole output is in {_log_path()}",
            )


def _apt_update() -> subprocess.CompletedProcess[str]:
    """apt waits for dpkg's lock but not for that of the package lists, so the waiting is ours."""
    answer = _apt("update")
    until = time.monotonic() + LOCK_SECONDS
    while answer.returncode != 0 and "Could not get lock" in answer.stdout and time.monotonic() < until:
        time.sleep(3)
        answer = _apt("update")
    return answer


def _apt(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C.UTF-8"]
    return _logged(as_root([*environment, "apt-get", *APT_OPTIONS, *arguments]), seconds=APT_SECONDS)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """No package starts a service meanwhile. A policy that is already there is the administrator's and stays."""
    if POLICY.exists() and POLICY_MARK not in POLICY.read_text(errors="replace"):
        yield
        return
    _root_does(["sh", "-c", 'printf "%s" "$1" >"$2" && chmod 755 "$2"', "sh", POLICY_TEXT, str(POLICY)])
    try:
        yield
    finally:
        _root_does(["rm", "-f", str(POLICY)])


def _disable_at_boot(installed: Sequence[str]) -> None:
    """On a machine with systemd a package enables its service for the next boot, whatever the policy said today."""
    units = [unit for package, its in PROGRAMS_ONLY.items() if package in installed for unit in its]
    if units and shutil.which("systemctl"):
        _logged(as_root(["systemctl", "disable", "--quiet", *units]), seconds=60)


def _root_does(command: Sequence[str]) -> None:
    answer = _logged(as_root(command), seconds=60)
    if answer.returncode != 0:
        raise InstallError(
            f"{POLICY} cannot be written: {_telling_line(answer.stdout)}", "run this as root or with sudo"
        )


# --- Python


def install_python(*locks: str) -> Path:
    """Makes `.venv` from Debian's Python and brings it to these lock files; returns its Python."""
    stamp = VENV / "locks.json"
    known = _read_stamp(stamp) if _venv_works() else {}
    wanted = {lock: _digest(REQUIREMENTS / f"{lock}.txt") for lock in locks}
    if not _venv_works():
        _make_venv()
    if any(known.get(lock) != digest for lock, digest in wanted.items()):
        _pip_install(list(wanted))
        stamp.write_text(json.dumps({**known, **wanted}, indent=1) + "\n")
    return VENV_PYTHON


def _venv_works() -> bool:
    """A virtual environment dies with the Python it was made from; asking it is the only sure test."""
    if not VENV_PYTHON.exists():
        return False
    question = [str(VENV_PYTHON), "-c", "import sys; print(*sys.version_info[:2])"]
    asked = subprocess.run(question, capture_output=True, text=True, check=False, timeout=60)
    mine = subprocess.run([str(SYSTEM_PYTHON), *question[1:]], capture_output=True, text=True, check=False, timeout=60)
    return asked.returncode == 0 and asked.stdout == mine.stdout


def _make_venv() -> None:
    say("making .venv")
    made = _logged([str(SYSTEM_PYTHON), "-m", "venv", "--clear", str(VENV.resolve())], seconds=300)
    if made.returncode != 0:
        raise InstallError(
            f".venv cannot be made: {_telling_line(made.stdout)}", f"see {_log_path()} and that {VENV} is writable"
        )


def _pip_install(locks: Sequence[str]) -> None:
    say(f"Python packages of {', '.join(f'{lock}.txt' for lock in locks)}")
    files = [argument for lock in locks for argument in ("-r", str(REQUIREMENTS / f"{lock}.txt"))]
    options = ["--require-hashes", "--no-input", "--disable-pip-version-check", "--retries=5", "--timeout=60"]
    # A wheel built here bears other hashes than the lock's, and pip would choose it and then refuse it.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    command = [str(VENV_PYTHON), "-m", "pip", "install", "-q", *options, *files]
    done = _logged(command, seconds=PIP_SECONDS, environment=environment)
    if done.returncode != 0:
        raise InstallError(
            f"pip failed: {_telling_line(done.stdout)}",
            f"see that the Python package index is in reach and try again; the whole output is in {_log_path()}",
        )


# --- the browser libraries


def install_browser_libraries() -> None:
    """Brings static/node_modules to static/package-lock.json; nothing where there is no lock or nothing changed."""
    lock = BROWSER_LIBRARIES / "package-lock.json"
    stamp = BROWSER_LIBRARIES / "node_modules" / ".lock.json"
    if not lock.is_file() or _read_stamp(stamp).get("npm") == _digest(lock):
        return
    say("browser libraries of package-lock.json")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = _logged(command, seconds=NPM_SECONDS, folder=BROWSER_LIBRARIES)
    if done.returncode != 0:
        raise InstallError(
            f"npm failed: {_telling_line(done.stdout)}",
            f"see that the npm registry is in reach and try again; the whole output is in {_log_path()}",
        )
    stamp.write_text(json.dumps({"npm": _digest(lock)}) + "\n")


def _node_is_there() -> bool:
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    answer = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    found = re.match(r"v(\d+)\.", answer)
    return found is not None and int(found[1]) >= OLDEST_NODE


# --- running and remembering


def _logged(
    command: Sequence[str], *, seconds: int, folder: Path = REPOSITORY, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command without a terminal, output kept in the log; a missing program or a time-out is a failed run."""
    try:
        answer = subprocess.run(
            list(command), cwd=folder, env=environment, stdin=_asking(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False, timeout=seconds,
        )  # fmt: skip
    except FileNotFoundError:
        answer = subprocess.CompletedProcess(list(command), 127, f"{command[0]}: no such program")
    except subprocess.TimeoutExpired:
        answer = subprocess.CompletedProcess(list(command), 124, f"{command[0]} took longer than {seconds} s")
    with _log_path().open("a") as log:
        log.write(f"$ {' '.join(command)}\n{answer.stdout}\n[{answer.returncode}]\n")
    return answer


def _asking(command: Sequence[str]) -> int | None:
    """sudo may ask for a password where somebody sits; nothing else gets to read the terminal."""
    return None if command[0] == "sudo" and "-n" not in command[:2] else subprocess.DEVNULL


def _log_path() -> Path:
    folder = REPOSITORY / ".state"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / "install.log"


def _telling_line(output: str) -> str:
    """The line of a failed program's output that says most: its last error, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.match(r"(E:|ERROR|error|npm ERR!|npm error)", line) and not line.endswith("ERR!")
    ]
    return ((errors or lines or ["it said nothing"])[-1])[:300]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One installer at a time: a lock on the folder itself, which needs no file, no right to write, and ends with us."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait_for(lambda: _try_lock(handle), f"another install step holds {folder}")
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(ready: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LOCK_SECONDS
    told = False
    while not ready():
        if time.monotonic() > until:
            raise InstallError(what, "wait for it to end, or end it, and try again")
        if not told:
            say(f"{what}, waiting")
        told = True
        time.sleep(0.5)


def _read_stamp(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InstallError(f"{path} cannot be read ({error.strerror})", "restore it from the repository") from error


def _shortened(names: Sequence[str]) -> str:
    return " ".join(names[:6]) + (" ..." if len(names) > 6 else "")


def main(arguments: Sequence[str]) -> int:
    """`install.py [LIST...]`: installs these package lists with the matching locks; for image builds and by hand."""
    lists = list(arguments) or ["base", "run"]
    try:
        install(packages=lists, locks=["base", "test"] if "test" in lists else ["base"])
    except InstallError as error:
        print(f"install: FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
