"""After a part has not answered in time, leave it in peace for a while instead of paying its time-out each time."""

from __future__ import annotations

import time


class Rest:
    """A pause of so many seconds, for this process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    def begin(self) -> None:
        """It did not answer just now."""
        self._until = time.monotonic() + self._seconds

    def end(self) -> None:
        """It answers."""
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it should not be asked yet."""
        return time.monotonic() < self._until
