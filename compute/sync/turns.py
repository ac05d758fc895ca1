"""Much that is looked after a piece at a time: another piece each minute, so that what fails does not starve the rest."""

from __future__ import annotations

import time

TURN_SECONDS = 60


def turn_of(count: int, *, most: int) -> slice:
    """Which of ``count`` things are looked after now, ``most`` at a time."""
    first = int(time.time() // TURN_SECONDS) % max(1, -(-count // most)) * most
    return slice(first, first + most)
