"""Bodies of requests, bounded before anything looks at them, by what comes and not by what the client says will come.

Django's ASGI handler writes a body of any size to disk before a view can refuse it, and the REST framework takes one that
comes in chunks for none. Bodies are small here: each is read whole, and handed on with its true length. Parts of images are
larger, at the one kind of address that takes them; and a form with a whole image goes through as it comes (``image_forms``).
Both from those alone who may upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from channels.db import database_sync_to_async
from django.utils.translation import override

from compute.models import Image
from portal.common.api import PROBLEM
from portal.common.errors import problem_json
from portal.image_forms import ImageForms
from portal.refused_bodies import Refused
from portal.socket_login import actor_of_scope, language_of
from tenants import policy
from tenants.permits import Permit

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SECONDS = 60.0  # for all of a body to come
IMAGE_FORM = "/images/upload/"
FORM_OVERHEAD = 64 * 1024  # what a form has beside its file
IMAGE_PART = re.compile(r"/api/v1/images/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/content/")
LINGER_SECONDS = 2.0
LENGTH_HEADERS = {b"content-length", b"transfer-encoding"}


class Gone(Exception):
    """The client left before its body was whole."""


class BoundedBodies:
    """An application whose requests have a body of ``limit`` bytes at most; 413 for a longer one, 408 for a slow one.

    ``part_limit``: what a part of an image may have instead; ``form_limit``: a file in the form of images.
    """

    def __init__(
        self,
        application: Application,
        *,
        limit: int,
        part_limit: int = 0,
        form_limit: int = 0,
        seconds: float = SECONDS,
    ) -> None:
        self._application = application
        self._limit = limit
        self._part_limit = max(limit, part_limit)
        self._form_limit = form_limit + FORM_OVERHEAD
        self._seconds = seconds
        self._forms = ImageForms()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if await self._is_image_form(scope):
                with self._forms.place(_length_said(scope)):
                    await self._application(scope, self._forms.in_time(receive, pause=self._seconds), send)
                return
            body = await self._read(scope, receive)
        except Refused as refusal:
            await _refuse(scope, receive, send, refusal)
        except Gone:
            return
        else:
            await self._application(_with_length(scope, len(body)), _first(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        limit = await self._limit_of(scope)
        if _length_said(scope) > limit:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._take(receive, limit)
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT) from error

    async def _is_image_form(self, scope: Scope) -> bool:
        """Whether a body goes through unread. Its length was said, and servers take no more than that."""
        is_form = scope["method"] == "POST" and scope["path"] == IMAGE_FORM
        return (
            is_form and 0 < _length_said(scope) <= self._form_limit and await database_sync_to_async(_may_upload)(scope)
        )

    async def _limit_of(self, scope: Scope) -> int:
        """More for a part of an image, from whoever may send it; nobody is asked about what is small."""
        part = IMAGE_PART.fullmatch(scope["path"]) if scope["method"] == "PUT" else None
        if part is None or 0 < _length_said(scope) <= self._limit:
            return self._limit
        return self._part_limit if await database_sync_to_async(_may_send)(scope, part[1]) else self._limit

    async def _take(self, receive: Receive, limit: int) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            body += message.get("body", b"")
            if len(body) > limit:
                raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            if not message.get("more_body", False):
                return bytes(body)


def _may_upload(scope: Scope) -> bool:
    actor = actor_of_scope(scope)
    return actor is not None and policy.holds_anywhere(actor, Permit.IMAGE_UPLOAD)


def _may_send(scope: Scope, uid: str) -> bool:
    """Also who may upload nothing else any more, and began this one."""
    actor = actor_of_scope(scope)
    if actor is None:
        return False
    of_this = policy.visible(actor, Permit.IMAGE_UPLOAD, Image.objects.filter(pk=uid))
    return policy.holds_anywhere(actor, Permit.IMAGE_UPLOAD) or of_this.exists()


def _length_said(scope: Scope) -> int:
    said = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(said[0]) if said and said[0].isdigit() else 0


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name not in LENGTH_HEADERS]
    return scope | {"headers": [*headers, (b"content-length", str(length).encode())]}


def _first(body: bytes, receive: Receive) -> Receive:
    """The body, and after it what the server has to say (that the client left)."""
    told = False

    async def first() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refused) -> None:
    """Answer, and read on for a moment: to hang up on unread bytes would take the answer away from the client."""
    body, kind = _answer(scope, refusal)
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if refusal.retry_after:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _answer(scope: Scope, refusal: Refused) -> tuple[bytes, str]:
    with override(language_of(scope)):
        text = refusal.sentence()
    if not scope["path"].startswith("/api/"):
        return text.encode(), "text/plain; charset=utf-8"
    return json.dumps(problem_json(int(refusal.status), refusal.code, text, uuid4().hex)).encode(), PROBLEM
