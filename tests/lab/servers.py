"""A real server that tests start, freeze, kill and start again: the part common to all of the lab's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
LOG_LINES_SHOWN: Final = 15


class RealPartFailed(Exception):
    """A real part of the lab did not start or did not end. That is a failed test, never a skipped one."""


class Server:
    """One child process with a folder and a log of its own, ended by its process number.

    Subclasses give the command and say when it answers. A server may be started again after `stop` or `kill`, on the
    same folder, sockets and ports.
    """

    name = "server"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The program and its arguments; it must stay in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """One bounded try whether it does its work."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What must be there before each start."""

    @property
    def user(self) -> str | None:
        """The user it runs as; None for the caller."""
        return None

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def pid(self) -> int:
        """The process number; only while it runs."""
        if self._process is None or self._process.poll() is not None:
            raise RealPartFailed(f"{self.name} does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and returns once it answers."""
        if self.is_running:
            return
        self.prepare()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(), cwd=self.folder, env=self.environment, user=self.user, group=self.user,
                    extra_groups=[] if self.user else None,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise RealPartFailed(f"{self.name} cannot be started: {error}") from error
        wait_until(self._is_up, f"{self.name} to answer", log=self.log)

    def stop(self) -> None:
        """Ends it politely, then not; no-op when it is down."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As the machine's out-of-memory killer would: no word of warning."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It keeps its sockets and says nothing more, as a hung server does."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _is_up(self) -> bool:
        if not self.is_running:
            raise RealPartFailed(f"{self.name} ended at start:\n{tail(self.log)}")
        return self.answers()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = START_SECONDS, log: Path | None = None) -> None:
    """Asks again and again, up to `seconds`; raises RealPartFailed with the log's end when it never came true."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise RealPartFailed(f"waited {seconds:g} s in vain for {what}:\n{tail(log) if log else ''}")
        time.sleep(0.05)


def tail(log: Path) -> str:
    """The last lines of a log, for the message of a failure."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
    except OSError:
        return "(no log)"


def free_port() -> int:
    """A TCP port of loopback that the kernel says is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as handle:
        handle.bind(("127.0.0.1", 0))
        port: int = handle.getsockname()[1]
    return port


def new_folder(name: str) -> Path:
    """A folder for one server: in the lab's own where there is one, so that it goes when the lab goes.

    Its path is short, for a unix socket's address holds 107 bytes.
    """
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=lab_folder()))


def lab_folder() -> Path | None:
    """The folder of the namespaces this process runs in (`bin/test` makes them); None outside of any."""
    named = os.environ.get("STEGI_LAB", "")
    return Path(named) if named and Path(named).is_dir() else None
