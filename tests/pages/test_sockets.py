"""The pages' websockets: who may open them, what they send, and that rights which end reach them."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from channels.db import database_sync_to_async
from django.conf import settings

from compute.models import Vm
from compute.services.vms import stop_vm
from portal.asgi import application
from portal.common.access import access_changed
from portal.common.sessions import SessionStore
from portal.jobs.engine import run_to_end
from portal.jobs.feed import announce
from portal.jobs.models import Job
from tenants.services.tokens import create_token
from tests.pages.socket_client import SocketClient

ORIGIN = settings.PUBLIC_ORIGINS[0].encode()


def socket(path: str, cookie: str = "", *, origin: bytes | None = ORIGIN, token: str = "") -> SocketClient:
    headers = [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())] if cookie else []
    headers += [(b"origin", origin)] if origin is not None else []
    headers += [(b"authorization", f"Bearer {token}".encode())] if token else []
    return SocketClient(application, path, headers=headers)


@pytest.fixture
def vm(demo):
    return demo.make_vm("alice")


def session_of(demo, name: str) -> str:
    return str(demo.browser(name).session.session_key)


in_database = database_sync_to_async


@pytest.mark.parametrize("path", ["/ws/page/", "/ws/vms/", "/ws/jobs/00000000-0000-4000-8000-000000000001/"])
async def test_nobody_gets_in_without_a_login(demo, path):
    opened = socket(path)
    await opened.connect()
    assert await opened.close_code() == 4401


@pytest.mark.parametrize(
    "origin", [None, b"null", b"https://evil.example", b"http://127.0.0.1:9", ORIGIN.replace(b"http:", b"https:")]
)
async def test_a_cookie_opens_no_socket_from_another_origin(demo, origin):
    cookie = await in_database(session_of)(demo, "alice")
    opened = socket("/ws/page/", cookie, origin=origin)
    await opened.connect()
    assert await opened.close_code() == 4403


async def test_page_gets_its_parts_at_once_and_at_every_change(demo, vm):
    opened = socket("/ws/page/", await in_database(session_of)(demo, "alice"))
    await opened.connect()
    await opened.say(json.dumps({"watch": [f"vm:{vm.pk}", "jobs"]}))
    first = await opened.hear()
    assert f'id="vm-head-{vm.pk}"' in first
    assert 'hx-swap-oob="true"' in first
    job = await in_database(stop_vm)(await in_database(demo.actor)("alice"), vm.pk)
    assert "Another job is at work" in await opened.hear()
    await in_database(run_to_end)(job.pk)
    last = await opened.hear()
    while 'data-status="done"' not in last or "state-down" not in last:
        last = await opened.hear()
    await opened.leave()


@pytest.mark.long
async def test_a_row_is_taken_away_once_and_is_not_watched_any_more(demo, vm):
    opened = socket("/ws/page/", await in_database(session_of)(demo, "alice"))
    await opened.connect()
    await opened.say(json.dumps({"watch": [f"row:{vm.pk}"]}))
    assert f'id="row-{vm.pk}"' in await opened.hear()
    job = await in_database(Job.objects.get)(target_uid=vm.pk)
    await in_database(Vm.objects.filter(pk=vm.pk).delete)()
    await in_database(announce)(job)
    assert await opened.hear() == f'<tr id="row-{vm.pk}" hx-swap-oob="delete"></tr>'
    await in_database(announce)(job)
    assert await opened.silent(1)
    await opened.leave()


@pytest.mark.long
async def test_what_may_not_be_seen_is_neither_sent_nor_watched(demo, vm):
    opened = socket("/ws/page/", await in_database(session_of)(demo, "bob"))
    await opened.connect()
    job = await in_database(Job.objects.get)(target_uid=vm.pk)
    await opened.say(json.dumps({"watch": [f"vm:{vm.pk}", f"card:{vm.pk}", f"job:{job.pk}"]}))
    await in_database(stop_vm)(await in_database(demo.actor)("alice"), vm.pk)
    assert await opened.silent(1)
    await opened.leave()


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", '{"watch": "vm"}', '{"watch": ["vm:1"]}', '{"watch": [1]}', '{"watch": ["' + "x" * 20000],
)
async def test_malformed_message_ends_the_socket(demo, text):
    opened = socket("/ws/page/", await in_database(session_of)(demo, "alice"))
    await opened.connect()
    await opened.say(text)
    assert await opened.close_code() == 1008


async def test_logout_closes_open_sockets(demo, vm):
    cookie = await in_database(session_of)(demo, "alice")
    opened = socket("/ws/page/", cookie)
    await opened.connect()
    await in_database(SessionStore(cookie).delete)()
    alice = await in_database(demo.user)("alice")
    await in_database(access_changed)([alice.pk])
    assert await opened.close_code() == 4401


async def test_job_feed_tells_a_bearer_every_change_until_the_end(demo, vm):
    actor = await in_database(demo.actor)("alice")
    _row, token = await in_database(create_token)(actor, name="feed", scope="read", expires_in=3600)
    job = await in_database(stop_vm)(actor, vm.pk)
    opened = socket(f"/ws/jobs/{job.pk}/", token=token, origin=None)
    await opened.connect()
    told = json.loads(await opened.hear())
    assert UUID(told["id"]) == job.pk
    assert told["status"] == "queued"
    await in_database(run_to_end)(job.pk)
    while told["status"] != "finished":
        told = json.loads(await opened.hear())
    assert await opened.close_code() == 1000


async def test_job_feed_of_another_is_not_there(demo, vm):
    job = await in_database(Job.objects.get)(target_uid=vm.pk)
    opened = socket(f"/ws/jobs/{job.pk}/", await in_database(session_of)(demo, "charlie"))
    await opened.connect()
    assert await opened.close_code() == 4404


async def test_AN17_the_feed_of_machines_tells_a_token_with_bounds_of_none_that_it_does_not_see(demo, vm):  # noqa: N802
    actor = await in_database(demo.actor)("alice")
    wish = {"name": "feed", "scope": "read", "expires_in": 3600}
    _row, narrow = await in_database(create_token)(actor, **wish, permits=["TEMPLATE_VIEW"])
    _row, whole = await in_database(create_token)(actor, **wish)
    job = await in_database(Job.objects.get)(target_uid=vm.pk)
    bounded, opened = (socket("/ws/vms/", token=token, origin=None) for token in (narrow, whole))
    await bounded.connect()
    await opened.connect()
    await in_database(announce)(job)
    assert json.loads(await opened.hear())["name"] == vm.name
    await in_database(Vm.objects.filter(pk=vm.pk).delete)()
    await in_database(announce)(job)
    assert json.loads(await opened.hear()) == {"id": str(vm.pk), "deleted": True}
    await in_database(Job.objects.filter(pk=job.pk).update)(target_kind="image")  # as if it were no machine's
    await in_database(announce)(job)
    assert await opened.silent(0.5)
    assert await bounded.silent(0.1)
    await opened.leave()
    await bounded.leave()
