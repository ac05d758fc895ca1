"""Threads that write to SQLite take turns, and whatever ends a transaction gives the turn back."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from portal.common.models import AccessVersion
from portal.common.sqlite3 import base
from tests.crowd import in_threads

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def line() -> Iterator[threading.Lock]:
    """Where the writers of the tests' database wait; nobody has the turn in the end."""
    found = base._lines[str(connection.settings_dict["NAME"])]
    yield found
    assert not found.locked()


def begun(end: Callable[[], Any]) -> Any:
    with transaction.atomic():
        assert base._lines[str(connection.settings_dict["NAME"])].locked()
        return end()


def test_a_turn_ends_with_its_transaction_however_that_ends(
    line: threading.Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(lambda: None)
    assert not line.locked()
    with pytest.raises(ZeroDivisionError):
        begun(lambda: 1 / 0)
    assert not line.locked()
    begun(connection.close)  # as a connection that breaks
    connection.close()
    assert not line.locked()
    with monkeypatch.context() as fails:
        connection.ensure_connection()
        fails.setattr(connection, "transaction_mode", "NONSENSE")
        with pytest.raises(OperationalError):
            begun(lambda: None)


def test_a_thread_that_ends_in_the_midst_keeps_no_turn(line: threading.Lock) -> None:
    other = connection.copy()
    other.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    assert line.locked()
    del other
    gc.collect()
    assert not line.locked()


def test_many_writers_at_once_all_come_to_their_turn_and_hold_it_alone(line: threading.Lock) -> None:
    inside: list[int] = []

    def write(number: int) -> int:
        for _turn in range(5):
            with transaction.atomic():
                inside.append(number)
                assert len(inside) == 1, "two are in a transaction at once"
                AccessVersion.objects.create(user_uid=f"{number:08x}-0000-4000-8000-{_turn:012x}", version=1)
                inside.clear()
        return number

    assert sorted(in_threads(20, write)) == list(range(20))
    assert AccessVersion.objects.count() == 100


def test_who_does_not_get_his_turn_in_time_asks_without_it(
    line: threading.Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)
    with line, transaction.atomic():
        AccessVersion.objects.create(user_uid="00000000-0000-4000-8000-000000000000", version=1)
    assert AccessVersion.objects.count() == 1


def test_a_child_does_not_wait_for_its_parents_threads(line: threading.Lock) -> None:
    with line:
        child = os.fork()
        if child == 0:
            os._exit(len(base._lines))
        assert os.waitpid(child, 0)[1] == 0
