"""One portal started by the real bin/up, in a data folder and on a port of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doubles.ovirt_engine.control import EngineDouble

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 150
# What a test run sets for itself and a portal must not inherit.
NOT_INHERITED = ("DATABASE_URL", "REDIS_URL", "DATA_DIR", "DJANGO_SETTINGS_MODULE")


@dataclass
class PortalRun:
    """Runs bin/up with this data folder. Not pytest's own folder: a socket's path in it could be too long."""

    data: Path
    port: int
    foreground: list[subprocess.Popen[str]] = field(default_factory=list)

    @classmethod
    def new(cls) -> PortalRun:
        return cls(Path(tempfile.mkdtemp(prefix="up-")) / "data", free_port())

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )

    def start(self, *arguments: str) -> str:
        """Starts in the background without a demo; returns what it printed."""
        done = self.up("--detach", "--no-demo", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_in_foreground(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command("--no-demo"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.foreground.append(process)
        assert process.stdout
        for line in process.stdout:
            if line.startswith("up: Ctrl-C stops it"):
                return process
        raise AssertionError("bin/up ended before it was ready")

    def command(self, *arguments: str) -> list[str]:
        return [str(REPOSITORY / "bin" / "up"), f"--data={self.data}", f"--port={self.port}", *arguments]

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.up("--status", "--json").stdout)
        return answer

    def process(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(entry for entry in self.status()["processes"] if entry["name"] == name)
        return found

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10).close()
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False
        return True

    def living(self) -> list[int]:
        """Every process that works in this data folder, by the environment that all of them get or inherit."""
        needle = f"DATA_DIR={self.data}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if needle in _environ(path)]

    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.data / "state.json").read_text())
        return content

    def engine(self) -> EngineDouble:
        """The double that bin/up runs beside it, to be told what to do and asked what it saw."""
        engine = EngineDouble(self.data / "engine")
        engine.port = json.loads((engine.folder / "port.json").read_text())
        return engine

    def close(self) -> None:
        self.up("--stop")
        for process in self.foreground:
            process.wait(timeout=30)
            if process.stdout:
                process.stdout.close()
        shutil.rmtree(self.data.parent, ignore_errors=True)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def eventually(condition: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Whether it came true within this time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def stranger() -> subprocess.Popen[bytes]:
    """A process that is none of the portal's."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])


def _environ(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []
