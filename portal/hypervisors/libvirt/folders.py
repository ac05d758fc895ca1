"""Folders of our own for a moment, in memory where the system has such a place: for keys, and for ways to screens.

Whoever makes one removes it. What a process that was killed meanwhile left behind is swept by the next that makes one: once it
is so old that nobody can be at work with it, for another process of this portal, or of another one, may be with a young one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

KEYS = "stegi-keys-"
SCREENS = "stegi-screen-"
MEMORY = Path("/dev/shm")  # noqa: S108 - folders of our own are made in it
KEPT_SECONDS = 600  # no log-in lasts so long, and nobody comes so late to a screen


def new_folder(prefix: str) -> Path:
    """A folder that nobody else may look into, to be removed by the caller."""
    _sweep()
    place = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None
    return Path(tempfile.mkdtemp(prefix=prefix, dir=place))


class _Later:
    """A sweep that is to come: what is too young now may be left behind all the same, and no other folder be made for days."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.timer: threading.Timer | None = None

    def plan(self) -> None:
        """One for each process at a time; a forked child has none of its parent's."""
        with self.lock:
            if self.timer is None or not self.timer.is_alive() or self.timer is threading.current_thread():
                self.timer = threading.Timer(KEPT_SECONDS, _sweep)
                self.timer.daemon = True
                self.timer.start()


_later = _Later()


def _sweep() -> None:
    until = time.time() - KEPT_SECONDS
    is_any_left = False
    for place in {MEMORY, Path(tempfile.gettempdir())}:
        for folder in (*place.glob(f"{KEYS}*"), *place.glob(f"{SCREENS}*")):
            try:
                found = folder.lstat()
            except OSError:
                continue
            if found.st_uid != os.geteuid():
                continue
            if found.st_mtime < until:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                is_any_left = True
    if is_any_left:
        _later.plan()
