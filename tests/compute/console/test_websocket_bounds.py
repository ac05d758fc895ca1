"""What one hostile websocket may cost the server, at the server itself, without any application of ours."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from portal.serve import MESSAGE_LIMIT
from portal.websocket import FRAMES_AT_ONCE, FRAMES_PER_SECOND, TURN, UNREAD_LIMIT, FairWebSocket
from tests.bench.console_client import ConsoleClient
from tests.compute.console.serving import serving

pytestmark = pytest.mark.long

SMALLEST = 7  # bytes of a masked frame with one byte


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Sends back what it gets."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


class Raw(ConsoleClient):
    """A websocket without RFB in it."""

    def __init__(self, port: int, path: str = "/") -> None:
        self._link = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._upgrade(port, path=path, headers=())

    def flood(self, blob: bytes, *, limit: int) -> int:
        """Send again and again, reading nothing; the bytes that the server took before it stalled or hung up."""
        self._link.settimeout(1)
        sent = 0
        while sent < limit:
            try:
                sent += self._link.send(blob)
            except OSError:
                break
        return sent

    def hung_up(self) -> bool:
        self._link.settimeout(20)
        try:
            while self._link.recv(1 << 16):
                pass
        except ConnectionError:
            return True
        return True


def frame(opcode: int, data: bytes, *, final: bool = True) -> bytes:
    assert len(data) < 126
    return bytes([(0x80 if final else 0) | opcode, 0x80 | len(data)]) + b"\0\0\0\0" + data


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


async def test_CO11_a_flood_of_small_frames_is_taken_in_turns_and_none_is_lost():  # noqa: N802
    count = FRAMES_AT_ONCE + FRAMES_PER_SECOND // 2
    with serving(echo) as port:
        async with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None) as client:
            sending = asyncio.create_task(send_all(client, count))
            for number in range(count):
                assert await client.recv() == struct.pack(">I", number)
            await sending
            await client.send(b"x" * 500_000)
            assert len(await client.recv()) == 500_000


async def send_all(client, count):
    for number in range(count):
        await client.send(struct.pack(">I", number))


async def test_CO11_a_turn_ends_after_its_bytes_and_the_rest_waits_unread():  # noqa: N802
    seen = []

    async def slow(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        seen.append(protocol[-1])
        while not protocol[-1].queue.qsize():  # noqa: ASYNC110 - set by what arrives
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # and all that is to come
        seen.append(protocol[-1].queue.qsize())
        while (await receive())["type"] == "websocket.receive":
            pass

    protocol: list[FairWebSocket] = []

    class Watched(FairWebSocket):
        def connection_made(self, transport):
            super().connection_made(transport)
            protocol.append(self)

    with serving(slow, ws=Watched) as port:
        client = Raw(port)
        client.flood(frame(2, b"\0") * 2000, limit=50_000)
        async with asyncio.timeout(20):
            while len(seen) < 2:  # noqa: ASYNC110 - set on another thread
                await asyncio.sleep(0.01)
        assert 0 < seen[1] <= 2 * TURN / SMALLEST
        assert len(protocol[0]._waiting) <= 256 * 1024
        client.close()


def test_CO11_a_flood_is_slowed_down_to_its_share():  # noqa: N802
    with serving(echo) as port:
        client = Raw(port, "/")
        before = resident_mib()
        sent = client.flood(frame(9, b"p" * 125) * 400, limit=64 * 1024 * 1024)
        assert sent < 64 * 1024 * 1024, "every ping was taken"
        assert resident_mib() - before < 16
        client.close()


def test_CO11_pings_whose_answers_nobody_reads_end_the_connection():  # noqa: N802
    class Hurried(FairWebSocket):
        def _wait(self):
            self._frames_left = FRAMES_AT_ONCE
            return 0.0

    with serving(echo, ws=Hurried) as port:
        client = Raw(port)
        sent = client.flood(frame(9, b"p" * 125) * 400, limit=64 * 1024 * 1024)
        assert sent < 64 * 1024 * 1024
        assert client.hung_up()
        client.close()
    assert UNREAD_LIMIT < 2 * 1024 * 1024


def test_a_message_of_endless_fragments_ends_the_connection():
    class Hurried(FairWebSocket):
        def _wait(self):
            self._frames_left = FRAMES_AT_ONCE
            return 0.0

    with serving(echo, ws=Hurried) as port:
        client = Raw(port)
        client.flood(frame(2, b"", final=False), limit=6)
        client.flood(frame(0, b"", final=False) * 1000, limit=6 * 1_000_000)
        assert client.hung_up()
        client.close()


async def test_CO11_a_message_over_the_limit_closes_the_socket():  # noqa: N802
    with serving(echo) as port:
        async with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None, max_size=None) as client:
            await client.send(b"x" * MESSAGE_LIMIT)
            assert len(await client.recv()) == MESSAGE_LIMIT
            await client.send(b"x" * (MESSAGE_LIMIT + 1))
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd.code == 1009


async def test_compression_is_not_agreed_to():
    with serving(echo) as port:
        async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:  # the client offers deflate
            assert "Sec-WebSocket-Extensions" not in client.response.headers


def test_a_close_reaches_a_client_that_reads_nothing():
    async def leaves(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(200):
            try:
                async with asyncio.timeout(0.5):
                    await send({"type": "websocket.send", "bytes": b"s" * 65536})
            except TimeoutError:
                break
        await send({"type": "websocket.close", "code": 4403})
        left.append(True)

    left: list[bool] = []
    with serving(leaves) as port:
        client = Raw(port)
        while not left:
            time.sleep(0.05)
        assert client.hung_up()
        client.close()


def test_CO11_a_client_that_answers_no_ping_is_cut_off():  # noqa: N802
    with serving(echo, ws_ping_interval=0.2, ws_ping_timeout=0.2) as port:
        client = Raw(port)
        assert client.hung_up()
        client.close()


async def test_CO04_headers_are_in_no_log_at_any_level(caplog):  # noqa: N802
    caplog.set_level("DEBUG")
    with serving(echo, access_log=True, log_level="debug") as port:
        address = f"ws://127.0.0.1:{port}/"
        async with connect(address, subprotocols=["ticket.canary-31b7"], proxy=None, logger=logging.Logger("quiet")):
            pass
    assert "canary-31b7" not in caplog.text
