"""Console throughput, key echo and memory: the relay against a plain asyncio TCP relay, websockify beside them.

``python -m tests.bench.console_relay [--json] [--rounds N] [--mib N]``. Rounds are interleaved; p50 and best are shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.console_client import ConsoleClient

MIB = 1 << 20
KEYS = 300  # keys pressed in one round
IDLE = 100  # consoles open at once while memory is read


@dataclass
class Gateway:
    """A way to the source, with what was measured of it."""

    name: str
    pid: int
    dial: Callable[[], ConsoleClient]
    throughput: list[float] = field(default_factory=list)  # MiB/s
    echo: list[float] = field(default_factory=list)  # microseconds, one per key
    idle_kib: float = 0.0
    stalled_mib: float = 0.0


def measure_throughput(gateway: Gateway, *, mib: int) -> None:
    client = gateway.dial()
    start = time.perf_counter()
    client.send(struct.pack(">BxxxI", ord("B"), mib * 16))  # blocks of 64 KiB
    client.receive(mib * MIB)
    gateway.throughput.append(mib / (time.perf_counter() - start))
    client.close()


def measure_echo(gateway: Gateway) -> None:
    client = gateway.dial()
    key = struct.pack(">BxxxI", ord("E"), 0)
    for number in range(KEYS + 20):
        start = time.perf_counter()
        client.send(key)
        client.receive(8)
        if number >= 20:
            gateway.echo.append((time.perf_counter() - start) * 1e6)
    client.close()


def measure_memory(gateway: Gateway) -> None:
    """Idle: what each of many open consoles adds. Stalled: what one whose client stopped reading adds."""
    gateway.dial().close()
    time.sleep(0.5)
    before = memory_kib(gateway.pid)
    clients = [gateway.dial() for _ in range(IDLE)]
    time.sleep(0.5)
    gateway.idle_kib = (memory_kib(gateway.pid) - before) / IDLE
    before = memory_kib(gateway.pid)
    clients[0].send(struct.pack(">BxxxI", ord("B"), 16 * 1024))  # a GiB
    time.sleep(3)
    gateway.stalled_mib = (memory_kib(gateway.pid) - before) / 1024
    for client in clients:
        client.close()
    time.sleep(0.5)


def memory_kib(pid: int) -> float:
    """Proportional set size of a process and its children: websockify has one process for each console."""
    total = 0
    for process in [pid, *children(pid)]:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return direct + [grandchild for child in direct for grandchild in children(child)]
    return []


@contextlib.contextmanager
def process(*arguments: str, announces: bool = True) -> Iterator[tuple[int, int]]:
    """Run a Python module; gives its pid and the port that it prints."""
    command = [sys.executable, "-m", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield running.pid, int(running.stdout.readline()) if announces else 0
    finally:
        running.terminate()
        running.wait(10)


def start(stack: ExitStack) -> list[Gateway]:
    """The source and every gateway, each in its own process."""
    source_pid, source = stack.enter_context(process("tests.bench.console_gateways", "source"))
    gateways = [Gateway("direct", source_pid, partial(ConsoleClient, source))]
    for name in ("plain", "plain-uvloop", "relay"):
        pid, port = stack.enter_context(process("tests.bench.console_gateways", name, str(source)))
        path = "/" if name == "relay" else ""
        gateways.append(Gateway(name, pid, partial(ConsoleClient, port, websocket=path)))
    port = free_port()
    pid, _ = stack.enter_context(process("websockify", f"127.0.0.1:{port}", f"127.0.0.1:{source}", announces=False))
    wait_for(port)
    return [*gateways, Gateway("websockify", pid, partial(ConsoleClient, port, websocket="/"))]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("websockify did not start")


def report(gateways: list[Gateway], *, rounds: int, mib: int) -> dict[str, object]:
    rows = {gateway.name: figures(gateway) for gateway in gateways}
    plain, relay, websockify = rows["plain"], rows["relay"], rows["websockify"]
    added = {name: row["echo_p50_us"] - rows["direct"]["echo_p50_us"] for name, row in rows.items()}
    ratios = {
        "throughput / plain": relay["mib_s_p50"] / plain["mib_s_p50"],
        "throughput / websockify": relay["mib_s_p50"] / websockify["mib_s_p50"],
        "echo added / websockify's": added["relay"] / added["websockify"],
        "idle memory / websockify's": relay["idle_kib"] / websockify["idle_kib"],
    }
    return {"rounds": rounds, "mib": mib, "load": os.getloadavg(), "gateways": rows, "relay": ratios}


def figures(gateway: Gateway) -> dict[str, float]:
    ordered = sorted(gateway.echo)
    return {
        "mib_s_p50": statistics.median(gateway.throughput),
        "mib_s_best": max(gateway.throughput),
        "echo_p50_us": statistics.median(ordered),
        "echo_p99_us": ordered[int(len(ordered) * 0.99)],
        "echo_min_us": ordered[0],
        "idle_kib": gateway.idle_kib,
        "stalled_mib": gateway.stalled_mib,
    }


def show(result: dict) -> None:
    columns = list(next(iter(result["gateways"].values())))
    print(f"{'':14}" + "".join(f"{column:>13}" for column in columns))
    for name, row in result["gateways"].items():
        print(f"{name:14}" + "".join(f"{row[column]:13.1f}" for column in columns))
    for name, ratio in result["relay"].items():
        print(f"relay: {name:28} {ratio:6.3f}")
    print(f"{result['rounds']} rounds of {result['mib']} MiB; load", *(f"{load:.2f}" for load in result["load"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512)
    options = parser.parse_args()
    with ExitStack() as stack:
        gateways = start(stack)
        for _ in range(options.rounds):
            for gateway in gateways:
                measure_throughput(gateway, mib=options.mib)
            for gateway in gateways:
                measure_echo(gateway)
        for gateway in gateways[1:]:
            measure_memory(gateway)
        result = report(gateways, rounds=options.rounds, mib=options.mib)
    print(json.dumps(result)) if options.json else show(result)


if __name__ == "__main__":
    main()
