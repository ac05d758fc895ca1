"""The main job's figures: ``bin/test --exec .venv/bin/python -m tests.bench.main_job [--json] [--short]``.

Starts a whole portal on real libvirt with bin/up, in a data folder of its own, and purges it at the end. docs/developers.md
says what each row means. ``--short``: one round of each, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import first_message, provisioning
from tests.bench.client import PortalClient
from tests.bench.console_relay import children
from tests.bench.table import Row, row, show
from tests.up.portal_run import PortalRun

ROUNDS = 7
SETTLE_SECONDS = 3.0  # after the start, for the worker's pool and the first look at the provider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--short", action="store_true", help="one round of each")
    options = parser.parse_args()
    run = PortalRun.new()
    try:
        rows = measure(run, rounds=1 if options.short else ROUNDS)
    finally:
        run.up("--purge")
        run.close()
    show(rows, as_json=options.json)


def measure(run: PortalRun, *, rounds: int) -> list[Row]:
    cold, warm = starts(run)
    rows = [*memory(run)]
    client, order = customer(run)
    with first_message.running_floor(f"unix://{run.data / 'redis' / 'redis.sock'}") as floor:
        rows = [*first_message.measure(client, floor, order, rounds=rounds), *rows]
    machines = provisioning.measure(client, order, rounds=rounds)
    return [*machines, *rows, *cold, *warm, *page_queries()]


def starts(run: PortalRun) -> tuple[list[Row], list[Row]]:
    """Cold: packages are there, the data folder is empty, so the demo is made. Warm: it starts again over what it left."""
    cold = timed_start(run)
    assert run.up("--stop").returncode == 0
    warm = timed_start(run)
    return [row("bin/up, cold: packages there, no data", "s", [cold])], [row("bin/up, warm", "s", [warm])]


def timed_start(run: PortalRun) -> float:
    began = time.perf_counter()
    started = run.up("--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    return time.perf_counter() - began


def memory(run: PortalRun) -> list[Row]:
    """Idle: proportional (what it adds to the machine) and resident."""
    time.sleep(SETTLE_SECONDS)
    rows = []
    for process in run.status()["processes"]:
        pids = [process["pid"], *children(process["pid"])]
        for title, field in (("PSS", "Pss:"), ("RSS", "Rss:")):
            name = f"memory of {process['name']}, {title}, {len(pids)} process{'es' if len(pids) > 1 else ''}"
            rows.append(row(name, "MiB", [sum(rollup(pid, field) for pid in pids) / 1024]))
    return rows


def rollup(pid: int, field: str) -> int:
    """KiB of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))


def customer(run: PortalRun) -> tuple[PortalClient, dict[str, Any]]:
    """An end user of the demo, and what he orders."""
    login = next(each for each in run.status()["logins"] if each["username"] == "alice")
    client = PortalClient(run.port, username="alice", password=login["password"])
    order = {
        "template": client.call("GET", "templates/")["results"][0]["id"],
        "data_center": client.call("GET", "data-centers/")["results"][0]["id"],
    }
    return client, order


def page_queries() -> list[Row]:
    command = [sys.executable, "-m", "tests.bench.page_queries"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    rows = [row(f"SQL queries of the {page}", "queries", [count]) for page, count in found["queries"].items()]
    return [*rows, row("hypervisor calls of these pages", "calls", [found["hypervisor_calls"]])]


if __name__ == "__main__":
    main()
