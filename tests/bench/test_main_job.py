"""The bench of the main job works, and says what it promises to say; figures are for people to judge."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("libvirtd")]
ROWS = (
    "click to running machine",
    "click to finished job (read back)",
    "click to first progress message",
    "memory of web, PSS",
    "memory of worker, PSS",
    "bin/up, cold",
    "bin/up, warm",
    "SQL queries of the home page, 1000 machines",
)


def test_the_short_form_prints_every_row_as_json() -> None:
    command = [sys.executable, "-m", "tests.bench.main_job", "--short", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.strip().splitlines()[-1])
    names = [row["name"] for row in printed["rows"]]
    assert [wanted for wanted in ROWS if not any(name.startswith(wanted) for name in names)] == []
    assert all(row["p50"] >= 0 for row in printed["rows"])
    figures = {row["name"]: row["p50"] for row in printed["rows"]}
    assert figures["SQL queries of the home page, 1000 machines"] == figures["SQL queries of the home page, 1 machines"]
    assert figures["hypervisor calls of these pages"] == 0
