"""Hand-made ends of a relay: a client at the websocket's place, and VNC servers that are not quite right."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from compute.console_relay import Timeouts, VncRelay
from portal.hypervisors.specs import ConsoleTarget

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SHORT = Timeouts(connect=5.0, handshake=0.3, client=0.3, stall=0.3)


class Client:
    """What a browser's end of the relay sees; ``stalled`` makes it stop taking bytes."""

    def __init__(self, target: ConsoleTarget, *, timeouts: Timeouts | None = None) -> None:
        self.got = bytearray()
        self.sends = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()
        self.relay = VncRelay(target, send=self._take, on_closed=self._note_closed, timeouts=timeouts)

    async def exactly(self, count: int) -> bytes:
        """The next ``count`` bytes that the relay sent."""
        async with asyncio.timeout(20):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        data = bytes(self.got[:count])
        del self.got[:count]
        return data

    async def reason(self) -> str:
        """Why the relay ended."""
        async with asyncio.timeout(20):
            return await asyncio.shield(self.closed)

    async def enter(self) -> None:
        """Open, and be a proper 3.8 client up to SecurityResult."""
        await self.relay.open()
        assert await self.exactly(12) == b"RFB 003.008\n"
        await self.relay.received(b"RFB 003.008\n")
        assert await self.exactly(2) == b"\x01\x01"
        await self.relay.received(b"\x01")
        assert await self.exactly(4) == b"\0\0\0\0"

    async def initialise(self) -> str:
        """ClientInit and ServerInit; returns the desktop's name."""
        await self.relay.received(b"\x01")
        return await self.server_init()

    async def server_init(self) -> str:
        init = await self.exactly(24)
        (length,) = struct.unpack(">I", init[20:])
        return (await self.exactly(length)).decode()

    async def _take(self, data: bytes) -> None:
        await self.flowing.wait()
        self.sends += 1
        self.got += data
        self._news.set()

    def _note_closed(self, reason: str) -> None:
        self.closed.set_result(reason)  # raises on a second call, which would be a bug


@asynccontextmanager
async def vnc_server(talk: Talk) -> AsyncIterator[ConsoleTarget]:
    """A server that talks as the test says; its failure is the test's."""
    failures: list[BaseException] = []
    running: set[asyncio.Task] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        running.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except AssertionError as error:
            failures.append(error)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield ConsoleTarget(protocol="vnc", host="127.0.0.1", port=port, allow_plain=True)
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert not failures, failures


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A proper 3.8 server that wants no password, up to its consent."""
    writer.write(b"RFB 003.008\n")
    assert await reader.readexactly(12) == b"RFB 003.008\n"
    writer.write(b"\x01\x01")
    assert await reader.readexactly(1) == b"\x01"
    writer.write(b"\0\0\0\0")
