"""What bin/up says when it cannot go on: what failed and what to do, in one line."""

from __future__ import annotations

import contextlib


class StartError(Exception):
    """`what` failed and the `remedy`, both fit for one printed line."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} -> {remedy}")
        self.what = what
        self.remedy = remedy


class Stopped(BaseException):
    """Somebody asked us to end (Ctrl-C, SIGTERM). Not an Exception, so that nothing on the way swallows it."""


def say(line: str) -> None:
    """Prints one line of progress at once. A full disk or a closed terminal must not end a portal that runs."""
    with contextlib.suppress(OSError):
        print(f"up: {line}", flush=True)
