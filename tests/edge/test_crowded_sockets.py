"""What one person's sockets may cost the others, and that no socket outlives its log-in unseen."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from portal import consumers, watched
from portal.asgi import application
from portal.common.actor import Actor, Door
from portal.jobs.feed import announce
from portal.jobs.models import Job
from tenants.models import User
from tenants.services.tokens import create_token
from tests.pages.socket_client import SocketClient
from tests.tenants.conftest import make_people

pytestmark = pytest.mark.long

ORIGIN = settings.PUBLIC_ORIGINS[0].encode()


@pytest.fixture
def alice(transactional_db: None) -> str:
    """Alice's token."""
    return str(create_token(as_actor(make_people().alice), name="feed", scope="read", expires_in=3600)[1])


def as_actor(user: User) -> Actor:
    return Actor(user=user, door=Door.API)


async def page(token: str, *, origin: bytes | None = None) -> SocketClient:
    headers = [(b"authorization", f"Bearer {token}".encode())] + ([(b"origin", origin)] if origin else [])
    opened = SocketClient(application, "/ws/page/", headers=headers)
    await opened.connect()
    return opened


def unknown_jobs(count: int) -> str:
    return json.dumps({"watch": [f"job:{uuid4()}" for _ in range(count)]})


def test_what_is_watched_is_found_in_the_same_queries_however_much_it_is(alice):
    user = User.objects.get(username="alice")
    jobs = [Job.objects.create(target_kind="vm", target_uid=uuid4(), actor_uid=user.pk) for _ in range(2)]
    costs = []
    for more in (1, 198):
        asked = {f"job:{job.pk}" for job in jobs} | {f"{kind}:{uuid4()}" for kind in ("job", "vm") for _ in range(more)}
        with CaptureQueriesContext(connection) as caught:
            assert watched.visible(as_actor(user), asked | {"jobs", f"vm:{uuid4()}"}) == {
                "jobs": None,
                **{f"job:{job.pk}": job.changed_at for job in jobs},
            }
        costs.append(len(caught))
    assert costs[0] == costs[1]


@pytest.mark.turns
async def test_who_asks_again_and_again_leaves_the_others_nine_tenths_of_the_time(alice, monkeypatch):
    took, asked, done = 0.05, [], asyncio.Event()

    loop = asyncio.get_running_loop()

    def slow(_actor: Actor, _items: set[str]) -> dict[str, Any]:
        asked.append(time.monotonic())
        time.sleep(took)
        if len(asked) == 3:
            loop.call_soon_threadsafe(done.set)
        return {}

    monkeypatch.setattr(watched, "visible", slow)
    opened = await page(alice)
    for _ in range(3):
        await opened.say(unknown_jobs(200))
    async with asyncio.timeout(30):
        await done.wait()
    assert all(later - earlier >= 10 * took for earlier, later in pairwise(asked))
    await opened.leave()


async def test_a_user_has_so_many_sockets_and_room_again_when_one_ends_however_it_ends(alice, monkeypatch):
    monkeypatch.setattr(consumers, "MOST_SOCKETS", 2)
    first, second = await page(alice), await page(alice)
    assert await (await page(alice)).close_code() == 1013
    await first.leave()
    third = await page(alice)
    await third.say(json.dumps({"watch": ["jobs"]}))
    assert "jobs-count" in await third.hear()
    with monkeypatch.context() as patch:
        patch.setattr(watched, "wanted", fails)
        await second.say("{}")
        with pytest.raises(ValueError, match="a fault"):
            await second.leave()
    fourth = await page(alice)
    assert await (await page(alice)).close_code() == 1013
    await third.leave()
    await fourth.leave()


def fails(*_: Any) -> Any:
    raise ValueError("a fault")


async def test_CO06_a_socket_whose_log_in_cannot_be_looked_at_is_closed(alice, monkeypatch):  # noqa: N802
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.2)
    opened = await page(alice)
    await opened.say(json.dumps({"watch": ["jobs"]}))
    await opened.hear()

    def gone(_scope: dict[str, Any]) -> Any:
        raise OperationalError("the database restarts")

    monkeypatch.setattr(consumers, "actor_of_scope", gone)
    assert await opened.close_code() == 1013


async def test_a_socket_that_cannot_be_told_of_a_change_is_closed_so_that_its_page_looks_again(alice, monkeypatch):
    opened = await page(alice)
    await opened.say(json.dumps({"watch": ["jobs"]}))
    await opened.hear()

    def locked(*_: Any) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(consumers, "_parts", locked)
    user = await database_sync_to_async(User.objects.get)(username="alice")
    job = await database_sync_to_async(Job.objects.create)(target_kind="vm", target_uid=uuid4(), actor_uid=user.pk)
    await database_sync_to_async(announce)(job)
    assert await opened.close_code() == 1013


@pytest.mark.parametrize("log_in", ["good", "none"])
async def test_a_foreign_page_does_not_learn_whether_somebody_is_logged_in(alice, log_in):
    opened = await page(alice if log_in == "good" else "none", origin=b"https://evil.example")
    assert await opened.close_code() == 4403
