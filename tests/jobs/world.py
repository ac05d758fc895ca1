"""What the toy operations act on: a folder that outlives processes, as a hypervisor does, and remembers every effect."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """Things are files; every making and removing is a line of the journal, so that what happened twice shows."""

    folder: Path

    def make(self, name: str) -> None:
        """Make a thing, unless it is there."""
        try:
            handle = os.open(self._path(name), os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return
        os.close(handle)
        self.note(f"made {name}")

    def remove(self, name: str) -> None:
        """Remove a thing, unless it is gone."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return
        self.note(f"removed {name}")

    def call(self, name: str) -> None:
        """Write down that a step was run, with or without an effect."""
        self._append("calls", name)

    def calls(self) -> list[str]:
        """Which steps were run, in order."""
        return self._lines("calls")

    def forget(self) -> None:
        """An empty world again."""
        for path in self.folder.iterdir():
            path.unlink()

    def note(self, line: str) -> None:
        """Write down an effect."""
        self._append("journal", line)

    def things(self) -> list[str]:
        """What is there now."""
        return sorted(path.name.removeprefix("thing-") for path in self.folder.glob("thing-*"))

    def journal(self) -> list[str]:
        """Every effect so far, in order."""
        return self._lines("journal")

    def _append(self, book: str, line: str) -> None:
        # Atomic for short lines, also from several processes.
        with (self.folder / book).open("a") as lines:
            lines.write(line + "\n")

    def _lines(self, book: str) -> list[str]:
        path = self.folder / book
        return path.read_text().splitlines() if path.exists() else []

    def _path(self, name: str) -> Path:
        return self.folder / f"thing-{name}"
