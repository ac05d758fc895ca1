"""The one folder in which a portal keeps all its state, and what is written there by bin/up itself."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import install
from failure import StartError

FORMAT: Final = "stegi-data 1"
# A unix socket's path may have 107 bytes (unix(7)); the longest name below the folder is redis/redis.sock.
LONGEST: Final = 85


@dataclass(frozen=True)
class DataFolder:
    """Paths of one portal's state. Everything in it is for its owner alone."""

    root: Path

    def command(self, action: str) -> str:
        """What to type to do that with this portal."""
        data = "" if self.root == install.REPOSITORY / ".data" else f" --data {shlex.quote(str(self.root))}"
        return f"bin/up{data} --{action}"

    @property
    def mark_file(self) -> Path:
        return self.root / "portal.mark"

    @property
    def state_file(self) -> Path:
        return self.root / "state.json"

    @property
    def logins_file(self) -> Path:
        return self.root / "secrets" / "logins.json"

    @property
    def secret_key(self) -> Path:
        return self.root / "secrets" / "secret_key"

    @property
    def seal_keys(self) -> Path:
        return self.root / "secrets" / "seal_keys"

    @property
    def database(self) -> Path:
        return self.root / "portal.sqlite3"

    @property
    def redis_socket(self) -> Path:
        return self.root / "redis" / "redis.sock"

    def log(self, name: str) -> Path:
        return self.root / "log" / f"{name}.log"

    def exists(self) -> bool:
        """Whether a portal lives here: its mark says so, so that no other folder is ever taken for one."""
        try:
            return self.mark_file.read_text().startswith(FORMAT)
        except OSError:
            return False

    def mark(self) -> str:
        """The random word that this portal's processes carry in their environment."""
        return self.mark_file.read_text().split()[2]

    def make(self) -> None:
        """Makes the folder and its secrets at the first start; later only sees that they are closed to others."""
        self._refuse_unfit()
        for folder in (self.root, *(self.root / name for name in ("secrets", "redis", "log", "beat", "tls"))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        _write_once(self.mark_file, f"{FORMAT} {secrets.token_hex(16)}\n")
        _write_once(self.secret_key, secrets.token_urlsafe(64) + "\n")
        # A Fernet key is 32 random bytes in URL-safe base64.
        _write_once(self.seal_keys, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() + "\n")

    def _refuse_unfit(self) -> None:
        if re.search(r"[\s?#%,:]", str(self.root)):
            raise StartError(
                f"the data folder's path {str(self.root)!r} holds a blank or one of ?#%,:", "give another --data"
            )
        if len(os.fsencode(self.root)) > LONGEST:
            raise StartError(
                f"the data folder's path is longer than {LONGEST} bytes", "give a shorter --data (a socket lives in it)"
            )
        if self.root.is_dir() and any(self.root.iterdir()) and not self.exists():
            raise StartError(f"{self.root} holds files that are not a portal's", "give an empty or a new --data")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One bin/up at a time for a folder; the lock ends with the process, however that ends."""
        handle = os.open(self.root / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise StartError(
                f"the portal of {self.root} already runs (or starts)",
                f"see {self.command('status')}, or {self.command('stop')} first",
            ) from error
        finally:
            os.close(handle)

    def read(self, path: Path) -> Any:
        """The content of one of our JSON files, None where there is none."""
        try:
            return json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def write(self, path: Path, content: Any) -> None:
        """Writes a JSON file whole or not at all, readable by its owner alone."""
        beside = path.with_name(f".{path.name}.new")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps(content, indent=1) + "\n")
        beside.replace(path)

    def remove(self) -> None:
        """Deletes the folder. Only one that bears the mark."""
        if not self.exists():
            raise StartError(f"{self.root} is no portal's data folder", "name the right one with --data")
        shutil.rmtree(self.root)


def _write_once(path: Path, text: str) -> None:
    """Never overwrites, and never leaves half a secret: written beside, then linked, which fails where one is."""
    if path.exists():
        path.chmod(0o600)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        beside.unlink()
