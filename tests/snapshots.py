"""What a fixture made once is there for the next test in a moment: its rows, its files and what it returned.

A test's institute takes hundreds of queries through the portal's own services. The first test of a process makes it so;
the next ones get its rows put back as they were, in their own database, transaction and folder.
"""

from __future__ import annotations

import io
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from django.apps import apps
from django.db.models import Model

from tests.lab.rows import Rows, contents, counts, insert

T = TypeVar("T")


class Once(Generic[T]):
    """Something made in a folder and in rows: made by the first who asks, put back for the others.

    Each process has its own, for one database. A database that is not as it was at the first time (another fixture has
    been here before) gets its own thing, made anew.
    """

    def __init__(self, make: Callable[[Path], T]) -> None:
        self._make = make
        self._kept: _Kept | None = None

    def __call__(self, folder: Path) -> T:
        """The thing, in this folder."""
        if self._kept is None:
            before = contents()
            made = self._make(folder)
            self._kept = _keep(made, folder, before)
            return made
        if counts() != self._kept.before:
            return self._make(folder)
        return cast("T", _put_back(self._kept, folder))


@dataclass(frozen=True, slots=True)
class _Kept:
    before: dict[str, int]  # how many rows each table had
    rows: dict[str, Rows]  # what came to it
    files: Path
    made: bytes
    folder: str


def _keep(made: object, folder: Path, before: dict[str, Rows]) -> _Kept:
    came = {}
    for table, now in contents().items():
        known = set(map(repr, before[table]))
        came[table] = [row for row in now if repr(row) not in known]
    files = Path(tempfile.mkdtemp()) / "files"
    shutil.copytree(folder, files)
    rows = {table: found for table, found in came.items() if found}
    return _Kept(
        {table: len(found) for table, found in before.items()}, rows, files, _pickled(made, str(folder)), str(folder)
    )


def _put_back(kept: _Kept, folder: Path) -> object:
    shutil.copytree(kept.files, folder, dirs_exist_ok=True)
    insert({table: [_moved(row, kept.folder, str(folder)) for row in rows] for table, rows in kept.rows.items()})
    return _unpickled(kept.made, str(folder))


def _moved(row: tuple[Any, ...], old: str, new: str) -> tuple[Any, ...]:
    return tuple(value.replace(old, new) if isinstance(value, str) else value for value in row)


# -- what was returned: rows by their key, the folder by its place


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, folder: str) -> None:
        super().__init__(file)
        self._folder = folder

    def persistent_id(self, thing: Any) -> tuple[str, ...] | tuple[str, str, object] | None:
        if isinstance(thing, Model):
            return ("row", thing._meta.label, thing.pk)
        if isinstance(thing, Path) and str(thing).startswith(self._folder):
            return ("path", str(thing.relative_to(self._folder)))
        if isinstance(thing, str) and self._folder in thing:
            return ("text", thing.replace(self._folder, "\0"))
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, folder: str) -> None:
        super().__init__(file)
        self._folder = folder

    def persistent_load(self, known: Any) -> object:
        kind, *what = known
        if kind == "row":
            label, key = what
            return apps.get_model(label)._default_manager.get(pk=key)
        if kind == "path":
            return Path(self._folder) / what[0]
        return what[0].replace("\0", self._folder)


def _pickled(made: object, folder: str) -> bytes:
    file = io.BytesIO()
    _Pickler(file, folder).dump(made)
    return file.getvalue()


def _unpickled(made: bytes, folder: str) -> object:
    return _Unpickler(io.BytesIO(made), folder).load()
