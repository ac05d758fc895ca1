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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.lab.earlier import READ, WRITE
from tests.lab.postgres_server import PostgresServer
from tests.lab.servers import RealPartFailed, new_folder

# What a pass sets, and must not inherit where passes run within a pass (this file's own tests).
OURS: Final = ("DATABASE_URL", "STEGI_TEST_PASS", READ, WRITE)
NOTHING_SELECTED: Final = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def main(arguments: Sequence[str]) -> int:
    options, command = _parse(arguments)
    if options.exec:
        with database(options.db) as environment:
            return subprocess.run(command, env=environment, check=False).returncode
    failures = [
        {"name": f"bin/test {name}", "what": f"{name} failed: its output is above"} for name in options.failed_checks
    ]
    return run_passes(["postgres", "sqlite"] if options.db == "both" else [options.db], command, failures)


def run_passes(passes: Sequence[str], arguments: Sequence[str], failures: list[dict[str, str]]) -> int:
    """Runs the suite on each database; the last pass reports what failed before it too, and ends the output."""
    folder, codes = new_folder("passes"), []
    for name in passes:
        print(f"== tests on {'PostgreSQL' if name == 'postgres' else 'SQLite'}", flush=True)
        is_last = name == passes[-1]
        handed_on = (
            {READ: _written(folder / "earlier.json", failures)} if is_last else {WRITE: str(folder / f"{name}.json")}
        )
        try:
            codes.append(_run_pass(name, arguments, handed_on))
        except RealPartFailed as error:
            failures.append({"name": f"[{name}] the lab", "what": str(error)})
        if not is_last:
            failures.extend(_failures_of(folder / f"{name}.json", name, codes))
    return _verdict(codes, has_failed=bool(failures))


def _run_pass(name: str, arguments: Sequence[str], handed_on: Mapping[str, str]) -> int:
    with database(name) as environment:
        environment |= {"STEGI_TEST_PASS": name, **handed_on}
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


def _failures_of(path: Path, name: str, codes: Sequence[int]) -> list[dict[str, str]]:
    """What the pass kept; a pass that broke down without a failed test is a failure of its own."""
    kept: list[dict[str, str]] = json.loads(path.read_text()) if path.exists() else []
    broke_down = bool(codes) and codes[-1] not in {0, NOTHING_SELECTED}
    return kept or ([{"name": f"[{name}] pytest", "what": f"pytest ended with {codes[-1]}"}] if broke_down else [])


def _verdict(codes: Sequence[int], *, has_failed: bool) -> int:
    """A pass may have nothing to do (all selected tests belong to the other one), but not all of them."""
    worst = max((code for code in codes if code != NOTHING_SELECTED), default=NOTHING_SELECTED)
    return worst or int(has_failed)


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
