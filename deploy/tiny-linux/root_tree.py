"""The guest's root folder: our few files, Debian's programs with exactly the libraries they ask for, busybox's names."""

import re
import shutil
from pathlib import Path

from failures import BuildError
from tools import run

OURS = Path(__file__).resolve().parent / "root"
BUSYBOX = "bin/busybox"
LOADER = "lib64/ld-linux-x86-64.so.2"
# Debian searches the first two; the loader itself is asked, so no list of libraries is kept here.
LIBRARY_FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
PROGRAMS = ("usr/sbin/dropbear", "usr/bin/dropbearkey", "usr/bin/dbclient", "usr/sbin/qemu-ga", "sbin/resize2fs")
EMPTY_FOLDERS = ("dev", "home", "mnt", "proc", "root", "run", "sys", "tmp", "var/lib/tiny", "var/log", "etc/dropbear")
LINKS = {
    "sbin/shutdown": "/lib/tiny/shutdown",
    "usr/bin/ssh": "dbclient",
    "var/run": "/run",
    "etc/mtab": "/proc/mounts",
}
# What differs from 0755 for folders and programs, 0644 for the rest.
MODES = {"root": 0o700, "etc/shadow": 0o600}


def fill(folder: Path, tree: Path) -> None:
    """Put the guest's root together in `folder` from the unpacked packages in `tree`."""
    shutil.copytree(OURS, folder)
    for name in EMPTY_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in (BUSYBOX, LOADER, *PROGRAMS):
        _copy(tree / name, folder / name)
    for library in _libraries(tree):
        _copy(library, folder / LIBRARY_FOLDERS[0] / library.name)
    for name, target in LINKS.items():
        _link(folder / name, target)
    for name in busybox_names(tree):
        _link(folder / name, f"/{BUSYBOX}")
    for path in (folder, *folder.rglob("*")):
        _set_mode(path, str(path.relative_to(folder)))


def busybox_names(tree: Path) -> list[str]:
    """Where busybox wants its programs to be found, such as `bin/ls`; relative to the root."""
    said = run([tree / BUSYBOX, "--list-full"], remedy="the builder runs on amd64 only")
    return sorted(set(said.split()) - {BUSYBOX})


def _libraries(tree: Path) -> set[Path]:
    path = ":".join(str(tree / name) for name in LIBRARY_FOLDERS)
    found: set[Path] = set()
    for program in PROGRAMS:
        said = run(
            [tree / LOADER, "--library-path", path, "--list", tree / program], remedy="the builder runs on amd64 only"
        )
        if missing := re.search(r"(\S+) => not found", said):
            raise BuildError(
                f"no package brought {missing[1]} for {program}", "remove the cache folder, then build again"
            )
        found |= {Path(name) for name in re.findall(r"=> (/\S+)", said)}
    return {library for library in found if library.name != Path(LOADER).name}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _link(path: Path, target: str) -> None:
    # What stands there already is the real program, which busybox must not hide.
    if not (path.exists() or path.is_symlink()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def _set_mode(path: Path, name: str) -> None:
    # Not taken from the checkout, whose modes follow the umask of whoever cloned it.
    if not path.is_symlink():
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(MODES.get(name, 0o755 if runs else 0o644))
