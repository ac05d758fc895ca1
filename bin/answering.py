"""Waiting until a started process really answers; a process that keeps ending is told of with its last words."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import engine
from addresses import Reach, bracketed
from failure import StartError
from folder import DataFolder
from options import Options
from supervisor import Child, Supervisor

ANSWER_SECONDS: Final = 90.0
PATIENCE: Final = 3


def wait_for_redis(supervisor: Supervisor, child: Child, path: Path) -> None:
    """Until it answers PING with PONG."""
    _wait(supervisor, child, lambda: _pongs(path))


def wait_for_http(supervisor: Supervisor, child: Child, options: Options, reach: Reach) -> None:
    """Until it answers a request with anything but a server error."""
    _wait(supervisor, child, lambda: _status(options, reach) < 500)


def wait_for_engine(supervisor: Supervisor, child: Child, folder: DataFolder) -> None:
    """Until the double of an engine gives its certificate."""
    _wait(supervisor, child, lambda: engine.answers(folder))


def _wait(supervisor: Supervisor, child: Child, answers: Callable[[], bool]) -> None:
    name, until = child.program.name, time.monotonic() + ANSWER_SECONDS
    while True:
        supervisor.tick()
        # Only while our own process lives: on its address another program could answer.
        if child.process and _tried(answers) and child.process.poll() is None:
            return
        if child.restarts >= PATIENCE:
            raise StartError(f"{name} keeps ending: {child.last_line()}", f"its log is {child.log}")
        if time.monotonic() > until:
            raise StartError(f"{name} does not answer within {ANSWER_SECONDS:.0f} s", f"its log is {child.log}")
        time.sleep(0.1)


def _tried(answers: Callable[[], bool]) -> bool:
    try:
        return answers()
    except (OSError, http.client.HTTPException):
        return False


def _pongs(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


def _status(options: Options, reach: Reach) -> int:
    """The answer's status. The certificate is not verified: it is this machine asking itself, and no secret is sent."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.bind, options.bind)  # noqa: S104 - only compared with
    if reach.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            here, reach.port, timeout=10, context=context
        )
    else:
        connection = http.client.HTTPConnection(here, reach.port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": f"{bracketed(reach.hosts[0])}:{reach.port}"})
        return connection.getresponse().status
    finally:
        connection.close()
