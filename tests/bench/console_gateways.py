"""What the console bench runs, each in a process of its own: a VNC server of no screen, and gateways before it.

``python -m tests.bench.console_gateways source|plain|plain-uvloop|relay [port of the source]`` prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from typing import Any

import uvicorn
import uvloop

from compute.console_relay import RelayError, VncRelay
from portal.hypervisors.specs import ConsoleTarget
from portal.serve import SERVER

BLOCK = b"\x5a" * 65536


def source() -> None:
    """Lets anybody in (3.8, None), answers ClientInit with 4 bytes, then echoes 8-byte keys or sends what is asked."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(server.getsockname()[1], flush=True)
    while True:
        link, _ = server.accept()
        threading.Thread(target=_serve, args=(link,), daemon=True).start()


def _serve(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for said, heard in ((b"RFB 003.008\n", 12), (b"\x01\x01", 1), (b"\0\0\0\0", 1), (b"init", 0)):
            link.sendall(said)
            _exactly(link, heard)
        while True:
            request = _exactly(link, 8)
            kind, count = struct.unpack(">BxxxI", request)
            if kind == ord("E"):
                link.sendall(request)
            for _ in range(count if kind == ord("B") else 0):
                link.sendall(BLOCK)
    except OSError:
        link.close()


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


class _Leg(asyncio.Protocol):
    """One side of the plain TCP relay: as little as can be done while bytes and back-pressure pass."""

    def __init__(self, port: int, other: _Leg | None = None) -> None:
        self.port = port
        self.other = other
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.other is None:
            self.transport.pause_reading()
            self.dialling = asyncio.get_running_loop().create_task(self.dial())

    async def dial(self) -> None:
        self.other = _Leg(self.port, self)
        await asyncio.get_running_loop().create_connection(lambda: self.other, "127.0.0.1", self.port)
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def plain(port: int) -> None:
    """A TCP relay of asyncio Protocols: the floor that the console relay is measured against."""
    server = await asyncio.get_running_loop().create_server(lambda: _Leg(port), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def relay(port: int) -> None:
    """The console relay behind uvicorn as the portal runs it, with an application of a few lines."""
    target = ConsoleTarget(protocol="vnc", host="127.0.0.1", port=port, allow_plain=True)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return

        async def to_client(data: bytes) -> None:
            await send({"type": "websocket.send", "bytes": data})

        await receive()
        await send({"type": "websocket.accept", "subprotocol": "binary"})
        console = VncRelay(target, send=to_client, on_closed=lambda reason: None)
        try:
            await console.open()
            while (message := await receive())["type"] == "websocket.receive":
                await console.received(message["bytes"])
        except RelayError as error:
            print(error, file=sys.stderr)
        await console.close("left")

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(application, **SERVER)).run(sockets=[listener])


if __name__ == "__main__":
    kind = sys.argv[1]
    if kind == "source":
        source()
    elif kind == "relay":
        relay(int(sys.argv[2]))
    elif kind == "plain-uvloop":
        uvloop.run(plain(int(sys.argv[2])))
    else:
        asyncio.run(plain(int(sys.argv[2])))
