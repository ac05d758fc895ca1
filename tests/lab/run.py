"""The part of bin/test that runs inside the lab's namespaces: the passes of the test suite, or any command.

usage: python -m tests.lab.run [--db=postgres|sqlite|both] [--failed-checks=NAME,...] -- PYTEST_ARGUMENT...
       python -m tests.lab.run [--db=postgres|sqlite] --exec -- COMMAND...
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

import pytest

from tests.lab.earlier import READ, WRITE
from tests.lab.postgres_server import PostgresServer
from tests.lab.servers import RealPartFailed

# What a pass sets, and must not inherit where passes run within a pass (this file's own tests).
OURS: Final = ("DATABASE_URL", "STEGI_TEST_PASS", READ, WRITE)
TITLES: Final = {
    "postgres": "PostgreSQL",
    "sqlite": "SQLite",
    "rows": "SQLite, rows alone",
    "doors": "SQLite, rows alone at the doors and in flows",
    "machines": "SQLite with hypervisors and directories",
    "whole": "SQLite with networks, browser and the whole portal",
    "lab": "SQLite, of the lab itself",
}
# Each of them in a lab of its own within this one: both have a libvirtd, and they run side by side.
REAL: Final = ("machines", "whole")
# All at the same time: those with real parts wait for half of theirs. The others fill that up, and yield where machines boot.
AT_ONCE: Final = 5
YIELDING: Final = ("postgres", "rows", "doors")
NICE: Final = ("nice", "-n", "5")
# Where all tests of a pass lie, so that it need not read the others: it is alone, and everybody waits for it.
FOLDERS: Final = {"lab": ["tests/lab"]}
# The day, by which turns are taken (``turns``): the same for all passes of a run, whatever the clock says at their end.
TURN: Final = os.environ.get("STEGI_TEST_TURN", str(datetime.now(UTC).toordinal()))
NAMESPACE: Final = Path(__file__).with_name("namespace.py")
NOTHING_SELECTED: Final = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def main(arguments: Sequence[str]) -> int:
    options, command = _parse(arguments)
    if options.exec:
        with database(options.db) as environment:
            return subprocess.run(command, env=environment, check=False).returncode
    failures = [
        {"name": f"bin/test {name}", "what": f"{name} failed: its output is above"} for name in options.failed_checks
    ]
    return run_passes(passes_of(options.db, has_arguments=bool(command)), command, failures)


def passes_of(database: str, *, has_arguments: bool) -> list[str]:
    """The whole suite goes in six parts, all but the last side by side; a selection once on each database."""
    if database != "both":
        return [database]
    return ["postgres", "sqlite"] if has_arguments else ["postgres", "rows", "doors", *REAL, "lab"]


def run_passes(passes: Sequence[str], arguments: Sequence[str], failures: list[dict[str, str]]) -> int:
    """Runs them side by side but for the last, which runs alone, reports what failed before it, and ends the output."""
    *before, last = passes
    with TemporaryDirectory(prefix="passes-", dir=os.environ.get("STEGI_LAB_FOLDER")) as made:
        folder, codes = Path(made), []
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            for code, found in pool.map(lambda name: _run_early(name, arguments, folder), before):
                codes.append(code)
                failures.extend(found)
        print(f"== tests on {TITLES[last]}", flush=True)
        of_last = arguments or FOLDERS.get(last, [])
        try:
            codes.append(_run_pass(last, of_last, {READ: _written(folder / "earlier.json", failures)}))
        except RealPartFailed as error:
            failures.append({"name": f"[{last}] the lab", "what": str(error)})
    return _verdict(codes, has_failed=bool(failures))


def _run_early(name: str, arguments: Sequence[str], folder: Path) -> tuple[int, list[dict[str, str]]]:
    """A pass before the last: its code and its failures. What it prints comes at its end, in one piece."""
    kept, log, title, began = folder / f"{name}.json", folder / f"{name}.log", TITLES[name], time.monotonic()
    print(f"== tests on {title}: begun", flush=True)
    try:
        with log.open("w") as output:
            code = _run_pass(name, arguments, {WRITE: str(kept)}, output=output)
    except RealPartFailed as error:
        return 1, [{"name": f"[{name}] the lab", "what": str(error)}]
    print(f"\n== tests on {title}: {time.monotonic() - began:.0f} s\n{log.read_text()}", end="", flush=True)
    return code, _failures_of(kept, name, code)


def _run_pass(name: str, arguments: Sequence[str], handed_on: Mapping[str, str], output: IO[str] | None = None) -> int:
    with database(name) as environment:
        environment |= {"STEGI_TEST_PASS": name, "STEGI_TEST_TURN": TURN, **handed_on}
        lab = [sys.executable, str(NAMESPACE)] if name in REAL else []
        nice = NICE if name in YIELDING else []
        command = [*lab, *nice, sys.executable, "-m", "pytest", *arguments]
        return subprocess.run(command, env=environment, stdout=output, check=False).returncode


def _failures_of(path: Path, name: str, code: int) -> list[dict[str, str]]:
    """What the pass kept; a pass that broke down without a failed test is a failure of its own."""
    kept: list[dict[str, str]] = json.loads(path.read_text()) if path.exists() else []
    broke_down = code not in {0, NOTHING_SELECTED}
    return kept or ([{"name": f"[{name}] pytest", "what": f"pytest ended with {code}"}] if broke_down else [])


def _verdict(codes: Sequence[int], *, has_failed: bool) -> int:
    """A pass may have nothing to do (all selected tests belong to the other one), but not all of them."""
    failed = [code for code in codes if code not in {0, NOTHING_SELECTED}]  # below 0: ended by a signal
    if failed or has_failed:
        return max(1, *failed) if failed else 1
    return 0 if 0 in codes else NOTHING_SELECTED


@contextmanager
def database(name: str) -> Iterator[dict[str, str]]:
    """The environment for one database, with the server running that it names."""
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    if name != "postgres":
        yield environment
        return
    server = PostgresServer()
    server.start()
    try:
        yield environment | {"DATABASE_URL": server.url}
    finally:
        server.stop()


def _written(path: Path, failures: Sequence[dict[str, str]]) -> str:
    path.write_text(json.dumps(list(failures)))
    return str(path)


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    ours, given = list(arguments), []
    if "--" in ours:
        cut = ours.index("--")
        ours, given = ours[:cut], ours[cut + 1 :]
    parser = argparse.ArgumentParser(prog="tests.lab.run")
    parser.add_argument("--db", choices=["postgres", "sqlite", "both"], default="both")
    parser.add_argument("--failed-checks", type=lambda text: text.split(",") if text else [], default=[])
    parser.add_argument("--exec", action="store_true")
    return parser.parse_args(ours), given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
