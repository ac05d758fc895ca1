"""DO01: whole images in plain forms, a few at once, in a bounded time, where there is room; and parts from who may send them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from compute.models import Image
from portal import image_forms, serve
from portal.asgi import application
from portal.bodies import BoundedBodies
from portal.common.actor import Actor, Door
from tenants.models import User
from tenants.services.makers import give_to_maker
from tests.compute.console.world import eventually
from tests.edge.test_bodies import LIMIT, PATIENCE, TOKENS, Answer, asked, chunked, linked, port, session_of
from tests.people import PASSWORD

__all__ = ["port"]
MIB = 1024**2
bounded: BoundedBodies = application.application_mapping["http"]


def form_head(length: int) -> bytes:
    cookie = f"Cookie: {settings.SESSION_COOKIE_NAME}={session_of('physics_admin')}\r\n"
    head = "POST /images/upload/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
    return f"{head}{cookie}Content-Length: {length}\r\n\r\n".encode()


@pytest.fixture
def none_left() -> Iterator[None]:
    yield
    assert bounded._forms._promised == []


@pytest.mark.long
@pytest.mark.usefixtures("none_left")
def test_DO01_a_few_whole_images_are_taken_at_once_and_another_hears_when_to_come_again(port):  # noqa: N802
    head, body = form_head(LIMIT + 1), b"x" * (LIMIT + 1)
    with linked(port) as first, linked(port) as second, linked(port) as third:
        for link in (first, second):
            link.sendall(head + body[:100])
        eventually(lambda: len(bounded._forms._promised) == image_forms.AT_ONCE)
        third.sendall(head + body[:100])
        answer = Answer(third)
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "60", "close")
        assert b"takes 2 whole images at once" in answer.body
        for link in (first, second):
            link.sendall(body[100:])
            assert Answer(link).status == 403, "it came as far as the check of the form's token"
    eventually(lambda: bounded._forms._promised == [])
    with linked(port) as link:
        link.sendall(head + body)
        assert Answer(link).status == 403
    with linked(port) as left:
        left.sendall(head + body[:100])
        eventually(lambda: len(bounded._forms._promised) == 1)
    eventually(lambda: bounded._forms._promised == [])


@pytest.mark.long
@pytest.mark.usefixtures("none_left")
def test_DO01_a_whole_image_that_does_not_come_in_time_is_408_also_one_that_trickles(port, monkeypatch):  # noqa: N802
    head = form_head(LIMIT + 1)
    with monkeypatch.context() as short, linked(port) as link:
        short.setattr(bounded, "_seconds", 0.3)
        link.sendall(head + b"x")
        assert Answer(link).status == 408
    monkeypatch.setattr(bounded._forms, "_seconds", 1.0)
    until = time.monotonic() + PATIENCE
    with linked(port) as link:
        link.sendall(head)
        link.settimeout(0.1)
        while time.monotonic() < until:
            try:
                link.sendall(b"x")
                answer = Answer(link)
            except TimeoutError:
                continue
            break
        assert answer.status == 408


@pytest.mark.long
@pytest.mark.usefixtures("none_left")
def test_DO01_a_whole_image_for_which_the_temporary_folder_has_no_room_is_507_with_figures(port, monkeypatch):  # noqa: N802
    length = 2 * MIB
    asked_about: list[str] = []

    def usage(path: str) -> Any:
        asked_about.append(path)
        return SimpleNamespace(free=11 * MIB)

    monkeypatch.setattr(settings, "IMAGE_SPARE_BYTES", 4 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with linked(port) as first, linked(port) as second:
        first.sendall(form_head(length) + b"x")
        eventually(lambda: len(bounded._forms._promised) == 1)
        second.sendall(form_head(length) + b"x")
        answer = Answer(second)
    assert answer.status == 507
    assert "room for 3 MiB, and this form needs 4 MiB" in answer.body.decode()
    assert set(asked_about) == {tempfile.gettempdir()}
    eventually(lambda: bounded._forms._promised == [])


def bearer(port: int, name: str) -> str:
    body = json.dumps({"username": name, "password": PASSWORD, "name": "t", "scope": "write"}).encode()
    answer = asked(port, TOKENS + f"Content-Length: {len(body)}\r\n", body)
    return f"Authorization: Bearer {json.loads(answer.body)['token']}\r\n"


@pytest.mark.long
def test_DO01_parts_of_images_are_larger_only_from_those_who_may_send_them(port):  # noqa: N802
    cache.clear()
    alice = User.objects.get(username="alice")
    image = Image.objects.create(name="x", uploader=alice, format="raw", size_bytes=LIMIT + 1)
    give_to_maker(Actor(user=alice, door=Door.API), image)
    unknown, own = "0b2f0baa-a03b-4278-805a-b8d67adbd236", str(image.pk)
    small, large = b"x" * 100, b"x" * (LIMIT + 1)
    alices, admins = bearer(port, "alice"), bearer(port, "physics_admin")
    wanted = [
        ("", own, small, 401),
        ("", own, large, 413),
        ("Authorization: Bearer x\r\n", own, large, 413),
        (alices, unknown, small, 404),
        (alices, unknown, large, 413),
        (admins, unknown, large, 404),
        (alices, own, large, 200),
    ]
    for who, uid, body, status in wanted:
        head = f"PUT /api/v1/images/{uid}/content/?offset=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n{who}"
        head += "Content-Type: application/octet-stream\r\n"
        assert asked(port, f"{head}Content-Length: {len(body)}\r\n", body).status == status, (who, len(body))
        if body is large and status == 413:
            assert asked(port, f"{head}Transfer-Encoding: chunked\r\n", chunked(body)).status == 413


@pytest.mark.once
def test_bodies_lie_in_the_data_folder_while_they_come_unless_another_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "named"))
    serve.keep_bodies_with_the_data()
    assert (tempfile.tempdir, list(tmp_path.iterdir())) == (None, [])
    monkeypatch.setenv("TMPDIR", "")
    (tmp_path / "tmp").mkdir(mode=0o700)
    left = tmp_path / "tmp" / "tmp1234.upload.raw"
    left.touch()
    serve.keep_bodies_with_the_data()
    assert not left.exists(), "a killed server left it"
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path / "tmp")
