"""The websockets of pages and of the job feed. Everything they send was authorized at the moment it was rendered."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils.translation import override

from compute import selectors
from portal import page_parts, watched
from portal.common.access import access_group, access_version
from portal.common.actor import Actor
from portal.common.errors import PortalError
from portal.job_access import get_job
from portal.jobs.feed import job_group, job_json, user_group
from portal.jobs.models import Job
from portal.jobs.states import FINAL
from portal.socket_login import actor_of_scope, comes_from_us, language_of, note_stranger
from tenants import bounds, policy
from tenants.permits import Permit

log = logging.getLogger(__name__)

MOST_SOCKETS = 50  # of one user in one process; a page holds one
# All feeds share one thread for what they ask the database. Who asks anew before so many times as long as the last answer
# took has passed waits, so that he cannot have it for himself.
REST_SHARE = 9
LONGEST_REST = 10.0
RECHECK_SECONDS = 10.0
LOOK_EVERY = 3  # of these checks one looks at the rows, too: a push may be lost
GATHER_SECONDS = 0.1  # changes that come together are rendered once
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
        refusal = await self._refusal()
        await self.accept()
        if refusal is not None:
            await self.close(refusal)
            return
        self._tasks.append(asyncio.create_task(self._recheck()))
        await self.opened()

    async def _refusal(self) -> int | None:
        """The code to close with, or None. Whoever is let in is told of every change from the moment that the socket is open."""
        # Before who it is: a foreign page must not even learn whether somebody is logged in.
        if not comes_from_us(self.scope):
            return CLOSE_ORIGIN
        actor = await database_sync_to_async(actor_of_scope)(self.scope)
        if actor is None:
            await database_sync_to_async(note_stranger)(self.scope)
            return CLOSE_LOGIN
        if not self._has_room(actor.answerable.pk):
            return CLOSE_LATER
        self.actor = actor
        self._access = await database_sync_to_async(access_version)(actor.user.pk)
        return None if await self._joined(access_group(actor.user.pk), self.group()) else CLOSE_LATER

    def group(self) -> str:
        """Where it hears of what it is for: all that becomes of this user's machines and jobs."""
        return user_group(self.actor.user.pk)

    async def opened(self) -> None:
        """The socket is open, its actor known, and its group joined."""

    async def changed(self, what: set[str]) -> None:
        """Send what of these is watched."""

    async def reauthorize(self) -> None:
        """Rights changed: let go of what may no longer be seen."""

    async def look_again(self) -> None:
        """Send what changed by the rows and was never told: pushes are lost where Redis is frozen or begun anew."""

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

    async def _joined(self, *groups: str) -> bool:
        try:
            for group in groups:
                await self.channel_layer.group_add(group, self.channel_name)
        except Exception:
            # The page looks again by itself meanwhile, and its socket comes back.
            log.warning("the channel layer does not answer; a page's socket is closed", exc_info=True)
            return False
        return True

    def _gather(self, *what: str) -> None:
        self._dirty.update(what)
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._send_gathered())

    async def _send_gathered(self) -> None:
        """The first change at once; what comes within a moment of it is rendered together."""
        try:
            while self._dirty:
                what, self._dirty = self._dirty, set()
                await self.changed(what)
                await asyncio.sleep(GATHER_SECONDS)
        except Exception:
            # Whoever comes back is shown what this one was not.
            log.warning("what changed could not be told to a page, and its socket is closed", exc_info=True)
            await self.close(CLOSE_LATER)

    async def _recheck(self) -> None:
        for turn in count(1):
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                if not await self._check():
                    return
                if turn % LOOK_EVERY == 0:
                    await self.look_again()
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
        self._marks: dict[str, Any] = {}
        self._rest_until = 0.0

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """``{"watch": ["vm:<uid>", "card:<uid>", "job:<uid>", "jobs"]}``; what may not be seen is passed over."""
        wanted = watched.wanted(text_data)
        if wanted is None or not hasattr(self, "_watched"):
            await self.close(CLOSE_POLICY)
            return
        new = {item for item in wanted if item not in self._watched}
        if len(self._watched) + len(new) > watched.MOST_WATCHED:
            await self.close(CLOSE_POLICY)
            return
        if new:
            await asyncio.sleep(self._rest_until - time.monotonic())
            began = time.monotonic()
            await self._watch(new)
            self._rest_until = time.monotonic() + min(LONGEST_REST, REST_SHARE * (time.monotonic() - began))

    async def _watch(self, wanted: set[str]) -> None:
        new = await self._render(watched.visible, wanted)
        if not await self._joined(*(watched.group_of(item) for item in sorted(new) if item != "jobs")):
            await self.close(CLOSE_LATER)
            return
        self._watched |= new.keys()
        self._marks |= new
        # The page was rendered before it was watched: what came in between is sent now.
        await self._send_parts(set(new))

    async def changed(self, what: set[str]) -> None:
        """Render what changed, as far as this page shows it."""
        machines = {f"{kind}:{item[3:]}" for item in what if item.startswith("vm:") for kind in watched.OF_MACHINES}
        jobs = {"jobs"} if any(item.startswith("job:") for item in what) else set()
        await self._send_parts((what | machines | jobs) & self._watched)

    async def reauthorize(self) -> None:
        """Render everything anew: what may no longer be seen goes from the page, and from what is watched."""
        await self._send_parts(set(self._watched))
        self._marks = await self._render(watched.visible, self._watched)
        self._watched = set(self._marks)

    async def look_again(self) -> None:
        """By marks of what is watched, in two queries; the number of jobs has none, and is counted."""
        before, self._marks = self._marks, await self._render(watched.visible, self._watched)
        same = {item for item, mark in self._marks.items() if item != "jobs" and mark == before.get(item)}
        if changed := self._watched - same:
            self._gather(*changed)

    async def _send_parts(self, items: set[str]) -> None:
        html, gone = await self._render(_parts, sorted(items)) if items else ("", set())
        # Once is enough: for what is not on the page any more there is no place.
        self._watched -= gone
        if html:
            await self.send(text_data=html)


class JobConsumer(Feed):
    """``/ws/jobs/<uid>/``: the job's JSON at once and at every change; closed when the job is final."""

    def group(self) -> str:
        """The job's own."""
        return job_group(self.scope["url_route"]["kwargs"]["uid"])

    async def opened(self) -> None:
        """It was watched first, so that no change is lost between."""
        await self._tell()

    async def changed(self, what: set[str]) -> None:
        """Send the job as it is now."""
        await self._tell()

    async def look_again(self) -> None:
        """Whoever waits for the end must hear of it."""
        await self._tell(unless=self._told)

    async def reauthorize(self) -> None:
        """Send once more, or close."""
        await self._tell()

    async def _tell(self, *, unless: dict[str, Any] | None = None) -> None:
        try:
            told = await self._render(_job_json, self.scope["url_route"]["kwargs"]["uid"])
        except PortalError:
            await self.close(CLOSE_NOT_FOUND)
            return
        if told == unless:
            return
        self._told = told
        await self.send(text_data=json.dumps(told))
        if told["status"] in FINAL:
            await self.close(CLOSE_NORMAL)


class VmsConsumer(Feed):
    """``/ws/vms/``: ``{"id", "name", "status", ...}`` of each of this user's own machines that changes."""

    async def opened(self) -> None:
        """Nothing was told yet."""
        self._told: set[str] = set()

    async def changed(self, what: set[str]) -> None:
        """Send each machine that changed; one that is gone as ``{"id", "deleted": true}``."""
        for item in sorted(what):
            kind, _, uid = item.partition(":")
            if kind != "vm":
                continue
            told = await self._render(partial(_vm_json, is_known=uid in self._told), UUID(uid))
            if told is not None:
                (self._told.discard if "deleted" in told else self._told.add)(uid)
                await self.send(text_data=json.dumps(told))


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


def _vm_json(actor: Actor, uid: UUID, *, is_known: bool) -> dict[str, Any] | None:
    """As it is now, or that it is gone (``is_known``: it was told of before). None for what is no machine (a job's template, say), and for one that a token with bounds never knew of."""
    try:
        vm = selectors.get_vm(actor, uid)
    except PortalError:
        was_seen = is_known or (
            bounds.reaches_all(actor, Permit.VM_VIEW) and Job.objects.filter(target_kind="vm", target_uid=uid).exists()
        )
        return {"id": str(uid), "deleted": True} if was_seen else None
    return {
        "id": str(vm.pk),
        "name": vm.name,
        "status": str(vm.status),
        "status_at": vm.status_at.isoformat() if vm.status_at else None,
        "addresses": vm.addresses,
    }
