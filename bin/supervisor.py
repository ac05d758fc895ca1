"""Keeps the portal's processes alive, each in a process group of its own, and ends them in good order."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import install
import processes
from failure import StartError, say
from folder import DataFolder
from processes import Identity

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
# A process that lived this long was well; its next end starts the delays anew.
WELL_AFTER: Final = 60.0
LOG_BYTES: Final = 5_000_000
LOGS_KEPT: Final = 3
LOOK_AT_LOGS_EVERY: Final = 10.0


@dataclass(frozen=True)
class Program:
    """One process to keep running. `grace`: seconds between SIGTERM and SIGKILL at the end."""

    name: str
    command: Sequence[str]
    grace: float = 10.0


class Child:
    """A program and its present process, if it has one."""

    def __init__(self, program: Program, log: Path, environment: Mapping[str, str]) -> None:
        self.program, self.log, self.environment = program, log, dict(environment)
        self.process: subprocess.Popen[bytes] | None = None
        self.identity: Identity | None = None
        self.restarts = 0
        self.delay = FIRST_DELAY
        self.started_at = 0.0
        self.due_at = 0.0

    def start(self) -> None:
        """A session of its own keeps a Ctrl-C at our terminal, and its hang-up, away from it."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.program.command, cwd=install.REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.identity = processes.identify(self.process.pid)
        self.started_at = time.monotonic()

    def ended(self) -> int | None:
        """The exit code when it has just ended: it is then to be started again after the delay."""
        code = self.process.poll() if self.process else None
        if self.process is None or code is None:
            return None
        if time.monotonic() - self.started_at > WELL_AFTER:
            self.delay = FIRST_DELAY
        self.put_off()
        self.process = self.identity = None
        return code

    def put_off(self) -> None:
        """Due after the present delay; the next delay is twice as long."""
        self.due_at, self.delay = time.monotonic() + self.delay, min(self.delay * 2, LONGEST_DELAY)

    def last_line(self) -> str:
        """What its log says last, for the one line of a failure."""
        try:
            tail = self.log.read_bytes()[-4000:].decode(errors="replace")
        except OSError:
            return "it said nothing"
        return ([line.strip() for line in tail.splitlines() if line.strip()] or ["it said nothing"])[-1][:300]


class Supervisor:
    """The children of one portal. Nothing here waits long: `tick` is called again and again."""

    def __init__(self, folder: DataFolder, environment: Mapping[str, str], changed: Callable[[], None]) -> None:
        self.folder, self.changed, self.mark = folder, changed, folder.mark()
        self.environment = {**environment, processes.MARK: self.mark}
        self.children: dict[str, Child] = {}
        self._logs_seen_at = 0.0

    def add(self, program: Program) -> Child:
        """Starts a program and keeps it running from now on."""
        child = Child(program, self.folder.log(program.name), self.environment)
        rotate(child.log)
        self.children[program.name] = child
        try:
            child.start()
        except OSError as error:
            what = f"{program.name} cannot be started ({error.strerror}: {program.command[0]})"
            raise StartError(what, "run bin/up again, it installs what is missing") from error
        self.changed()
        return child

    def tick(self) -> None:
        """Notices who ended, starts again who is due, and keeps the logs small."""
        for child in self.children.values():
            self._look_at(child)
        if time.monotonic() - self._logs_seen_at > LOOK_AT_LOGS_EVERY:
            self._logs_seen_at = time.monotonic()
            for path in (*(child.log for child in self.children.values()), self.folder.log("up")):
                rotate(path)

    def _look_at(self, child: Child) -> None:
        group = child.process.pid if child.process else 0
        code = child.ended()
        if code is not None:
            say(f"{child.program.name} ended ({_in_words(code)}), again in {child.due_at - time.monotonic():.1f} s")
            # Its own children (a worker's pool) would go on without a master.
            processes.end(processes.marked(self.mark, group=group), grace=0)
            self.changed()
        elif child.process is None and time.monotonic() >= child.due_at:
            self._start_again(child)
            self.changed()

    def _start_again(self, child: Child) -> None:
        child.restarts += 1
        try:
            child.start()
        except OSError as error:
            # No memory, no file handles, a full disk: the others run on, and it is tried again.
            child.put_off()
            say(f"{child.program.name} cannot be started ({error.strerror}), again in {child.delay:.0f} s")

    def run(self, command: Sequence[str], *, seconds: float) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end while the children are looked after; code 124 when it took too long."""
        path = self.folder.root / "log" / "last-command"
        with path.open("w+b") as output:
            process = subprocess.Popen(
                command, cwd=install.REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                code = self._await(process, seconds)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return subprocess.CompletedProcess(list(command), code, path.read_text(errors="replace"))

    def _await(self, process: subprocess.Popen[bytes], seconds: float) -> int:
        until = time.monotonic() + seconds
        while (code := process.poll()) is None:
            if time.monotonic() > until:
                return 124
            self.tick()
            time.sleep(0.05)
        return code

    def stop(self) -> None:
        """Ends all, the last started first asked and the first started (Redis) kept until the others are gone."""
        *others, first = reversed(self.children.values()) if self.children else [None]
        for child in others:
            _ask(child)
        for child in others:
            _finish(child)
        _ask(first)
        _finish(first)
        processes.end(processes.marked(self.mark), grace=1)
        self.children.clear()


def _ask(child: Child | None) -> None:
    """Once only: a second SIGTERM would make a Celery worker drop what it is finishing."""
    if child and child.process:
        child.process.terminate()


def _finish(child: Child | None) -> None:
    if child is None or child.process is None:
        return
    try:
        child.process.wait(timeout=child.program.grace)
    except subprocess.TimeoutExpired:
        say(f"{child.program.name} did not end within {child.program.grace:.0f} s and is killed")
        child.process.kill()
        child.process.wait()


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def rotate(path: Path) -> None:
    """Copies a grown log aside and empties it; its writer appends, so it goes on at the new end."""
    try:
        if path.stat().st_size < LOG_BYTES:
            return
    except FileNotFoundError:
        return
    names = [path, *(path.with_suffix(f".log.{number}") for number in range(1, LOGS_KEPT + 1))]
    for older, newer in zip(reversed(names[2:]), reversed(names[1:-1]), strict=True):
        if newer.exists():
            newer.replace(older)
    # Where there is no room to put it aside, emptying it is what helps most.
    with contextlib.suppress(OSError):
        shutil.copyfile(path, names[1])
        names[1].chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(0)
