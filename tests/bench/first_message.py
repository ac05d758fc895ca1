"""From the click to the first progress message in the page's websocket, beside the least that this can cost."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from websockets.sync.client import connect

from tests.bench.client import PortalClient
from tests.bench.table import Row, row
from tests.lab.servers import wait_until
from tests.up.portal_run import free_port


@dataclass
class Floor:
    """The bare view, task and websocket, running."""

    port: int

    def once(self) -> float:
        """Milliseconds from the click to the message."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with connect(f"ws://127.0.0.1:{self.port}/ws/", compression=None) as socket:
            time.sleep(0.05)  # for the group to be joined
            began = time.perf_counter()
            link.request("POST", "/start/")
            socket.recv(timeout=30)
            return (time.perf_counter() - began) * 1000


@contextlib.contextmanager
def running_floor(redis: str) -> Iterator[Floor]:
    port = free_port()
    environment = {**os.environ, "FLOOR_REDIS": redis}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    web = ["uvicorn", "tests.bench.floor:application", f"--port={port}", "--log-level=error", "--lifespan=off"]
    worker = ["celery", "-A", "tests.bench.floor", "worker", "-Q", "floor", "--concurrency=2", "--loglevel=ERROR"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command in (web, [*worker, "--without-gossip", "--without-mingle"])
    ]
    floor = Floor(port)
    try:
        wait_until(lambda: _answers(floor), "the floor to answer")
        yield floor
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


def measure(client: PortalClient, floor: Floor, order: dict[str, Any], *, rounds: int) -> list[Row]:
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(floor.once())
        ours.append(_once(client, order))
    return [row("click to first progress message", "ms", ours, against="bare view, task, websocket", floor=bare)]


def _once(client: PortalClient, order: dict[str, Any]) -> float:
    with client.page_socket() as socket:
        socket.send('{"watch": ["jobs"]}')
        socket.recv(timeout=30)  # what is watched is sent at once; the next is news
        began = time.perf_counter()
        accepted = client.call("POST", "vms/", order | {"name": f"first-{time.monotonic_ns()}", "run": False})
        socket.recv(timeout=30)
        took = (time.perf_counter() - began) * 1000
    client.wait(accepted["job"]["id"])
    client.wait(client.call("DELETE", f"vms/{accepted['vm']['id']}/")["job"]["id"])
    return took


def _answers(floor: Floor) -> bool:
    try:
        floor.once()
    except (OSError, TimeoutError):
        return False
    return True
