"""uvicorn's HTTP, with the head of a request (its line and headers) bounded in bytes and in time.

As it comes (0.54, with httptools), uvicorn keeps whatever a client sends as a header, without end and for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 32 * 1024  # bytes, as nginx has it by default
HEAD_SECONDS = 20.0
FIELDS_LIMIT = 100
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 36\r\nconnection: close\r\n\r\n"
    b"The request's headers are too large."
)


class HeadTooLarge(Exception):
    """A client has sent more than a head may have."""


class BoundedHeads(HttpToolsProtocol):
    """One client's connection: a head that is too large is 431, one that does not come in time ends it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heads = 0  # begun on this connection
        self._head_is_whole = False
        self._unfinished_bytes = 0
        self._is_too_large = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Expect a head."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse. A read that only makes a head longer counts; the one it began with may hold other things too."""
        before = self._heads
        super().data_received(data)
        if self._heads == before and not self._head_is_whole and not self.transport.is_closing():
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > HEAD_LIMIT:
                self._refuse()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._heads += 1
        self._head_is_whole, self._unfinished_bytes = False, 0
        self._start_clock()

    def on_headers_complete(self) -> None:
        """The head is whole: its size is known now, however it came."""
        self._stop_clock()
        self._head_is_whole = True
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_LIMIT or len(self.headers) > FIELDS_LIMIT:
            self._is_too_large = True
            raise HeadTooLarge  # the parser takes no more, and answers as for what it cannot parse
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or is too large."""
        if self._is_too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def _start_clock(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _too_late(self) -> None:
        self.transport.close()
