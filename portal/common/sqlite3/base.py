"""Django's SQLite, but threads of one process that write wait in a line.

SQLite itself lets whoever finds its lock taken look again after a while, up to every 100 ms: among many writers those who came
last find it free first, and some wait until their time is out ("database is locked") while others write again and again.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from typing import Final

from django.db.backends.sqlite3 import base

_lines: Final[defaultdict[str, threading.Lock]] = defaultdict(threading.Lock)
# What a thread of the parent holds nobody would ever give back in the child.
os.register_at_fork(after_in_child=_lines.clear)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that takes its turn before it begins a transaction, and gives it back at the transaction's end.

    These four methods are what Django's own backends override; its type stubs do not name them.

    The turn is a courtesy, the truth is SQLite's lock: who does not get the turn in time asks for the lock without it.
    """

    _turn: threading.Lock | None = None

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]  # where it fails, Django rolls back
        self._end_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._end_turn()

    def __del__(self) -> None:
        self._end_turn()  # of a thread that ended in the midst

    def _take_turn(self) -> None:
        line = _lines[str(self.settings_dict["NAME"])]
        if line.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5)):
            self._turn = line

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()
