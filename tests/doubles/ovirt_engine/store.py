"""What the engine has: records by kind and id, in memory, with every change in a journal that outlives a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

Record = dict[str, Any]


class Store:
    """Records by kind and id, each a dictionary of what JSON can hold.

    A change is written to the journal at once and handed to the kernel by ``flush``: a killed process loses nothing
    that it answered for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kinds: dict[str, dict[str, Record]] = {}
        self._journal: TextIO | None = None
        self._load()
        self._compact()

    def of(self, kind: str) -> dict[str, Record]:
        """All records of a kind by id, in the order in which they came; not to be changed."""
        return self._kinds.setdefault(kind, {})

    def get(self, kind: str, key: str) -> Record | None:
        return self.of(kind).get(key)

    def put(self, kind: str, record: Record) -> Record:
        """Keep a record under its ``id``, new or changed."""
        self.of(kind)[record["id"]] = record
        self._write(json.dumps([kind, record["id"], record], separators=(",", ":")) + "\n")
        return record

    def drop(self, kind: str, key: str) -> Record | None:
        """Forget a record; None where there was none."""
        record = self.of(kind).pop(key, None)
        if record is not None:
            self._write(json.dumps([kind, key, None]) + "\n")
        return record

    def rename(self, ids: Mapping[str, str]) -> None:
        """Give records other ids, wherever they are spoken of."""
        for kind, records in self._kinds.items():
            for key, record in list(records.items()):
                text = json.dumps(record)
                for old, new in ids.items():
                    text = text.replace(f'"{old}"', f'"{new}"')
                if (renamed := json.loads(text)) != record:
                    self.drop(kind, key)
                    self.put(kind, renamed)

    def flush(self) -> None:
        """Hand what was written to the kernel."""
        if self._journal is not None:
            self._journal.flush()

    def _write(self, line: str) -> None:
        assert self._journal is not None
        self._journal.write(line)

    def clear(self) -> None:
        """Forget everything."""
        self._kinds.clear()
        self._compact()

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _load(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_text().splitlines():
            try:
                kind, key, record = json.loads(line)
            except ValueError:  # the last line of a killed process
                continue
            if record is None:
                self.of(kind).pop(key, None)
            else:
                self.of(kind)[key] = record

    def _compact(self) -> None:
        """Begin the journal anew with what there is."""
        if self._journal is not None:
            self._journal.close()
        new = self._path.with_suffix(".new")
        with new.open("w") as lines:
            lines.writelines(self._lines())
        new.replace(self._path)
        self._journal = self._path.open("a")

    def _lines(self) -> Iterator[str]:
        for kind, records in self._kinds.items():
            for key, record in records.items():
                yield json.dumps([kind, key, record], separators=(",", ":")) + "\n"
