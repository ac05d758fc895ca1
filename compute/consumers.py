"""The websocket end of a console: who may sit down, the relay in between, and an eye on whether he still may."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import parse_cookie

from compute.console_relay import RelayError, VncRelay
from compute.models import Console
from compute.services.consoles import (
    Ending,
    Knock,
    Traffic,
    check_console,
    claim_console,
    console_closed,
    console_failed,
    console_opened,
    console_refused,
    console_target,
)
from portal.common.access import access_group
from portal.common.errors import NotFound, PortalError
from portal.common.http import client_address
from portal.common.origins import is_own_origin
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.specs import ConsoleTarget

log = logging.getLogger(__name__)

T = TypeVar("T")
Message = dict[str, Any]

CHECK_SECONDS = 10.0
UNVERIFIED_CHECKS = 3  # so many in a row may find the database silent
PUSH_RETRY_SECONDS = 5.0
PARTING_SECONDS = 2.0  # for the close frame to leave
TICKET = "ticket."
UNREACHABLE = 4502

# Websocket close codes by the relay's reasons (RFC 6455, 7.4.1); anything else ends normally.
CLOSE_CODES = {
    "client_protocol": 1002,
    "client_timeout": 1008,
    "oversize": 1009,
    "provider_stalled": UNREACHABLE,
}

# Threads of our own: consoles neither wait for others' queries nor hold them up, and a slow hypervisor holds up nobody.
_DATABASE = ThreadPoolExecutor(max_workers=4, thread_name_prefix="console-db")
_HYPERVISOR = ThreadPoolExecutor(max_workers=16, thread_name_prefix="console-hypervisor")


class Refused(Exception):
    """The socket is turned away before it is accepted (HTTP 403)."""


class ConsoleConsumer:
    """One socket at one console. Plain ASGI: keystrokes must not queue behind pushes and database calls."""

    def __init__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @classmethod
    def as_asgi(cls) -> Callable[..., Awaitable[None]]:
        """The application for a route with ``uid``."""

        async def application(scope: Message, receive: Any, send: Any) -> None:
            await cls(scope, receive, send).serve()

        return application

    async def serve(self) -> None:
        """From the knock to the record of its end."""
        await self._receive()
        try:
            knock = knock_of(self._scope)
            console = await _in_database(claim_console, self._scope["url_route"]["kwargs"]["uid"], knock=knock)
        except (Refused, PortalError, DatabaseError) as error:
            await self._turn_away(error)
            return
        binary = "binary" if "binary" in self._scope["subprotocols"] else None
        await self._send({"type": "websocket.accept", "subprotocol": binary})
        ending = await self._sit(console)
        with contextlib.suppress(Exception):  # a client that is gone already needs no farewell
            async with asyncio.timeout(PARTING_SECONDS):
                await self._send({"type": "websocket.close", "code": ending.code, "reason": ending.reason})

    async def _turn_away(self, error: Exception) -> None:
        why = str(getattr(error, "private", "") or error)
        log.info("console socket refused: %s", why)
        if isinstance(error, (Refused, NotFound)):  # others are on record already, or nothing can be written
            await self._note(why)
        await self._send({"type": "websocket.close"})

    async def _note(self, why: str) -> None:
        """Before it is answered: what somebody was told is on record."""
        uid, address = self._scope["url_route"]["kwargs"]["uid"], _address_of(self._scope)
        try:
            await _in_database(console_refused, uid, why=why.removeprefix(f"console {uid}: "), client_address=address)
        except DatabaseError as unwritten:
            log.warning("a refused console is not on record: %s", unwritten)

    async def _sit(self, console: Console) -> Ending:
        try:
            target = await _at_hypervisor(console_target, console)
            relay = VncRelay(target, send=self._to_client, on_closed=self._relay_closed)
            await relay.open()
        except (RelayError, HypervisorError) as error:
            log.warning("console %s: %s %s", console.uid, error.code, error.detail)
            await _in_database(console_failed, console, reason=error.code)
            return Ending(UNREACHABLE, error.code)
        except OSError:  # the client left before it was greeted
            await _in_database(console_failed, console, reason="client_gone")
            return Ending(1000, "client_gone")
        return await self._relay_until_it_ends(console, relay)

    async def _relay_until_it_ends(self, console: Console, relay: VncRelay) -> Ending:
        ending = Ending(1011, "failed")
        tasks = [self._start(self._read(relay))]
        try:
            await _in_database(console_opened, console)
            tasks.append(self._start(self._check_now_and_then(console, relay)))
            tasks.append(self._start(self._check_when_told(console, relay)))
            ending = await self._ending
        finally:
            for task in tasks:
                task.cancel()
            await relay.close(ending.reason)
            traffic = Traffic(relay.bytes_up, relay.bytes_down)
            await _in_database(console_closed, console, reason=ending.reason, traffic=traffic)
        return ending

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the others; its failure ends the console."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._look_at)
        return task

    def _look_at(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("a console failed", exc_info=error)
            self._end(Ending(1011, "failed"))

    async def _read(self, relay: VncRelay) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                going = message.get("code") == 1012  # the server stops
                self._end(Ending(1000, "portal_stopping" if going else "client_left"))
                return
            if message.get("bytes") is None:
                self._end(Ending(1003, "text_frame"))
                return
            await relay.received(message["bytes"])

    async def _check_now_and_then(self, console: Console, relay: VncRelay) -> None:
        silent = 0
        while not self._ending.done():
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._check(console, relay)
                silent = 0
            except DatabaseError as error:
                silent += 1
                log.warning("console %s could not be checked (%d): %s", console.uid, silent, error)
                if silent >= UNVERIFIED_CHECKS:
                    self._end(Ending(4403, "unverified"))

    async def _check_when_told(self, console: Console, relay: VncRelay) -> None:
        """The push makes it fast; without a channel layer the regular check must do."""
        while not self._ending.done():
            try:
                await self._listen(console, relay)
            except Exception as error:  # noqa: BLE001 - a layer may fail in any way, and must not end a console
                log.warning("console %s hears no pushes for now: %s", console.uid, error)
            await asyncio.sleep(PUSH_RETRY_SECONDS)

    async def _listen(self, console: Console, relay: VncRelay) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        channel = await layer.new_channel()
        group = access_group(console.user_id)
        await layer.group_add(group, channel)
        try:
            await self._check(console, relay)  # what was pushed before we listened
            while await layer.receive(channel):
                await self._check(console, relay)
        finally:
            with contextlib.suppress(Exception):
                await layer.group_discard(group, channel)

    async def _check(self, console: Console, relay: VncRelay) -> None:
        traffic = Traffic(relay.bytes_up, relay.bytes_down)
        if ending := await _in_database(check_console, console.uid, traffic=traffic):
            self._end(ending)

    async def _to_client(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    def _relay_closed(self, reason: str) -> None:
        self._end(Ending(CLOSE_CODES.get(reason, 1000), reason))

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)


def knock_of(scope: Message) -> Knock:
    """What a socket brings along. Raises ``Refused`` for a foreign origin, or a cookie without any."""
    headers = _Headers(scope)
    session_key = parse_cookie(headers.only("cookie")).get(settings.SESSION_COOKIE_NAME, "")
    origin = headers.only("origin")
    if origin and not is_own_origin(origin, own=settings.PUBLIC_ORIGINS):
        raise Refused("foreign origin")
    if session_key and not origin:
        raise Refused("a cookie without an origin")
    scheme, _, credentials = headers.only("authorization").partition(" ")
    tickets = [name.removeprefix(TICKET) for name in scope["subprotocols"] if name.startswith(TICKET)]
    if len(tickets) > 1 or (scheme and scheme.lower() != "bearer"):
        raise Refused("credentials of another kind")
    return Knock(
        ticket=tickets[0] if tickets else "",
        session_key=session_key,
        bearer=credentials.strip(),
        client_address=_address_of(scope),
    )


def _address_of(scope: Message) -> str:
    remote = (scope.get("client") or ("",))[0]
    return client_address(remote, _Headers(scope).joined("x-forwarded-for"))


class _Headers:
    def __init__(self, scope: Message) -> None:
        self._pairs = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]

    def only(self, name: str) -> str:
        """The header's value, or empty. Raises ``Refused`` when it comes more than once."""
        found = [value for key, value in self._pairs if key == name.encode()]
        if len(found) > 1:
            raise Refused(f"more than one {name}")
        return found[0] if found else ""

    def joined(self, name: str) -> str:
        return ", ".join(value for key, value in self._pairs if key == name.encode())


async def _in_database(function: Callable[..., T], *args: Any, **named: Any) -> T:
    call = database_sync_to_async(function, thread_sensitive=False, executor=_DATABASE)
    result: T = await call(*args, **named)
    return result


async def _at_hypervisor(function: Callable[[Console], ConsoleTarget], console: Console) -> ConsoleTarget:
    call = database_sync_to_async(function, thread_sensitive=False, executor=_HYPERVISOR)
    target: ConsoleTarget = await call(console)
    return target
