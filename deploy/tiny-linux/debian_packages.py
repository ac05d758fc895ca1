"""Debian's packages in a cache folder: downloaded and unpacked, never installed; a full cache needs no network."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from failures import BuildError
from tools import run

KERNEL = "linux-image-cloud-amd64"
PROGRAMS = ("busybox-static", "dropbear-bin", "e2fsprogs", "qemu-guest-agent")
NETWORK_REMEDY = "is a Debian mirror reachable? see /etc/apt/sources.list"
Say = Callable[[str], None]
Graph = dict[str, list[str]]


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the cache: two builds at once would unpack over each other."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as handle:
        flock(handle, LOCK_EX)
        yield


def fill(cache: Path, say: Say) -> list[Path]:
    """Return the package files of the cache, downloading them all if one is missing or damaged."""
    kept = _kept(cache)
    if kept is not None:
        say(f"packages: {len(kept)} in the cache {cache}")
        return kept
    say("packages: downloading")
    fresh = cache / "download"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    _download(fresh, cache / "apt", say)
    return _adopt(cache, fresh)


def unpack(cache: Path, packages: Iterable[Path], say: Say) -> Path:
    """Unpack the packages into one tree, once for each set of packages, and return its folder."""
    names = " ".join(sorted(path.name for path in packages))
    tree = cache / f"tree-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
    if not tree.exists():
        say("packages: unpacking")
        for old in cache.glob("tree-*"):
            shutil.rmtree(old)
        half = cache / "tree-half"
        for path in packages:
            run(["dpkg-deb", "-x", path, half], remedy=f"rm -r {cache}, then build again")
        half.rename(tree)
    return tree


def _kept(cache: Path) -> list[Path] | None:
    try:
        sums: dict[str, str] = json.loads((cache / "packages.json").read_text())
        whole = all(_sha256(cache / "packages" / name) == digest for name, digest in sums.items())
    except (OSError, ValueError):
        return None
    return [cache / "packages" / name for name in sorted(sums)] if whole and sums else None


def _adopt(cache: Path, fresh: Path) -> list[Path]:
    folder = cache / "packages"
    # The list goes first and comes back last, so that a cache cut off half-way never looks full.
    (cache / "packages.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    files = sorted(folder.glob("*.deb"))
    (cache / "packages.json").write_text(json.dumps({path.name: _sha256(path) for path in files}, indent=1))
    return files


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _download(folder: Path, private: Path, say: Say) -> None:
    try:
        _download_listed(folder, [])
    except BuildError:
        # No package lists on this machine, or lists so old that the mirror dropped the files: fetch lists of our own.
        say("packages: this machine's package lists do not do, fetching the present ones")
        options = _private_lists(private)
        for half in folder.glob("*.deb"):
            half.unlink()
        # Without Error-Mode, apt-get takes an unreachable mirror for a success.
        run(["apt-get", *options, "-oAPT::Update::Error-Mode=any", "update"], remedy=NETWORK_REMEDY, seconds=300)
        _download_listed(folder, options)
        shutil.rmtree(private)


def _private_lists(folder: Path) -> list[str]:
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    places = {"Dir::State::lists": "lists", "Dir::Cache::archives": "archives"}
    caches = {"Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": ""}
    return [f"-o{key}={folder / name}" for key, name in places.items()] + [
        f"-o{key}={name}" for key, name in caches.items()
    ]


def _download_listed(folder: Path, options: list[str]) -> None:
    # apt's own user may not enter a private cache folder, hence root's sandbox for a root's build.
    sandbox = ["-oAPT::Sandbox::User=root"] if os.geteuid() == 0 else []
    names = _wanted(_graph(options))
    run(["apt-get", *options, *sandbox, "download", *names], folder=folder, remedy=NETWORK_REMEDY, seconds=600)
    if len(list(folder.glob("*.deb"))) != len(names):
        raise BuildError("apt-get downloaded fewer packages than asked for", NETWORK_REMEDY)


def _graph(options: list[str]) -> Graph:
    """Read who depends on whom from apt-cache, whose output is a name per line with its indented dependencies."""
    command = ["apt-cache", *options, "depends", "--recurse", "--important", KERNEL, *PROGRAMS]
    graph: Graph = {}
    here: list[str] = []
    for line in run(command, remedy="apt-get update").splitlines():
        if line[:1] not in (" ", "|"):
            here = graph.setdefault(line.strip(), [])
        elif found := re.match(r"[ |]*(?:Pre)?Depends: ([a-z0-9][a-z0-9+.-]+)$", line):
            here.append(found[1])
    return graph


def _wanted(graph: Graph) -> list[str]:
    """The programs, the kernel behind Debian's name for the newest one, and the libraries that these lead to."""
    kernel = [name for name in graph.get(KERNEL, []) if name.startswith("linux-image-")]
    if not kernel:
        raise BuildError(f"apt does not know {KERNEL}", "apt-get update")
    todo = [*PROGRAMS]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [other for other in graph.get(name, []) if _is_library(other)]
    return sorted(seen | {kernel[0]})


def _is_library(name: str) -> bool:
    return name.startswith(("lib", "zlib1g")) and "perl" not in name
