"""Which tests run, in which order and on which database; loaded by tests/conftest.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from django.conf import settings
from django.test import TransactionTestCase

from tests.lab.browser import PICTURES
from tests.lab.earlier import earlier_failures, keep_failures
from tests.lab.turns import MARKER, PLACE, without_others_turn

# A fixture of a real part marks the tests that ask for it.
MARKER_OF_FIXTURE = {
    "libvirtd": "libvirt",
    "tiny_linux_image": "libvirt",
    "redis_server": "redis",
    "postgres": "postgres",
    "slapd": "slapd",
    "samba": "samba",
    "chromium": "browser",
}
# In the order in which they run. Last the browser's: Playwright leaves its event loop running in this thread, where
# asynchronous tests need their own.
REAL_PARTS = ("postgres", "redis", "slapd", "samba", "libvirt", "whole", "browser")
# What runs on SQLite alone: its subject is not the database, and it takes long. What has real parts has passes of its own.
WHOLE = ("whole", "browser")
BESIDE_WHOLE = "network"  # this folder's tests go with those, so that both passes with real parts take as long
HEAVY = ("slapd", "samba", "libvirt", *WHOLE)
RUN_ONCE = (*HEAVY, "once")
LAB = "lab"
# What starts the whole portal waits for each of its parts so long and no longer: this is for what hangs nevertheless.
WHOLE_SECONDS = 900
# What needs rows alone goes in two passes of about the same time, so that two cores have work until the end.
DOORS = ("edge", "flows", "pages")
# What pages ask the database is asked by the tests of the API too: pages take turns.
PAGES = "pages"
DATABASE_FIXTURES = {
    "db",
    "transactional_db",
    "django_db_reset_sequences",
    "django_db_serialized_rollback",
    "live_server",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="every combination where a run otherwise takes a share of them"
    )
    parser.addoption("--pictures", action="store_true", help="keep pictures of the pages that browser tests see")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--pictures"):
        os.environ[PICTURES] = "1"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    for item in items:
        _mark(item)
    yield  # here pytest leaves out what -m and -k leave out
    items.sort(key=_place)
    _leave_to_other_pass(config, items)
    if not config.option.collectonly:
        items.extend(earlier_failures(items))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that promises something of PostgreSQL must not pass on another database."""
    if item.get_closest_marker("postgres") and _touches_database(item) and "postgresql" not in _django_database():
        pytest.fail("this test runs on PostgreSQL: bin/test --db=postgres", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    keep_failures(session.config)


def _mark(item: pytest.Item) -> None:
    for fixture, marker in MARKER_OF_FIXTURE.items():
        if fixture in _fixtures(item):
            item.add_marker(marker)
    if item.get_closest_marker("whole") and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(WHOLE_SECONDS))
    if not any(item.get_closest_marker(part) for part in (*REAL_PARTS, "long")):
        item.add_marker("quick")
    runs_on_both = _touches_database(item) and not _has(item, (*RUN_ONCE, "postgres"))
    if item.path.parent.name == PAGES and runs_on_both:
        item.add_marker(MARKER)
    if _has(item, (MARKER,)) and not runs_on_both:
        raise pytest.UsageError(f"{item.nodeid} cannot take turns: it does not run on both databases")


def _place(item: pytest.Item) -> int:
    return max((place for place, part in enumerate(REAL_PARTS, start=1) if item.get_closest_marker(part)), default=0)


def _leave_to_other_pass(config: pytest.Config, items: list[pytest.Item]) -> None:
    """bin/test runs the suite on SQLite, and on PostgreSQL what touches the database (STEGI_TEST_PASS names which).

    The run on SQLite may come in parts: what needs rows alone, what has heavy parts, and the tests of the lab.
    """
    this_pass = os.environ.get("STEGI_TEST_PASS")
    if not this_pass:
        return
    kept = [item for item in items if _belongs(item, "rows" if this_pass == "doors" else this_pass)]
    if this_pass in PLACE:
        kept = without_others_turn(kept, config)
    if this_pass in {"rows", "doors"}:
        kept = [item for item in kept if (item.path.parent.name in DOORS) == (this_pass == "doors")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _belongs(item: pytest.Item, this_pass: str) -> bool:
    on_postgres_only = item.get_closest_marker("postgres") is not None
    if this_pass == "postgres":
        return on_postgres_only or (_touches_database(item) and not _has(item, RUN_ONCE))
    return not on_postgres_only and this_pass in {"sqlite", _pass_on_sqlite(item)}


def _pass_on_sqlite(item: pytest.Item) -> str:
    """Where the whole suite runs what runs on SQLite: see tests/lab/run.py."""
    if _has(item, HEAVY):
        return "whole" if _has(item, WHOLE) or item.path.parent.name == BESIDE_WHOLE else "machines"
    return "lab" if item.path.parent.name == LAB else "rows"


def _has(item: pytest.Item, markers: Sequence[str]) -> bool:
    return any(item.get_closest_marker(marker) for marker in markers)


def _touches_database(item: pytest.Item) -> bool:
    return (
        item.get_closest_marker("django_db") is not None
        or bool(DATABASE_FIXTURES & _fixtures(item))
        or _is_django_case(item)
    )


def _is_django_case(item: pytest.Item) -> bool:
    return issubclass(getattr(item, "cls", None) or object, TransactionTestCase)


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _django_database() -> str:
    return str(settings.DATABASES["default"]["ENGINE"])
