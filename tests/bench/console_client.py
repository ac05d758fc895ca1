"""The client of the console bench: a blocking socket, raw or as a websocket, as cheap as Python allows."""

from __future__ import annotations

import base64
import os
import socket
import struct

LIMIT = 1 << 20


class ConsoleClient:
    """An RFB client in its raw phase. ``websocket`` is the path to ask for, or empty for a raw socket."""

    def __init__(self, port: int, *, websocket: str = "", headers: tuple[str, ...] = ()) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framed = bool(websocket)
        self._left = 0  # bytes of the present frame not read yet
        self._room = memoryview(bytearray(LIMIT))
        if websocket:
            self._upgrade(port, path=websocket, headers=headers)
        for heard, said in ((12, b"RFB 003.008\n"), (2, b"\x01"), (4, b"\x01"), (4, b"")):
            self.receive(heard)
            if said:
                self.send(said)

    def send(self, data: bytes) -> None:
        if not self._framed:
            self._link.sendall(data)
            return
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._link.sendall(bytes([0x82, 0x80 | len(data)]) + mask + masked)

    def receive(self, count: int) -> None:
        """Take so many bytes of the console off the wire."""
        while count:
            if self._framed and not self._left:
                self._left = self._frame()
                continue
            got = self._link.recv_into(self._room[: min(count, LIMIT, self._left if self._framed else LIMIT)])
            if not got:
                raise ConnectionResetError
            count -= got
            self._left -= got if self._framed else 0

    def close(self) -> None:
        self._link.close()

    def _frame(self) -> int:
        first, length = self._exactly(2)
        if length == 126:
            (length,) = struct.unpack(">H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._exactly(8))
        if first & 0x40:
            raise AssertionError("the gateway compresses")
        if first & 0x0F == 9:  # a ping; the pong's mask may be zero
            self._link.sendall(bytes([0x8A, 0x80 | length]) + b"\0\0\0\0" + self._exactly(length))
            return 0
        return length

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._link.recv(count - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data

    def _upgrade(self, port: int, *, path: str, headers: tuple[str, ...]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        protocols = (
            ()
            if any(line.startswith("Sec-WebSocket-Protocol") for line in headers)
            else ("Sec-WebSocket-Protocol: binary",)
        )
        lines = (
            f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Extensions: permessage-deflate", *protocols, *headers, "", "",
        )  # fmt: skip
        self._link.sendall("\r\n".join(lines).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self._exactly(1)
        if not answer.startswith(b"HTTP/1.1 101"):
            raise AssertionError(answer.decode())
