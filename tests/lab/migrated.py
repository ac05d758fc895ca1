"""A migrated database on SQLite that is made once and copied: to apply all migrations takes many times as long.

It lies in `.state/cache/migrated`, named after what it was made from. `STEGI_MIGRATE=anew` in the environment does without. On
PostgreSQL a run has one database of its own, which is migrated.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = REPOSITORY / ".state" / "cache" / "migrated"
# What a migrated database depends on lies in these folders and files, models too (each has its permissions).
SOURCES: Final = {"migrations", "models", "settings", "models.py", "apps.py"}
APPS: Final = ("portal", "tenants", "network", "compute")
LOCK_FILE: Final = REPOSITORY / "deploy" / "requirements" / "base.txt"


def is_copied_to(connection: Any) -> bool:
    """Whether this database may get its tables as a copy: it is a file of SQLite's and has none."""
    if connection.vendor != "sqlite" or os.environ.get("STEGI_MIGRATE") == "anew":
        return False
    return connection.settings_dict["NAME"] != ":memory:" and not connection.introspection.table_names()


def give_tables(connection: Any, migrate: Callable[[], object]) -> None:
    """All tables with what migrations leave in them. Whoever is first migrates, and the others wait for that."""
    copy = FOLDER / f"{_made_from()}.sqlite3"
    with _alone():
        if not copy.exists():
            migrate()
            _keep(connection, copy)
            return
        connection.close()
        shutil.copyfile(copy, connection.settings_dict["NAME"])


def _keep(connection: Any, copy: Path) -> None:
    """In place of those of other migrations, page by page: for a statement SQLite would not keep the order of all."""
    for old in FOLDER.glob("*.sqlite3"):
        old.unlink()
    made = FOLDER / "new"
    made.unlink(missing_ok=True)
    with closing(sqlite3.connect(made)) as opened:
        connection.connection.backup(opened)
    made.rename(copy)


@contextmanager
def _alone() -> Iterator[None]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def _made_from() -> str:
    """A digest of the sources' names and contents."""
    found = [path for app in APPS for path in (REPOSITORY / app).rglob("*.py") if SOURCES & set(path.parts)]
    digest = sha256()
    for path in sorted({*found, LOCK_FILE, Path(__file__)}):
        digest.update(f"{path.relative_to(REPOSITORY)}\n".encode() + sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]
