"""The engine's world: its records, its settings, its clock, its events and jobs, and the backing its machines run on."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.doubles.ovirt_engine.backing import Backing
from tests.doubles.ovirt_engine.store import Record, Store

TICK_SECONDS = 0.02
LOOK_SECONDS = 0.05  # how often it asks the hosts which machines run


@dataclass
class Settings:
    """What a test may set. Times in seconds of the double's clock."""

    version: str = "4.5.6"
    instance: str = "6d8f2d4c-54f5-11ec-8a2f-00163e16f2b1"
    strict: bool = True
    unknown_fields: bool = False  # an element that no schema knows, in every thing
    thin_seconds: float = 0.15
    clone_seconds: float = 0.6
    disk_seconds: float = 0.15
    remove_seconds: float = 0.1
    launch_seconds: float = 0.05
    boot_seconds: float = 0.1
    shutdown_seconds: float = 0.1  # a guest that ignores the power button is taken for up again after twenty times this
    reboot_seconds: float = 0.1
    suspend_seconds: float = 0.1
    job_kept_seconds: float = 600
    failed_job_kept_seconds: float = 3600
    event_kept_seconds: float = 30 * 24 * 3600
    guest_agent: bool = True
    quota_mode: str = "disabled"
    vnc_encryption: bool = False
    display_address: str = ""  # where displays are said to listen, whatever they do
    display_port: int = 0
    next_making_fails: str = ""  # the text with which the next making of a machine or disk ends
    next_removal_fails: bool = False  # the next disk that is removed stays, illegal


@dataclass
class World:
    """Everything the engine has. Whoever looks or changes holds ``turn()``."""

    folder: Path
    backing: Backing
    settings: Settings = field(default_factory=Settings)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ahead: float = 0  # by how much the clock was put forward

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "state.jsonl")
        self.tokens: dict[str, str] = {}
        self.verbs: dict[str, Callable[..., None]] = {}
        self.watches: list[Callable[[], None]] = []
        self._due: list[tuple[float, int, str]] = []
        self._ended = threading.Event()
        self._load()

    def _load(self) -> None:
        kept = self.store.get("setting", "settings") or {}
        self.settings = Settings(**{name: kept[name] for name in kept if name != "id"})
        self.ahead = (self.store.get("setting", "clock") or {}).get("ahead", 0)
        last = max((task["number"] for task in self.store.of("task").values()), default=0)
        self._number = last
        self._due = [(task["due"], task["number"], key) for key, task in self.store.of("task").items()]
        heapq.heapify(self._due)
        self._index = max((event["index"] for event in self.store.of("event").values()), default=0)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else looks or changes meanwhile; what was changed is kept at the end."""
        with self.lock:
            try:
                yield
            finally:
                if not self._ended.is_set():
                    self.store.flush()

    # -- settings and time

    def configure(self, changes: dict[str, Any]) -> None:
        """Change settings by name. Raises ``ValueError`` for one that there is not."""
        known = {one.name for one in fields(Settings)}
        if unknown := set(changes) - known:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        for name, value in changes.items():
            setattr(self.settings, name, value)
        self.store.put("setting", {"id": "settings", **asdict(self.settings)})

    def now(self) -> float:
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward; what is due by then happens at once."""
        self.ahead += seconds
        self.store.put("setting", {"id": "clock", "ahead": self.ahead})
        self.run_due()

    def later(self, seconds: float, verb: str, **arguments: Any) -> None:
        """Call ``verbs[verb](world, **arguments)`` after so long; kept over a restart."""
        self._number += 1
        due, key = self.now() + seconds, str(uuid4())
        task = {
            "id": key,
            "number": self._number,
            "due": due,
            "verb": verb,
            "with": arguments,
        }
        self.store.put("task", task)
        heapq.heappush(self._due, (due, self._number, key))

    def run_due(self) -> None:
        while self._due and self._due[0][0] <= self.now():
            task = self.store.drop("task", heapq.heappop(self._due)[2])
            if task is not None:
                self.verbs[task["verb"]](self, **task["with"])

    def run_clock(self) -> None:
        """The thread in which time passes, until ``end``."""
        looked = 0.0
        while not self._ended.wait(TICK_SECONDS):
            with self.turn():
                if self._ended.is_set():
                    return
                self.run_due()
                if time.monotonic() - looked >= LOOK_SECONDS:
                    looked = time.monotonic()
                    for watch in self.watches:
                        watch()

    def end(self) -> None:
        self._ended.set()
        with self.lock:
            self.backing.close()
            self.store.close()

    def forget_all(self) -> None:
        """Back to nothing, settings included; tokens stay good."""
        self.backing.reset_all()
        self.store.clear()
        self.ahead = 0
        self._load()

    def take_failure(self) -> str:
        """The text with which the making that begins now is to end, once; or nothing."""
        why, self.settings.next_making_fails = self.settings.next_making_fails, ""
        return why

    def take_removal_failure(self) -> bool:
        """Whether the removal of a disk that begins now is to fail, once."""
        fails, self.settings.next_removal_fails = self.settings.next_removal_fails, False
        return fails

    # -- records

    def find(self, kind: str, key: str) -> Record | None:
        return self.store.get(kind, key)

    def all(self, kind: str) -> list[Record]:
        return list(self.store.of(kind).values())

    def save(self, kind: str, record: Record, **changes: Any) -> Record:
        """Keep a record with these changes."""
        record.update(changes)
        return self.store.put(kind, record)

    # -- events

    def event(self, code: int, text: str, *, severity: str = "normal", correlation: str = "", **links: str) -> Record:
        """Write an event. ``links``: ids by the element's name (vm, template, host, cluster, data_center, user ...)."""
        self._index += 1
        record = {
            "id": str(self._index), "index": self._index, "code": code, "description": text, "severity": severity,
            "time": self.now(), "correlation_id": correlation, "links": {name: key for name, key in links.items() if key},
        }  # fmt: skip
        self._forget_old_events()
        return self.store.put("events", record)

    def _forget_old_events(self) -> None:
        events, kept_since = self.store.of("events"), self.now() - self.settings.event_kept_seconds
        while events and (oldest := next(iter(events.values())))["time"] < kept_since:
            self.store.drop("events", oldest["id"])
