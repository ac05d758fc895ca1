"""Bytes between a browser's websocket and a provider's VNC server. Pure asyncio, no Django, no frame is parsed.

The relay enters the provider's server by its security handshake, offers *None* to the client (whose ticket was checked
before), and from then on passes bytes both ways as they come. Whoever is slow slows the other side down: at most
``BUFFER_LIMIT`` bytes (and what one more read brings) wait for a client, at most one message waits for a provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, socket
from typing import cast

from compute import rfb
from portal.hypervisors.specs import ConsoleTarget

BUFFER_LIMIT = 256 * 1024  # bytes; the provider is not read while so many wait for the client
MESSAGE_LIMIT = 1024 * 1024  # bytes of one message of the client; noVNC's largest is a clipboard
HANDSHAKE_LIMIT = 64  # bytes; a client that waits its turn sends 14 before the handshake ends
LINGER = 2.0  # seconds in which a provider may take the client's last bytes

_CERTIFICATE_CODES = {
    9: "certificate_expired",  # X509_V_ERR_CERT_NOT_YET_VALID
    10: "certificate_expired",  # X509_V_ERR_CERT_HAS_EXPIRED
    62: "certificate_wrong_host",  # X509_V_ERR_HOSTNAME_MISMATCH
    64: "certificate_wrong_host",  # X509_V_ERR_IP_ADDRESS_MISMATCH
}


class RelayError(Exception):
    """The console could not be opened. ``code`` is stable, ``detail`` is for the log alone.

    Besides the codes of ``rfb.enter``: ``unreachable``, ``timed_out``, ``hung_up``, ``tls_failed``,
    ``certificate_untrusted``, ``certificate_wrong_host``, ``certificate_expired``, ``unsupported``, ``closed`` (by
    ``close``, meanwhile).
    """

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}" if detail else code)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each phase may take. A console that is open and idle has no limit."""

    connect: float = 5.0
    handshake: float = 5.0  # TLS included
    client: float = 10.0
    stall: float = 30.0  # that a provider may leave a client's message unread


class VncRelay:
    """One console. ``send`` takes bytes to the client and returns when it can take more.

    ``on_closed`` is called once with the reason when a relay that was opened ends, whoever ended it: ``client_protocol``,
    ``client_timeout``, ``oversize``, ``client_gone``, ``provider_closed``, ``provider_stalled``, or what ``close`` was
    given.
    """

    def __init__(
        self,
        target: ConsoleTarget,
        *,
        send: Callable[[bytes], Awaitable[None]],
        on_closed: Callable[[str], None],
        timeouts: Timeouts | None = None,
    ) -> None:
        self.bytes_up = 0  # from the client to the provider, after the handshakes
        self.bytes_down = 0
        self.closed_reason = ""
        self._target = target
        self._send = send
        self._on_closed = on_closed
        self._timeouts = timeouts or Timeouts()
        self._provider = _Provider()
        self._client = _ClientHandshake()
        self._opened = False
        self._pump: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect, enter the provider's server, greet the client. Raises ``RelayError``; nothing stays open then."""
        try:
            await _connect(self._provider, self._target, seconds=self._timeouts.connect)
            await _enter(self._provider, self._target, seconds=self._timeouts.handshake)
            if self.closed_reason:
                raise RelayError("closed", self.closed_reason)
            await self._send(self._client.feed(b""))
        except BaseException:
            self._provider.hang_up(linger=0)
            raise
        self._opened = True
        self._deadline = asyncio.get_running_loop().call_later(self._timeouts.client, self._finish, "client_timeout")

    async def received(self, data: bytes) -> None:
        """Take a message of the client; returns when the provider has room for the next. One call at a time."""
        if self.closed_reason or not self._opened:
            return
        if len(data) > MESSAGE_LIMIT:
            self._finish("oversize")
        elif self._client.done:
            await self._pass_up(data)
        else:
            await self._shake_hands(data)

    async def close(self, reason: str) -> None:
        """End the console and wait until nothing of it runs any more. Safe to call at any time, and again."""
        self._finish(reason)
        if self._pump is not None and self._pump is not asyncio.current_task():
            await asyncio.wait([self._pump])

    async def _shake_hands(self, data: bytes) -> None:
        try:
            answer = self._client.feed(data)
        except rfb.RfbError as error:
            self._finish(error.code)
            return
        if answer:
            await self._send(answer)
        if self._client.done and not self.closed_reason:
            self._start()
            await self._pass_up(self._client.rest())

    def _start(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._pump = asyncio.get_running_loop().create_task(self._pump_down())

    async def _pass_up(self, data: bytes) -> None:
        if data:
            self.bytes_up += len(data)
            if not await self._provider.write(data, seconds=self._timeouts.stall):
                self._finish("provider_stalled")

    async def _pump_down(self) -> None:
        reason = "provider_closed"
        try:
            while data := await self._provider.chunk():
                self.bytes_down += len(data)
                await self._send(data)
        except Exception:  # noqa: BLE001 - whatever the websocket's library raises, its client is gone
            reason = "client_gone"
        self._pump = None
        self._finish(reason)

    def _finish(self, reason: str) -> None:
        if self.closed_reason:
            return
        self.closed_reason = reason
        if self._deadline is not None:
            self._deadline.cancel()
        if self._pump is not None:
            self._pump.cancel()
        self._provider.hang_up(linger=LINGER if self._opened else 0)
        if self._opened:
            self._on_closed(reason)


class _ClientHandshake:
    """Drives ``rfb.admit`` with bytes as they come, in whatever pieces."""

    def __init__(self) -> None:
        self.done = False
        self._buffer = bytearray()
        self._steps = rfb.admit()
        self._step: rfb.Send | rfb.Read | rfb.Secure = next(self._steps)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the client; returns what it must be sent. Raises ``RfbError``."""
        if len(self._buffer) + len(data) > HANDSHAKE_LIMIT:
            raise rfb.RfbError("client_protocol", "talks out of turn")
        self._buffer += data
        answer = b""
        while not self.done:
            if isinstance(self._step, rfb.Send):
                answer += self._step.data
                self._go_on(b"")
            elif isinstance(self._step, rfb.Read) and len(self._buffer) >= self._step.count:
                self._go_on(self._take(self._step.count))
            else:
                break
        return answer

    def rest(self) -> bytes:
        """What came behind the handshake."""
        return self._take(len(self._buffer))

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _go_on(self, value: bytes) -> None:
        try:
            self._step = self._steps.send(value)
        except StopIteration:
            self.done = True


class _Provider(asyncio.Protocol):
    """The connection to the provider: a bounded buffer to read from, and writes that wait while it is congested."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= BUFFER_LIMIT and self.transport is not None:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._writable.set()  # asyncio does not resume a transport that is lost while paused
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def chunk(self) -> bytes:
        """All that has come, at least a byte; empty once the provider has hung up."""
        while not self._chunks and not self._ended:
            await self._more()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._keep(b"")
        return data

    async def exactly(self, count: int) -> bytes:
        """So many bytes, for the handshake. Raises ``RelayError`` (``hung_up``)."""
        while self._size < count:
            if self._ended:
                raise RelayError("hung_up", "the provider closed the connection during the handshake")
            await self._more()
        data = b"".join(self._chunks)
        self._keep(data[count:])
        return data[:count]

    async def write(self, data: bytes, *, seconds: float) -> bool:
        """Send, then wait until what is unsent is little again; False when it is not after so many seconds."""
        if self.transport is None or self._ended:
            return True
        self.transport.write(data)
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._writable.wait()
            except TimeoutError:
                return False
        return True

    async def secure(self, target: ConsoleTarget) -> None:
        """Go on inside TLS. Raises ``RelayError``."""
        if self.transport is None or self._size:
            raise RelayError("protocol", "the server spoke before TLS")
        name = target.tls_hostname or target.host
        try:
            context = ssl.create_default_context(cadata=target.tls_ca_pem)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            loop = asyncio.get_running_loop()
            self.transport = await loop.start_tls(self.transport, self, context, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            code = _CERTIFICATE_CODES.get(error.verify_code, "certificate_untrusted")
            raise RelayError(code, error.verify_message) from error
        except OSError as error:  # an SSLError is one
            raise RelayError("tls_failed", str(error)) from error

    def hang_up(self, *, linger: float) -> None:
        """Close; what is unsent gets so many seconds, so that a provider that does not read cannot hold it for ever."""
        if self.transport is None:
            return
        if not linger:
            self.transport.abort()
            return
        self.transport.close()
        asyncio.get_running_loop().call_later(linger, self.transport.abort)

    async def _more(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _keep(self, data: bytes) -> None:
        paused = self._size >= BUFFER_LIMIT
        self._chunks = [data] if data else []
        self._size = len(data)
        if paused and self._size < BUFFER_LIMIT and self.transport is not None and not self._ended:
            self.transport.resume_reading()


async def _connect(provider: _Provider, target: ConsoleTarget, *, seconds: float) -> None:
    if target.protocol != "vnc":
        raise RelayError("unsupported", target.protocol)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            if target.unix_path:
                await loop.create_unix_connection(lambda: provider, target.unix_path)
            else:
                await loop.create_connection(lambda: provider, target.host, target.port)
    except TimeoutError as error:
        raise RelayError("timed_out", "connecting") from error
    except OSError as error:
        raise RelayError("unreachable", str(error)) from error


async def _enter(provider: _Provider, target: ConsoleTarget, *, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await _drive(provider, target)
    except TimeoutError as error:
        raise RelayError("timed_out", "the provider's handshake") from error
    except rfb.RfbError as error:
        raise RelayError(error.code, error.detail) from error


async def _drive(provider: _Provider, target: ConsoleTarget) -> None:
    steps = rfb.enter(target)
    value = b""
    with contextlib.suppress(StopIteration):
        step = next(steps)
        while True:
            if isinstance(step, rfb.Send):
                await provider.write(step.data, seconds=LINGER)
            elif isinstance(step, rfb.Read):
                value = await provider.exactly(step.count)
            else:
                await provider.secure(target)
            step = steps.send(value)


def _keep_alive(sock: socket | None) -> None:
    """A host that vanished without a word is noticed within two minutes."""
    if sock is None or sock.family.name == "AF_UNIX":
        return
    sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    for option, value in ((TCP_KEEPIDLE, 60), (TCP_KEEPINTVL, 15), (TCP_KEEPCNT, 4)):
        sock.setsockopt(IPPROTO_TCP, option, value)
