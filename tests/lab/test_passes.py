"""bin/test's last word is true: what failed before the last pass is a failed test of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.lab.run import FOLDERS, _verdict, passes_of, run_passes
from tests.lab.turns import todays

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).resolve().parents[2]
NOTHING_SELECTED = 5


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A suite of its own with the lab's rules, for pytest to run in a process of its own; seen in a lab within the lab."""
    monkeypatch.setitem(os.environ, "TMPDIR", str(tmp_path))
    with TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder) / "test_suite.py"


PYTEST = (
    "-c",
    str(REPOSITORY / "pyproject.toml"),
    "-p",
    "tests.lab.selection",
    "-p",
    "no:cacheprovider",
    "--ds=tests.lab.plain_settings",
)


def passes(suite: Path, *, names: list[str], failures: list[dict[str, str]] | None = None) -> int:
    return run_passes(names, [*PYTEST, "-q", str(suite)], list(failures or []))


def of_no_pass() -> dict[str, str]:
    """An environment in which all tests belong to the run."""
    return {name: value for name, value in os.environ.items() if name not in {"STEGI_TEST_PASS", "DATABASE_URL"}}


def last_line(capfd: pytest.CaptureFixture[str]) -> str:
    return capfd.readouterr().out.strip().splitlines()[-1]


def test_all_well(suite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    suite.write_text("def test_fine(): pass\n")
    assert passes(suite, names=["sqlite"]) == 0
    assert last_line(capfd).startswith("1 passed")


def test_a_failed_check_is_a_failed_test(suite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    suite.write_text("def test_fine(): pass\n")
    assert passes(suite, names=["sqlite"], failures=[{"name": "bin/test mypy", "what": "mypy failed"}]) == 1
    assert last_line(capfd).startswith("1 failed, 1 passed")


def test_a_failed_check_fails_a_run_that_selects_nothing(suite: Path) -> None:
    suite.write_text("")
    assert passes(suite, names=["sqlite"]) == NOTHING_SELECTED
    assert passes(suite, names=["sqlite"], failures=[{"name": "bin/test mypy", "what": "mypy failed"}]) != 0


@pytest.mark.postgres
def test_a_failure_on_postgresql_is_a_failed_test_of_the_pass_on_sqlite(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suite.write_text(
        "import pytest\nfrom django.db import connection\n"
        "@pytest.mark.django_db\ndef test_vendor(): assert connection.vendor == 'sqlite'\n"
    )
    assert passes(suite, names=["postgres", "sqlite"]) == 1
    told = capfd.readouterr().out
    assert "[PostgreSQL]" in told
    assert told.strip().splitlines()[-1].startswith("1 failed, 1 passed")


@pytest.mark.postgres
def test_a_test_for_postgresql_runs_there_and_only_there(suite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    suite.write_text(
        "import pytest\nfrom django.db import connection\npytestmark = pytest.mark.django_db\n"
        "@pytest.mark.postgres\ndef test_vendor(): assert connection.vendor == 'postgresql'\n"
    )
    assert passes(suite, names=["postgres", "sqlite"]) == 0
    assert "1 passed" in capfd.readouterr().out


@pytest.mark.postgres
def test_each_test_of_the_whole_suite_runs_in_one_pass_on_sqlite_and_failures_of_all_are_told_at_the_end(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    row = "@pytest.mark.django_db\n{mark}def test_{name}(): assert connection.vendor == '{vendor}'\n"
    tests = (
        row.format(mark="", name="vendor", vendor="postgresql"),
        row.format(mark="@pytest.mark.browser\n", name="page", vendor="sqlite"),
        row.format(mark="@pytest.mark.libvirt\n", name="machine", vendor="sqlite"),
        "def test_plain(): pass\n",
    )
    suite.write_text("import pytest\nfrom django.db import connection\n" + "".join(tests))
    lab = suite.parent / "lab"
    lab.mkdir()
    (lab / "test_of_the_lab.py").write_text("def test_lab(): pass\n")
    assert run_passes(passes_of("both", has_arguments=False), [*PYTEST, "-q", str(suite), str(lab)], []) == 1
    told = capfd.readouterr().out
    counts = [line for line in told.splitlines() if "deselected in" in line or " passed" in line]
    assert sorted(line.partition(" in ")[0] for line in counts) == [
        "1 failed, 1 passed, 3 deselected",  # on SQLite, what needs rows alone
        "1 failed, 1 passed, 4 deselected",  # its failure again, after the test of the lab
        "1 passed, 4 deselected",  # on PostgreSQL
        "1 passed, 4 deselected",  # with hypervisors
        "1 passed, 4 deselected",  # with the browser
        "5 deselected",  # at the doors
    ], told
    assert "FAILED [SQLite]" in told  # in the last summary; CI=true makes pytest tell each failure in full there
    assert told.strip().splitlines()[-1].startswith("1 failed, 1 passed")


def test_what_takes_turns_is_tried_once_in_a_whole_run_and_by_each_pass_in_two(suite: Path) -> None:
    suite.write_text(
        "import pytest\npytestmark = pytest.mark.django_db\n"
        "@pytest.mark.turns\n@pytest.mark.parametrize('n', range(3))\ndef test_long(n): pass\ndef test_short(): pass\n"
    )

    def tried(name: str, turn: int, *options: str) -> set[str]:
        ours = {"STEGI_TEST_PASS": name, "STEGI_TEST_TURN": str(turn)} if name else {}
        command = [sys.executable, "-m", "pytest", *PYTEST, "--collect-only", "-q", *options, str(suite)]
        done = subprocess.run(
            command, env=of_no_pass() | ours, capture_output=True, text=True, check=False, timeout=120
        )
        return {line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line}

    every = {"test_long[0]", "test_long[1]", "test_long[2]", "test_short"}
    assert tried("postgres", 0) == tried("rows", 1) == {"test_long[0]", "test_long[2]", "test_short"}
    assert tried("postgres", 1) == tried("rows", 0) == {"test_long[1]", "test_short"}
    assert tried("doors", 0) == set(), "the other half of what needs rows alone"
    assert tried("", 0) == tried("postgres", 0, "--full") == tried("sqlite", 0) == every


def test_what_has_very_many_cases_has_tried_all_within_so_many_days(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(day: int, *, full: bool) -> list[int]:
        monkeypatch.setenv("STEGI_TEST_TURN", str(day))
        return list(todays(range(10), cast("Any", SimpleNamespace(getoption=lambda _name: full)), days=7))

    week = [case for day in range(20, 27) for case in tried(day, full=False)]
    assert sorted(week) == list(range(10)) == tried(20, full=True)
    assert len(tried(20, full=False)) <= 2


def test_what_runs_on_one_database_cannot_take_turns(suite: Path) -> None:
    suite.write_text("import pytest\n@pytest.mark.turns\ndef test_plain(): pass\n")
    command = [sys.executable, "-m", "pytest", *PYTEST, str(suite)]
    done = subprocess.run(command, env=of_no_pass(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert "cannot take turns" in done.stdout + done.stderr


def test_a_pass_that_a_signal_ends_fails_the_run() -> None:
    assert [_verdict(codes, has_failed=False) for codes in ([0, -9], [5, -11], [0, 5], [5, 5])] == [1, 1, 0, 5]
    assert _verdict([0, 0], has_failed=True) == 1


def test_a_selection_runs_once_on_each_database() -> None:
    assert passes_of("both", has_arguments=True) == ["postgres", "sqlite"]
    assert passes_of("sqlite", has_arguments=False) == ["sqlite"]


def test_the_pass_that_reads_one_folder_has_all_its_tests_there() -> None:
    named = [path for path in (REPOSITORY / "tests").rglob("lab") if path.is_dir()]
    assert {"lab": [str(path.relative_to(REPOSITORY)) for path in named]} == FOLDERS


def test_a_test_for_postgresql_fails_on_another_database(suite: Path) -> None:
    suite.write_text("import pytest\n@pytest.mark.postgres\n@pytest.mark.django_db\ndef test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", *PYTEST, str(suite)]
    done = subprocess.run(command, env=of_no_pass(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "bin/test --db=postgres" in done.stdout


def test_the_order_ends_with_the_browser(suite: Path) -> None:
    suite.write_text(
        "import pytest\n"
        "@pytest.mark.browser\ndef test_b(): pass\n@pytest.mark.whole\ndef test_w(): pass\n"
        "@pytest.mark.redis\ndef test_r(): pass\ndef test_q(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", *PYTEST, "--collect-only", "-q", str(suite)]
    done = subprocess.run(command, env=of_no_pass(), capture_output=True, text=True, check=False, timeout=120)
    assert [line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line] == [
        "test_q",
        "test_r",
        "test_w",
        "test_b",
    ]
