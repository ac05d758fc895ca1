"""uvicorn's websocket, with what one hostile client may cost bounded: turns, frames a second, unread answers.

As it comes (0.54), uvicorn parses everything a read brought in one go and answers every ping into a buffer without end:
a client that floods 1-byte frames or pings, and reads nothing, stops all other sockets for most of a second and grows
the process by some 40 MiB a second.
"""

from __future__ import annotations

import asyncio
import logging
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

TURN = 4096  # bytes parsed before other sockets have their turn; at most 683 frames
FRAMES_PER_SECOND = 1000  # sustained; a console in heavy use sends a tenth of it
FRAMES_AT_ONCE = 2000  # a burst above it
FRAGMENTS_LIMIT = 4096  # of one message
UNREAD_LIMIT = 1024 * 1024  # bytes of answers to pings that a client may leave unread
UNSENT_LIMIT = 512 * 1024  # bytes in the kernel that wait to be sent


# Of its own, with a level of its own (portal.settings): uvicorn tells of every socket with its query string, where clients
# put what no log should hold.
log = logging.getLogger(__name__)


class FairWebSocket(WebSocketsSansIOProtocol):
    """One client's websocket; a flood slows down its sender alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = bytearray()  # read, not parsed yet: at most what one read brings
        self._turn: asyncio.TimerHandle | None = None
        self._frames_left = float(FRAMES_AT_ONCE)
        self._counted_at = self.loop.time()
        self.logger = log
        self.conn.debug = False  # at the log level DEBUG it would log headers, tickets among them, and every frame

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what waits in the kernel short: on a slow line a screen of long ago is worth less than a prompt ping."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if self.client is not None and sock is not None:  # TCP
            sock.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_LIMIT)

    def data_received(self, data: bytes) -> None:
        """Parse a turn's worth now; the rest when others have had theirs."""
        if not self._held and len(data) <= TURN and self._frames_left >= 1:
            super().data_received(data)
            return
        self._waiting += data
        if self._turn is None:
            self._take_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not parsed yet."""
        if self._turn is not None:
            self._turn.cancel()
        self._waiting.clear()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Count the frames that are about to be handled."""
        self._frames_left -= sum(isinstance(event, Frame) for event in self.conn.events)
        super().handle_events()

    def handle_ping(self) -> None:
        """Answer, unless the client reads no answers."""
        if self.transport.get_write_buffer_size() > UNREAD_LIMIT:
            self.transport.abort()
            return
        super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment; a message of too many ends the connection, for an empty fragment counts in no size."""
        if len(self.frames) >= FRAGMENTS_LIMIT:
            self.transport.abort()
            return
        super().handle_cont(event)

    def keepalive_timeout(self) -> None:
        """Cut off a client that answers no ping; a gentle close would wait for it to read what it does not."""
        super().keepalive_timeout()
        self.transport.abort()

    async def receive(self) -> Any:
        """The next message; goes on reading when there is none left, but not past what waits to be parsed."""
        message = await super().receive()
        if self._held:
            self._go_on()
        return message

    async def send(self, message: Any) -> None:
        """Send; a client that reads nothing would never let a close through, so it is cut off instead."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.transport.abort()
            return
        await super().send(message)

    @property
    def _held(self) -> bool:
        return bool(self._waiting) or self._turn is not None

    def _take_turn(self) -> None:
        self._turn = None
        piece = bytes(self._waiting[:TURN])
        del self._waiting[:TURN]
        if piece and not self.transport.is_closing():
            super().data_received(piece)
        self._go_on()

    def _go_on(self) -> None:
        """Plan the next turn, unless the application has not taken the last one's messages; read when all is done."""
        wait = self._wait()
        if self._turn is None and (wait or (self._waiting and not self.read_paused)):
            self._turn = self.loop.call_later(wait, self._take_turn)
        if self._held:
            self.transport.pause_reading()
        elif not self.read_paused:
            self.transport.resume_reading()

    def _wait(self) -> float:
        """Seconds until this client may send another frame."""
        now = self.loop.time()
        earned = (now - self._counted_at) * FRAMES_PER_SECOND
        self._frames_left = min(FRAMES_AT_ONCE, self._frames_left + earned)
        self._counted_at = now
        return max(0.0, (1 - self._frames_left) / FRAMES_PER_SECOND)
