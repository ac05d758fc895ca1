"""The spool: a folder of the portal's own in which the bytes of uploaded images wait. Nobody else reads it (0700)."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from django.conf import settings

UPLOADED, CONVERTED, FETCHED, WORK = "upload", "qcow2", "fetched", "work"
WAIT_SECONDS = 10.0  # for another part of the same image
LOOK_SECONDS = 0.02
YOUNG_SECONDS = 3600.0  # a file may be there a little before its row, or be a conversion at work


def folder() -> Path:
    """The spool, made if it is not there."""
    path = Path(settings.IMAGE_SPOOL)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def uploaded(uid: UUID) -> Path:
    """Where the bytes of an image are."""
    return folder() / f"{uid}.{UPLOADED}"


def converted(uid: UUID) -> Path:
    """Where an image is that was converted for a template of this uid."""
    return folder() / f"{uid}.{CONVERTED}"


def fetched(uid: UUID) -> Path:
    """Where a disk is that was brought here to be sealed for a template of this uid."""
    return folder() / f"{uid}.{FETCHED}"


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A file of one try's own, to be put in the place of ``path`` when it is whole; gone at the end otherwise."""
    part = path.with_name(f"{path.name.partition('.')[0]}.{uuid4().hex}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def drop_parts(uid: UUID) -> None:
    """What killed tries left of the files of an image or a template; for whoever alone writes them now."""
    for torso in folder().glob(f"{uid}.*.part"):
        torso.unlink(missing_ok=True)


@contextmanager
def work(uid: UUID) -> Iterator[Path]:
    """A folder of one try's own, gone at the end; what a killed try left goes first."""
    for torso in folder().glob(f"{uid}.*.{WORK}"):
        shutil.rmtree(torso, ignore_errors=True)
    path = folder() / f"{uid}.{uuid4().hex}.{WORK}"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_bytes() -> int:
    """What the spool's file system has left for us."""
    return shutil.disk_usage(folder()).free


class Taken(Exception):
    """Somebody else has been writing an image for as long as one waits."""


class Lost(Exception):
    """Bytes that came before are not in the spool any more: what is written behind them would leave a hole."""


class Writer:
    """An image's file in one writer's hands: nobody else has it meanwhile, in whatever process (``writer``)."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, data: bytes, *, offset: int) -> None:
        """Put bytes where they belong, and wait until the disk has them. Raises ``Lost``, or ``OSError`` without room."""
        if os.fstat(self._handle).st_size < offset:
            raise Lost
        rest, place = memoryview(data), offset
        while rest:
            sent = os.pwrite(self._handle, rest, place)
            rest, place = rest[sent:], place + sent
        os.fdatasync(self._handle)

    def cut(self, *, length: int) -> None:
        """Whatever a broken write left beyond the end goes."""
        os.ftruncate(self._handle, length)


@contextmanager
def writer(uid: UUID, *, begins: bool = True) -> Iterator[Writer]:
    """The file of an image, held by a lock that the kernel gives back when its holder dies; made if the image ``begins``.

    Raises ``Taken``, ``Lost`` where a file that was begun is gone, ``OSError``.
    """
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if begins else 0)
    try:
        handle = os.open(uploaded(uid), flags, 0o600)
    except FileNotFoundError as error:
        raise Lost from error
    try:
        _wait_for(handle)
        yield Writer(handle)
    finally:
        os.close(handle)


def _wait_for(handle: int) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Taken from None
            time.sleep(LOOK_SECONDS)
        else:
            return


def slow_work() -> AbstractContextManager[bool]:
    """A place for work that holds a worker for long (a conversion, a copy); False when all are taken.

    So that such work of one department never takes every worker. The kernel gives a place back when its holder dies.
    """
    return _one_of("slow", settings.SLOW_WORK_AT_ONCE)


def inspecting() -> AbstractContextManager[bool]:
    """The same for looking at what was uploaded: places of its own, so that minutes do not wait for half an hour."""
    return _one_of("inspection", settings.INSPECTIONS_AT_ONCE)


@contextmanager
def _one_of(kind: str, at_once: int) -> Iterator[bool]:
    places = (_place(kind, number) for number in range(at_once))
    handle = next((place for place in places if place is not None), None)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _place(kind: str, number: int) -> int | None:
    places = Path(settings.DATA_DIR) / "places"
    places.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(places / f"{kind}.{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def remove(uid: UUID) -> None:
    """All files of an image, or of a template that is made; already gone is done."""
    for path in folder().glob(f"{uid}.*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def strays(known: Container[UUID]) -> Iterator[UUID]:
    """The uids of files that are not young and belong to nothing known."""
    for path in folder().iterdir():
        uid = _uid_of(path)
        if uid is not None and uid not in known and time.time() - path.stat().st_mtime > YOUNG_SECONDS:
            yield uid


def _uid_of(path: Path) -> UUID | None:
    try:
        return UUID(path.name.partition(".")[0])
    except ValueError:
        return None
