"""The bench of a directory's log-ins works, and says what it promises to say; figures are for people to judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

ROWS = {
    "log-in over the API",
    "log-in, the directory's part",
    "preview of a sync, 60 signed in",
    "preview of a sync, 60 signed in, SQL queries",
}


@pytest.mark.long
@pytest.mark.slapd
def test_the_short_form_prints_every_row_as_json() -> None:
    command = [sys.executable, "-m", "tests.bench.directory_login", "--short", "--json", "--people=300", "--members=60"]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout.strip().splitlines()[-1])["rows"]}
    assert set(rows) == ROWS
    assert all(row["ratio"] > 0 for row in rows.values() if row["unit"] == "ms")
    assert rows["preview of a sync, 60 signed in, SQL queries"]["p50"] < 15
