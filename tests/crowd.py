"""Many at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connections

MEET_SECONDS = 60
END_SECONDS = 170


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``work`` gave for each number, all begun at one moment, each on a connection of its own."""
    results: list[Any] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            barrier.wait(MEET_SECONDS)
            results.append(work(number))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(END_SECONDS)
    assert len(results) == count, "a thread failed or hangs"
    return results
