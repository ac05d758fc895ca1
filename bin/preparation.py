"""What must be there before the portal may serve: tables, messages, static files, the tiny guest, the first users.

Each part looks whether its sources changed since it was last done, so that a second start does nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import engine
import install
from failure import StartError, say
from folder import DataFolder
from programs import PYTHON, has, manage
from supervisor import Supervisor

APPS: Final = ("portal", "tenants", "network", "compute")
ROLES: Final = install.REPOSITORY / "tenants" / "permits.py"
STATIC: Final = install.REPOSITORY / "static"
GUEST: Final = install.REPOSITORY / "deploy" / "tiny-linux"
COMMAND_SECONDS: Final = 600


class Preparation:
    """The parts, and the digests of what they were last made from (`prepared.json`)."""

    def __init__(self, folder: DataFolder, supervisor: Supervisor) -> None:
        self.folder, self.supervisor = folder, supervisor
        self.path = folder.root / "prepared.json"
        self.done: dict[str, str] = folder.read(self.path) or {}

    def database(self) -> None:
        """Applies migrations when there are other ones than last time, or another database."""
        where = os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE") or ""
        digest = _digest(_files(APPS, "migrations/*.py"), extra=[where, str(self._database_is_there(where))])
        if self.done.get("database") != digest:
            say("database: applying migrations")
            self._run("the database cannot be migrated", manage("migrate", "--noinput", "--verbosity=1"))
            # Computed again: the file is there now.
            self._keep("database", _digest(_files(APPS, "migrations/*.py"), extra=[where, "True"]))

    def roles(self) -> None:
        """Writes the predefined roles when this version has others than the last one."""
        digest = _digest([ROLES], extra=[self.done["database"]])
        if self.done.get("roles") != digest:
            say("roles: writing the predefined ones")
            self._run("the predefined roles cannot be written", manage("sync_roles"))
            self._keep("roles", digest)

    def messages(self) -> None:
        """Compiles translations whose compiled file is missing or older."""
        stale = [path for path in _files(["portal/locale"], "*.po") if _older(path.with_suffix(".mo"), path)]
        for path in stale:
            say(f"messages: compiling {path.relative_to(install.REPOSITORY)}")
            command = ["msgfmt", "--check-format", "-o", str(path.with_suffix(".mo")), str(path)]
            self._run("translations cannot be compiled", command)

    def static_files(self) -> None:
        """Collects what browsers load when a file of ours or the lock of the browser libraries changed."""
        ours = [path for path in _files(["static"], "*") if "node_modules" not in path.parts]
        sources = [*ours, install.REQUIREMENTS / "base.txt", *_files(APPS, "static/**/*")]
        digest = _digest(sources, extra=[str((self.folder.root / "static").is_dir())])
        if self.done.get("static") != digest:
            say("static files: collecting")
            self._run("static files cannot be collected", manage("collectstatic", "--noinput", "--verbosity=0"))
            self._keep("static", _digest(sources, extra=["True"]))

    def guest(self) -> Path:
        """The disk image of Tiny Linux, built anew when its recipe changed."""
        image = self.folder.root / "tiny-linux.qcow2"
        digest = _digest(_files([str(GUEST.relative_to(install.REPOSITORY))], "*"))
        if self.done.get("guest") != digest or not image.is_file():
            say("Tiny Linux: building the image")
            self._run("Tiny Linux cannot be built", [PYTHON, str(GUEST / "build.py"), str(image)])
            self._keep("guest", digest)
        return image

    def users(self, image: Path | None) -> None:
        """The demo with this image, or an empty portal's super-admin; passwords are made up at the first time."""
        wanted = "demo" if image else "super-admin"
        if self.done.get("users") in {"demo", wanted} or not has("make_demo"):
            return
        say("demo: provider, template, data centers, users, quotas" if image else "super-admin: creating")
        what = [f"--image={image}"] if image else ["--no-demo"]
        command = manage("make_demo", *what, f"--passwords-out={self.folder.logins_file}")
        self._run(f"the {wanted} cannot be made", command)
        self._keep("users", wanted)

    def engine(self) -> None:
        """Connects the engine that runs beside the portal, and shares it out to the demo's data centers."""
        address, ca = engine.address(self.folder), engine.ca(self.folder)
        digest = _digest([ca], extra=[address])
        if self.done.get("engine") == digest:
            return
        say("engine: connecting it, and sharing out what it has")
        command = manage(
            "make_demo", f"--engine={address}", f"--engine-user={engine.USER}", f"--engine-ca={ca}",
            f"--engine-password-file={engine.password(self.folder)}", f"--passwords-out={self.folder.logins_file}",
        )  # fmt: skip
        self._run("the engine cannot be connected", command)
        self._keep("engine", digest)

    def _database_is_there(self, where: str) -> bool:
        return bool(where) or self.folder.database.is_file()

    def _run(self, what: str, command: Sequence[str]) -> None:
        """Raises StartError with the line of the command's output that says most."""
        done = self.supervisor.run(command, seconds=COMMAND_SECONDS)
        with self.folder.log("prepare").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}\n[{done.returncode}]\n")
        if done.returncode != 0:
            line = (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip()[:300]
            raise StartError(f"{what}: {line}", f"the whole output is in {self.folder.log('prepare')}")

    def _keep(self, part: str, digest: str) -> None:
        self.done[part] = digest
        self.folder.write(self.path, self.done)


def logins(folder: DataFolder) -> list[dict[str, Any]]:
    """Who can log in with which password, as made at the first start."""
    try:
        found = json.loads(folder.logins_file.read_text())
    except (OSError, ValueError):
        return []
    return list(found["logins"] if isinstance(found, dict) else found)


def _files(folders: Iterable[str], pattern: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (install.REPOSITORY / folder).rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts and "node_modules" not in path.parts
    )  # fmt: skip


def _digest(paths: Iterable[Path], *, extra: Sequence[str] = ()) -> str:
    """Of names and contents, for a checkout changes times without changing files."""
    found = hashlib.sha256("\n".join(extra).encode())
    for path in paths:
        found.update(f"{path}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _older(made: Path, source: Path) -> bool:
    return not made.is_file() or made.stat().st_mtime < source.stat().st_mtime
