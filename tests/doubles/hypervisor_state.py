"""What the double hypervisor knows: one SQLite file in a folder, shared by every process that is given its address.

``HypervisorDouble`` is the tests' side of it: it arms faults, plants other people's machines, and reads the call log.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

SCHEMA = """
CREATE TABLE IF NOT EXISTS things (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY, at REAL, pid INTEGER, method TEXT, key TEXT, outcome TEXT);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY, method TEXT, fault TEXT, remaining INTEGER, skip INTEGER, seconds REAL
);
"""

DEFAULTS: dict[str, Any] = {
    "boot_seconds": 0.05,
    "halt_seconds": 0.05,
    "guest_ignores_shutdown": False,
    "console_port": 5900,
    "console_password": "",  # of a real screen behind the double; empty: a fresh one each time, as hypervisors do
    "screenshot": "",  # the bytes of every screen, in hex; empty: one colour for each machine
    "capacity_bytes": 1 << 40,
    "accelerated": True,
    "host_name": "double",
    "skew_seconds": "0",
    # Of an engine: how long it makes a machine and removes a disk, and its words when the making fails; empty: it does not.
    "making_seconds": 0.05,
    "removing_seconds": 0.05,
    "making_fails": "",
    "version": "1",
    "manager": {"version": "1", "instance": "one"},  # of who answers
    "cpu": {"arch": "x86_64", "model": "Skylake", "vendor": "Intel", "features": ["aes", "avx"]},
    # Shares of all calls (0 to 1) that suffer by chance when nothing else is armed for them.
    "error_share": 0.0,
    "lost_share": 0.0,
}

BY_CHANCE = {"error_share": ("busy", "gone", "full", "refused", "invalid"), "lost_share": ("lost", "lost_before")}


class Fault(StrEnum):
    """What a call can be made to suffer."""

    SLOW = "slow"  # answers, after ``seconds``
    HANG = "hang"  # does nothing and does not answer until ``heal``; then does it after all
    FULL = "full"
    BUSY = "busy"
    GONE = "gone"  # the manager cannot be reached: nothing happens
    REFUSED = "refused"
    INVALID = "invalid"
    LOST = "lost"  # takes effect, and the answer is lost
    LOST_BEFORE = "lost_before"  # takes no effect, and the answer is lost
    VANISH = "vanish"  # succeeds, and the object is gone right after (success, then not found)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was logged. ``outcome``: "ok", an error's class name, or "open" while it has not ended."""

    id: int
    at: float
    pid: int
    method: str
    key: str
    outcome: str


class Store:
    """The file behind the double. Every use opens its own connection, so threads and processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with self.open() as db:
            db.executescript("PRAGMA journal_mode=WAL;" + SCHEMA)

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection without a transaction."""
        db = sqlite3.connect(self.folder / "double.sqlite3", timeout=30, isolation_level=None)
        db.execute("PRAGMA synchronous=OFF")  # it outlives processes, not the machine
        try:
            yield db
        finally:
            db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A connection in a write transaction that is rolled back by an exception."""
        with self.open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def written(self) -> tuple[tuple[int, int], ...]:
        """Something else as soon as somebody has written."""
        return tuple(_written(self.folder / f"double.sqlite3{part}") for part in ("", "-wal"))

    def setting(self, name: str) -> Any:
        """A setting's present value."""
        with self.open() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else DEFAULTS[name]

    # -- the call log and the faults

    def log(self, method: str, key: str) -> int:
        """Note that a call came in; its id."""
        with self.open() as db:
            entry = (time.time(), os.getpid(), method, key)
            return int(db.execute("INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, 'open')", entry).lastrowid or 0)

    def end(self, call_id: int, outcome: str) -> None:
        """Note how a call ended."""
        with self.open() as db:
            db.execute("UPDATE calls SET outcome = ? WHERE id = ?", (outcome, call_id))

    def take_fault(self, method: str) -> tuple[int, Fault, float] | None:
        """The next armed fault of a method (or of ``*``), used up by one; (id, fault, seconds)."""
        with self.change() as db:
            row = db.execute(
                "SELECT id, fault, seconds, skip, remaining FROM faults"
                " WHERE method IN (?, '*') AND remaining != 0 ORDER BY id LIMIT 1",
                (method,),
            ).fetchone()
            if row is None:
                return self._by_chance(db)
            if row[3]:
                db.execute("UPDATE faults SET skip = skip - 1 WHERE id = ?", (row[0],))
                return None
            if row[4] > 0:
                db.execute("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", (row[0],))
            return int(row[0]), Fault(row[1]), float(row[2])

    @staticmethod
    def _by_chance(db: sqlite3.Connection) -> tuple[int, Fault, float] | None:
        shares = dict(db.execute("SELECT name, value FROM settings WHERE name IN ('error_share', 'lost_share')"))
        for name, faults in BY_CHANCE.items():
            if random.random() < float(shares.get(name, 0)):
                return 0, Fault(random.choice(faults)), 0.0
        return None

    def fault_exists(self, fault_id: int) -> bool:
        """Whether a fault was not healed yet (used up ones stay until then)."""
        with self.open() as db:
            return db.execute("SELECT 1 FROM faults WHERE id = ?", (fault_id,)).fetchone() is not None


def _written(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:  # the last connection that closes takes it away
        return 0, 0
    return found.st_mtime_ns, found.st_size


def get(db: sqlite3.Connection, kind: str, key: str) -> dict[str, Any] | None:
    """One thing's body."""
    row = db.execute("SELECT body FROM things WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return json.loads(row[0]) if row else None


def every(db: sqlite3.Connection, kind: str) -> dict[str, dict[str, Any]]:
    """All things of a kind by key."""
    rows = db.execute("SELECT key, body FROM things WHERE kind = ? ORDER BY key", (kind,))
    return {key: json.loads(body) for key, body in rows}


def put(db: sqlite3.Connection, kind: str, key: str, body: dict[str, Any]) -> None:
    """Write a thing."""
    db.execute("INSERT OR REPLACE INTO things VALUES (?, ?, ?)", (kind, key, json.dumps(body)))


def drop(db: sqlite3.Connection, kind: str, key: str) -> None:
    """Remove a thing, if it is there."""
    db.execute("DELETE FROM things WHERE kind = ? AND key = ?", (kind, key))


class HypervisorDouble:
    """The tests' hands on a double: the same folder from any process."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    @property
    def address(self) -> str:
        """What ``Provider.address`` must be."""
        return f"double://{self.store.folder}"

    def fail(self, method: str, fault: Fault, *, times: int = 1, after: int = 0, seconds: float = 0.0) -> None:
        """Let the next ``times`` calls of a method (``*``: any) suffer, letting ``after`` of them pass; -1: always."""
        with self.store.open() as db:
            db.execute("INSERT INTO faults VALUES (NULL, ?, ?, ?, ?, ?)", (method, fault, times, after, seconds))

    def pending(self) -> int:
        """How many armed faults have not been suffered as often as they were to be."""
        with self.store.open() as db:
            return int(db.execute("SELECT count(*) FROM faults WHERE remaining > 0").fetchone()[0])

    def heal(self) -> None:
        """Disarm all faults and let go of what hangs."""
        with self.store.open() as db:
            db.execute("DELETE FROM faults")

    def configure(self, **settings: Any) -> None:
        """Change settings (``DEFAULTS`` names them)."""
        unknown = settings.keys() - DEFAULTS.keys()
        if unknown:
            raise KeyError(f"no such settings: {sorted(unknown)}")
        with self.store.change() as db:
            for name, value in settings.items():
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def calls(self, *methods: str) -> list[Call]:
        """The log of calls, oldest first; of some methods or of all."""
        with self.store.open() as db:
            found = [
                Call(*row) for row in db.execute("SELECT id, at, pid, method, key, outcome FROM calls ORDER BY id")
            ]
        return [call for call in found if not methods or call.method in methods]

    def forget_calls(self) -> None:
        """Empty the log of calls."""
        with self.store.open() as db:
            db.execute("DELETE FROM calls")

    # -- looking and tampering behind the portal's back

    @contextmanager
    def _tampering(self) -> Iterator[sqlite3.Connection]:
        with self.store.change() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES ('tampered', 'true')")
            yield db

    def is_touched(self) -> bool:
        """Whether a test armed, configured or changed anything: what the portal alone did is the same again."""
        with self.store.open() as db:
            rows = db.execute("SELECT (SELECT count(*) FROM faults) + (SELECT count(*) FROM settings)").fetchone()
        return bool(rows[0])

    def things(self, kind: str) -> dict[str, dict[str, Any]]:
        """All bodies of a kind: "vm", "disk", "network", "storage_domain"."""
        with self.store.open() as db:
            return every(db, kind)

    def plant_vm(
        self, name: str, *, state: str = "down", portal_id: UUID | None = None, disk_bytes: int | None = 0
    ) -> str:
        """A machine somebody else made (or a portal, with its mark); its external id, which is its uid there too.

        ``disk_bytes``: what its disks promise; None cannot be told.
        """
        uid = str(uuid4())
        marker = {"portal_id": str(portal_id), "uid": uid} if portal_id else None
        body = {
            "name": name, "description": "", "marker": marker, "memory_mib": 64, "vcpus": 1,
            "nics": [], "disks": [], "state": state, "since": time.time(), "disk_bytes": disk_bytes,
        }  # fmt: skip
        with self._tampering() as db:
            put(db, "vm", uid, body)
        return uid

    def plant_volume(self, name: str, head: bytes, **more: Any) -> str:
        """A volume of somebody else's in the first storage domain, that begins so; its external id, which is its name."""
        [domain, *_more] = self.things("storage_domain")
        body = {
            "marker": None, "storage_domain": domain, "base": "", "size": 1 << 30, "allocated": 1 << 20, "sha256": "theirs",
            "format": "qcow2", "head": head.hex(),
        } | more  # fmt: skip
        with self._tampering() as db:
            put(db, "disk", name, body)
        return name

    def set_vm(self, external_id: str, **changes: Any) -> None:
        """Change a machine out of band ("state": down, starting, stopping, rebooting, paused)."""
        with self._tampering() as db:
            body = get(db, "vm", external_id)
            assert body is not None, external_id
            put(db, "vm", external_id, body | changes | {"since": time.time()})

    def remove(self, kind: str, key: str) -> None:
        """Delete a thing out of band."""
        with self._tampering() as db:
            drop(db, kind, key)
