"""The websockets of pages and of the job feed. Everything they send was authorized at the moment it was rendered."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils.translation import override

from compute import selectors
from portal import page_parts
from portal.common.access import access_group, access_version
from portal.common.actor import Actor
from portal.common.errors import PortalError
from portal.job_access import get_job
from portal.jobs.feed import job_group, job_json, target_group, user_group
from portal.jobs.states import FINAL
from portal.socket_login import actor_of_scope, comes_from_us, language_of
from tenants import policy
from tenants.selectors import readable_jobs

log = logging.getLogger(__name__)

MOST_WATCHED = 200
MOST_SOCKETS = 50  # of one user in one process; a page holds one
# All feeds share one thread for what they ask the database. Who asks anew before so many times as long as the last answer
# took has passed waits, so that he cannot have it for himself.
REST_SHARE = 9
LONGEST_REST = 10.0
LONGEST_MESSAGE = 16 * 1024
RECHECK_SECONDS = 10.0
GATHER_SECONDS = 0.1  # changes that come together are rendered once
OF_MACHINES = ("vm", "head", "card", "row", "console")  # kinds of parts that show a machine
CLOSE_NORMAL = 1000
CLOSE_POLICY = 1008
CLOSE_LATER = 1013
CLOSE_LOGIN = 4401
CLOSE_ORIGIN = 4403
CLOSE_NOT_FOUND = 4404


async def no_such_socket(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Turn away whoever asks for an address that there is not, before anything is opened."""
    await send({"type": "websocket.close"})


_sockets: Counter[UUID] = Counter()


class Feed(AsyncWebsocketConsumer):  # type: ignore[misc]
    """What the feeds share: who may open one, that rights which end reach it, and that changes are gathered."""

    actor: Actor
    _counted: UUID | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """From the handshake to the end, however that comes; then there is room for another."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._counted is not None:
                _sockets[self._counted] -= 1

    async def connect(self) -> None:
        """Take a socket of a logged-in browser of ours, or of a bearer of a token."""
        self._dirty: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._flush: asyncio.Task[None] | None = None
        self._language = language_of(self.scope)
        await self.accept()
        # Before who it is: a foreign page must not even learn whether somebody is logged in.
        if not comes_from_us(self.scope):
            await self.close(CLOSE_ORIGIN)
            return
        actor = await database_sync_to_async(actor_of_scope)(self.scope)
        if actor is None:
            await self.close(CLOSE_LOGIN)
            return
        if not self._has_room(actor.answerable.pk):
            await self.close(CLOSE_LATER)
            return
        self.actor = actor
        self._access = await database_sync_to_async(access_version)(actor.user.pk)
        if not await self._join(access_group(actor.user.pk)):
            return
        self._tasks.append(asyncio.create_task(self._recheck()))
        await self.opened()

    async def opened(self) -> None:
        """The socket is open and its actor known."""

    async def changed(self, what: set[str]) -> None:
        """Send what of these is watched."""

    async def reauthorize(self) -> None:
        """Rights changed: let go of what may no longer be seen."""

    async def disconnect(self, code: int) -> None:
        """End what this socket had under way."""
        for task in [*self._tasks, *([self._flush] if self._flush else [])]:
            if task is not asyncio.current_task():
                task.cancel()

    async def access_changed(self, event: dict[str, Any]) -> None:
        """The push that rights changed."""
        await self._check()

    async def job_changed(self, event: dict[str, Any]) -> None:
        """A job moved on, and with it its target."""
        self._gather(f"job:{event['job']}", f"vm:{event['target']}")

    async def vm_changed(self, event: dict[str, Any]) -> None:
        """A machine was observed anew."""
        self._gather(f"vm:{event['vm']}")

    def _has_room(self, user_uid: UUID) -> bool:
        if _sockets[user_uid] >= MOST_SOCKETS:
            return False
        _sockets[user_uid] += 1
        self._counted = user_uid
        return True

    async def _join(self, *groups: str) -> bool:
        try:
            for group in groups:
                await self.channel_layer.group_add(group, self.channel_name)
        except Exception:
            # The page looks again by itself meanwhile, and its socket comes back.
            log.warning("the channel layer does not answer; a page's socket is closed", exc_info=True)
            await self.close(CLOSE_LATER)
            return False
        return True

    def _gather(self, *what: str) -> None:
        self._dirty.update(what)
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._send_gathered())

    async def _send_gathered(self) -> None:
        """The first change at once; what comes within a moment of it is rendered together."""
        while self._dirty:
            what, self._dirty = self._dirty, set()
            await self.changed(what)
            await asyncio.sleep(GATHER_SECONDS)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                if not await self._check():
                    return
            except Exception:
                # Unseen, a log-in that ended would stay open for ever; whoever comes back is looked at anew.
                log.warning("a page's socket could not be checked and is closed", exc_info=True)
                await self.close(CLOSE_LATER)
                return

    async def _check(self) -> bool:
        """The log-in must still stand, or it is the end (False), and rights that changed are looked at anew; the rows are the truth."""
        actor = await database_sync_to_async(actor_of_scope)(self.scope)
        if actor is None or actor.user.pk != self.actor.user.pk:
            await self.close(CLOSE_LOGIN)
            return False
        version = await database_sync_to_async(access_version)(actor.user.pk)
        if version != self._access:
            self.actor, self._access = actor, version
            await self.reauthorize()
        return True

    async def _render(self, make: Any, *args: Any) -> Any:
        def work() -> Any:
            with override(self._language), policy.one_look():
                return make(self.actor, *args)

        return await database_sync_to_async(work)()


class PageConsumer(Feed):
    """``/ws/page/``: the client says what its page watches, and gets these parts as HTML whenever they change."""

    async def opened(self) -> None:
        """Nothing is watched yet."""
        self._watched: set[str] = set()
        self._rest_until = 0.0
        await self._join(user_group(self.actor.user.pk))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """``{"watch": ["vm:<uid>", "card:<uid>", "job:<uid>", "jobs"]}``; what may not be seen is passed over."""
        wanted = _wanted(text_data)
        if wanted is None or not hasattr(self, "_watched"):
            await self.close(CLOSE_POLICY)
            return
        new = {item for item in wanted if item not in self._watched}
        if len(self._watched) + len(new) > MOST_WATCHED:
            await self.close(CLOSE_POLICY)
            return
        if new:
            await asyncio.sleep(self._rest_until - time.monotonic())
            began = time.monotonic()
            await self._watch(new)
            self._rest_until = time.monotonic() + min(LONGEST_REST, REST_SHARE * (time.monotonic() - began))

    async def _watch(self, wanted: set[str]) -> None:
        new = await self._render(_visible, wanted)
        if not await self._join(*(_group(item) for item in sorted(new) if item != "jobs")):
            return
        self._watched |= new
        # The page was rendered before it was watched: what came in between is sent now.
        await self._send_parts(new)

    async def changed(self, what: set[str]) -> None:
        """Render what changed, as far as this page shows it."""
        machines = {f"{kind}:{item[3:]}" for item in what if item.startswith("vm:") for kind in OF_MACHINES}
        jobs = {"jobs"} if any(item.startswith("job:") for item in what) else set()
        await self._send_parts((what | machines | jobs) & self._watched)

    async def reauthorize(self) -> None:
        """Render everything anew: what may no longer be seen goes from the page, and from what is watched."""
        await self._send_parts(set(self._watched))
        self._watched = await self._render(_visible, self._watched)

    async def _send_parts(self, items: set[str]) -> None:
        html, gone = await self._render(_parts, sorted(items)) if items else ("", set())
        # Once is enough: for what is not on the page any more there is no place.
        self._watched -= gone
        if html:
            await self.send(text_data=html)


class JobConsumer(Feed):
    """``/ws/jobs/<uid>/``: the job's JSON at once and at every change; closed when the job is final."""

    async def opened(self) -> None:
        """Watch first, then send, so that no change is lost between."""
        uid = self.scope["url_route"]["kwargs"]["uid"]
        if await self._join(job_group(uid)):
            await self._tell()

    async def changed(self, what: set[str]) -> None:
        """Send the job as it is now."""
        await self._tell()

    async def reauthorize(self) -> None:
        """Send once more, or close."""
        await self._tell()

    async def _tell(self) -> None:
        try:
            told = await self._render(_job_json, self.scope["url_route"]["kwargs"]["uid"])
        except PortalError:
            await self.close(CLOSE_NOT_FOUND)
            return
        await self.send(text_data=json.dumps(told))
        if told["status"] in FINAL:
            await self.close(CLOSE_NORMAL)


class VmsConsumer(Feed):
    """``/ws/vms/``: ``{"id", "name", "status", ...}`` of each of this user's own machines that changes."""

    async def opened(self) -> None:
        """Watch all of this user's machines."""
        await self._join(user_group(self.actor.user.pk))

    async def changed(self, what: set[str]) -> None:
        """Send each machine that changed; one that is gone as ``{"id", "deleted": true}``."""
        for item in sorted(what):
            kind, _, uid = item.partition(":")
            if kind == "vm":
                await self.send(text_data=json.dumps(await self._render(_vm_json, UUID(uid))))


def _wanted(text: str | None) -> list[str] | None:
    if not text or len(text) > LONGEST_MESSAGE:
        return None
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        items = json.loads(text)["watch"]
        if isinstance(items, list) and len(items) <= MOST_WATCHED and all(_well_formed(item) for item in items):
            return items
    return None


def _well_formed(item: Any) -> bool:
    if item == "jobs":
        return True
    if not isinstance(item, str):
        return False
    kind, _, uid = item.partition(":")
    return kind in page_parts.RENDERERS and str(UUID(uid)) == uid


def _group(item: str) -> str:
    kind, _, uid = item.partition(":")
    return job_group(UUID(uid)) if kind == "job" else target_group(UUID(uid))


def _visible(actor: Actor, items: set[str]) -> set[str]:
    """Those of the items that this actor may see, machines by one query and jobs by another."""
    machines = _seen(partial(_machines, actor), items, OF_MACHINES)
    return (items & {"jobs"}) | machines | _seen(partial(readable_jobs, actor), items, ("job",))


def _machines(actor: Actor, uids: set[UUID]) -> set[UUID]:
    return set(selectors.my_vms(actor).filter(pk__in=uids).values_list("pk", flat=True))


def _seen(look: Callable[[set[UUID]], set[UUID]], items: set[str], kinds: tuple[str, ...]) -> set[str]:
    named = {item: UUID(item.partition(":")[2]) for item in items if item.partition(":")[0] in kinds}
    found = look(set(named.values())) if named else set()
    return {item for item, uid in named.items() if uid in found}


def _parts(actor: Actor, items: list[str]) -> tuple[str, set[str]]:
    """The parts' HTML, and those that it takes from the page."""
    # Rows of a table first: after anything else a browser takes them for a mistake and drops them.
    ordered = sorted(items, key=lambda item: not item.startswith("row:"))
    found = {item: _part(actor, item) for item in ordered}
    return "".join(found.values()), {item for item, html in found.items() if page_parts.is_taken_away(item, html)}


def _part(actor: Actor, item: str) -> str:
    if item == "jobs":
        return page_parts.jobs_count(actor)
    kind, _, uid = item.partition(":")
    return page_parts.RENDERERS[kind](actor, UUID(uid))


def _job_json(actor: Actor, uid: UUID) -> dict[str, Any]:
    return job_json(get_job(actor, uid))


def _vm_json(actor: Actor, uid: UUID) -> dict[str, Any]:
    try:
        vm = selectors.get_vm(actor, uid)
    except PortalError:
        return {"id": str(uid), "deleted": True}
    return {
        "id": str(vm.pk),
        "name": vm.name,
        "status": str(vm.status),
        "status_at": vm.status_at.isoformat() if vm.status_at else None,
        "addresses": vm.addresses,
    }
