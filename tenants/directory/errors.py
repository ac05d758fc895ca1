"""What keeps a directory from answering: where it failed, by a code. Never a library's own words, which quote values."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """How far one gets with a directory, in this order."""

    NAME = "name"
    PORT = "port"
    TLS = "tls"
    CERTIFICATE = "certificate"
    BIND = "bind"
    BASE = "base"


class DirectoryDown(Exception):
    """A directory cannot be used now. ``code`` is stable and safe to log."""

    def __init__(self, step: Step, code: str) -> None:
        self.step = step
        self.code = code
        super().__init__(f"{step}: {code}")


class TooManyGroups(Exception):
    """Somebody is in more groups than are read, or in groups nested deeper: nobody knows which roles are his."""
