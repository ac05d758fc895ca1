"""The JSON conversation that QEMU's monitor and its guest agent both speak over a Unix socket."""

from __future__ import annotations

import json
import secrets
import socket
import time
from pathlib import Path
from typing import Any, Self


class RefusedCommand(Exception):
    """QEMU or the guest agent answered with an error."""


class QemuSocket:
    """One conversation; every read and write is bounded by `seconds`."""

    def __init__(self, path: Path, *, seconds: float = 10) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._connect(path, seconds)
        self._lines = self._socket.makefile("rw", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, /, **arguments: Any) -> Any:
        """Send a command and return what it returned, passing over greetings and events."""
        self.tell(command, **arguments)
        while True:
            line = self._lines.readline()
            if not line:
                raise ConnectionError(f"the other end closed during {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise RefusedCommand(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def tell(self, command: str, /, **arguments: Any) -> None:
        """Send a command that is not answered."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()

    def _connect(self, path: Path, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._socket.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


class AgentSocket(QemuSocket):
    """A conversation with a guest agent, which answers in its own time: whoever gave up waiting left his answers behind, and
    the next one on the line gets them. So first it is asked for a number (``guest-sync`` of the QEMU guest agent's protocol),
    and whatever comes before that number is of others.
    """

    def __enter__(self) -> Self:
        try:
            self._pass_over()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _pass_over(self) -> None:
        number = secrets.randbelow(2**31)
        self.tell("guest-sync", id=number)
        while True:
            line = self._lines.readline()
            if not line:
                raise ConnectionError("the other end closed before it was asked anything")
            if _returned(line) == number:
                return


def _returned(line: str) -> Any:
    """None for what is an answer's other half, or no answer at all."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer.get("return") if isinstance(answer, dict) else None
