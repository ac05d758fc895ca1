"""Whole images in plain forms: a few at once, for so long at most, and only where there is room for them.

Nobody looks at such a body before all of it is there: Django writes it into the temporary folder as it comes, and its file
once more beside it; quota and room of the spool are asked after that.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from django.conf import settings

from portal.refused_bodies import Refused

AT_ONCE = 2  # of one web server
SECONDS = 1800.0  # for all of it to come: 1 GiB at 5 Mbit/s
COPIES = 2  # of its bytes in the temporary folder, at their most
RETRY_SECONDS = 60

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class ImageForms:
    """The forms that one web server takes now; each has its room promised."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._promised: list[int] = []

    @contextmanager
    def place(self, length: int) -> Iterator[None]:
        """A place for a body of this length. Raises ``Refused`` where all are taken, or there is no room for it."""
        if len(self._promised) >= AT_ONCE:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, retry_after=RETRY_SECONDS, most=AT_ONCE)
        needed, free = COPIES * length, self._free()
        if needed > free:
            raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, free=free, needed=needed)
        self._promised.append(needed)
        try:
            yield
        finally:
            self._promised.remove(needed)

    def in_time(self, receive: Receive, *, pause: float) -> Receive:
        """The body as it comes; ``Refused`` raises from it once it is late, or nothing of it came for ``pause`` seconds."""
        now = asyncio.get_running_loop().time
        until, is_whole = now() + self._seconds, False

        async def bounded() -> Message:
            nonlocal is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(min(until, now() + pause)):
                    message = await receive()
            except TimeoutError as error:
                raise Refused(HTTPStatus.REQUEST_TIMEOUT) from error
            is_whole = not message.get("more_body", False)
            return message

        return bounded

    def _free(self) -> int:
        """What is left for one more. What those under way have written already is counted twice, for nobody knows how much it is."""
        there = shutil.disk_usage(tempfile.gettempdir()).free
        return max(0, there - settings.IMAGE_SPARE_BYTES - sum(self._promised))
