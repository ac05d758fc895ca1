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
from django.db import transaction
from django.db.models import Model

from tests.lab.rows import Rows, add, contents, put

T = TypeVar("T")


class Once(Generic[T]):
    """Something made in a folder and in rows: made by the first who asks, put back for the others.

    Each process has its own, for one database. Where the rows are not those that the first one found, it is made anew.
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
        if _as_sets(contents(), str(folder)) != self._kept.before:
            return self._make(folder)
        return cast("T", _put_back(self._kept, folder))


@dataclass(frozen=True, slots=True)
class _Kept:
    before: dict[str, frozenset[str]]  # what each table held
    added: dict[str, Rows]  # what tables hold that had all they hold but this
    rows: dict[str, Rows]  # what other tables hold that changed
    files: Path
    made: bytes
    folder: str


def _keep(made: object, folder: Path, before: dict[str, Rows]) -> _Kept:
    old, now = _as_sets(before, str(folder)), contents()
    added: dict[str, Rows] = {}
    rows: dict[str, Rows] = {}
    for table, found in _as_sets(now, str(folder)).items():
        if found > old[table]:
            added[table] = [row for row in now[table] if _as_text(row, str(folder)) not in old[table]]
        elif found != old[table]:
            rows[table] = now[table]
    files = Path(tempfile.mkdtemp()) / "files"
    shutil.copytree(folder, files)
    return _Kept(old, added, rows, files, _pickled(made, str(folder)), str(folder))


def _as_sets(rows: dict[str, Rows], folder: str) -> dict[str, frozenset[str]]:
    """To compare by: the rows in no order, wherever their folder is."""
    return {table: frozenset(_as_text(row, folder) for row in found) for table, found in rows.items()}


def _as_text(row: tuple[Any, ...], folder: str) -> str:
    return repr(row).replace(folder, "")


def _put_back(kept: _Kept, folder: Path) -> object:
    shutil.copytree(kept.files, folder, dirs_exist_ok=True)
    with transaction.atomic():  # rows of either may refer to the other's
        for lay, rows in ((put, kept.rows), (add, kept.added)):
            lay({table: [_moved(row, kept.folder, str(folder)) for row in found] for table, found in rows.items()})
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
