"""SE02 and IN19: whatever fails, wherever, its values reach neither the user nor the log; he gets a code and a number."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from celery.app.trace import build_tracer
from django.core import serializers
from django.db import DataError, OperationalError, connections
from django.test import AsyncClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from compute import consumers as compute_consumers
from compute import selectors
from portal import consumers, page_parts
from portal.asgi import application
from portal.common import logs
from portal.common.models import IdempotencyKey
from portal.common.sessions import SessionStore
from portal.events.models import Event
from portal.jobs import tasks
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job, Step
from tests.compute.console.serving import serving
from tests.compute.console.world import eventually
from tests.doubles.hypervisor import DoubleDriver
from tests.edge.world import World, the_world

CANARY = "canary-5d2f9c-password"


def plain() -> None:
    password = CANARY
    raise RuntimeError(f"cannot log in with {password}")


def of_a_key() -> None:
    {}[CANARY]


def of_a_file() -> None:
    Path(f"/nowhere/{CANARY}").read_text()


def of_a_subprocess() -> None:
    subprocess.run([sys.executable, "-c", f"import sys; sys.exit('{CANARY}')"], check=True, capture_output=True)


def of_text() -> None:
    (CANARY + "\udc80").encode()


def of_a_row() -> None:
    raise DataError(f'invalid input syntax for type uuid: "{CANARY}"')


def chained() -> None:
    try:
        plain()
    except RuntimeError as error:
        raise ValueError(f"after {CANARY}") from error


def in_another() -> None:
    try:
        plain()
    except RuntimeError:
        {}[CANARY]


def of_a_group() -> None:
    raise ExceptionGroup(CANARY, [RuntimeError(CANARY), ValueError(CANARY)])


FAILURES = [plain, of_a_key, of_a_file, of_a_subprocess, of_text, of_a_row, chained, in_another, of_a_group]


@pytest.fixture
def world(db, tmp_path) -> World:
    return the_world(tmp_path)


def fails(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, failure: Callable[[], None]) -> None:
    def raises(*_args: Any, **_named: Any) -> None:
        local = CANARY
        failure()
        del local

    monkeypatch.setattr(owner, name, raises)


def test_SE02_a_failing_view_tells_a_code_and_a_number_and_nothing_else(world, log, monkeypatch):  # noqa: N802
    clients = {f"/api/v1/vms/{world.vm.pk}/": world.api("owner"), f"/machines/{world.vm.pk}/": world.browser("owner")}
    for failure in FAILURES:
        fails(monkeypatch, selectors, "get_vm", failure)
        before = len(log.lines())
        for address, client in clients.items():
            client.raise_request_exception = False
            answer = client.get(address)
            text = answer.content.decode()
            assert answer.status_code == 500
            assert answer["X-Request-Id"] in text
            assert not [word for word in (CANARY, "Traceback", failure.__name__, "test_failures") if word in text]
        traces = [line["trace"] for line in log.lines()[before:] if "trace" in line]
        assert len(traces) >= 2
        assert all("tests/edge/test_failures.py" in trace and failure.__name__ in trace for trace in traces)
    assert CANARY not in log.text


def test_SE02_a_database_that_fails_before_any_view_is_called_busy(world, log, monkeypatch):  # noqa: N802
    def fails_first(_self: SessionStore) -> None:
        raise OperationalError(CANARY)

    monkeypatch.setattr(SessionStore, "load", fails_first)
    waiting = AsyncClient(raise_request_exception=False)
    waiting.cookies = world.browser("owner").cookies
    for address in (f"/api/v1/vms/{world.vm.pk}/", f"/machines/{world.vm.pk}/"):
        client = world.browser("owner")
        client.raise_request_exception = False
        for answer in (client.get(address), async_to_sync(waiting.get)(address)):
            text = answer.content.decode()
            assert answer.status_code == 503
            assert "The database is busy" in text
            assert answer["X-Request-Id"] in text
            assert CANARY not in text
    assert CANARY not in log.text


def test_IN19_the_problem_has_its_code_and_the_number_is_found_in_the_log(world, log, monkeypatch):  # noqa: N802
    fails(monkeypatch, selectors, "get_vm", plain)
    client = world.api("owner")
    client.raise_request_exception = False
    problem = client.get(f"/api/v1/vms/{world.vm.pk}/").json()
    assert set(problem) == {"type", "title", "status", "code", "detail", "reasons", "request_id"}
    assert problem["code"] == "internal_error"
    assert [line for line in log.lines() if problem["request_id"] in line["message"] and "trace" in line]


def test_SE02_a_failing_step_and_driver_leave_nothing_in_job_audit_or_log(world, log, monkeypatch):  # noqa: N802
    fails(monkeypatch, DoubleDriver, "create_disk", of_a_subprocess)
    ids = {name: world.ids[name] for name in ("data_center", "template")}
    made = world.api("owner").post("/api/v1/vms/", {"name": "web-2", **ids}, content_type="application/json").json()
    assert run_to_end(made["job"]["id"]).status == "failed"
    told = world.api("owner").get(f"/api/v1/jobs/{made['job']['id']}/").json()
    assert told["error"]["code"] == "internal_error"
    assert told["error"]["request_id"]
    kept = "".join(serializers.serialize("json", model.objects.all()) for model in (Job, Step, Event, IdempotencyKey))
    page = world.browser("owner").get(f"/jobs/{made['job']['id']}/").content.decode()
    for place in (str(told), kept, page):
        assert CANARY not in place
        assert "CalledProcessError" not in place
    assert [line for line in log.lines() if "CalledProcessError 1" in line.get("trace", "")]
    assert CANARY not in log.text


def test_SE02_a_failing_task_is_logged_without_its_values(log, monkeypatch):  # noqa: N802
    fails(monkeypatch, tasks, "advance", chained)
    trace = build_tracer(tasks.run_job.name, tasks.run_job, app=tasks.run_job.app)
    trace("id-1", ("00000000-0000-4000-8000-000000000001",), {}, {"hostname": "here"})
    assert CANARY not in log.text
    [line] = [line for line in log.lines() if line["logger"] == "celery.app.trace"]
    assert "run_job" in line["message"]
    assert "ValueError" in line["trace"]


def test_SE02_a_thread_that_ends_by_an_exception_is_one_line_without_values(log, monkeypatch, capfd):  # noqa: N802
    monkeypatch.setattr(threading, "excepthook", logs._log_end_of_thread)
    thread = threading.Thread(target=in_another, name="a-watcher")
    thread.start()
    thread.join()
    [line] = [line for line in log.lines() if "a-watcher" in line["message"]]
    assert "KeyError" in line["trace"]
    assert CANARY not in log.text + "".join(capfd.readouterr())


async def test_SE02_a_task_that_nobody_waited_for_is_logged_without_its_values(log):  # noqa: N802
    async def fail() -> None:
        chained()

    asyncio.create_task(fail())  # noqa: RUF006 - that nobody holds it is the point
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    [line] = [line for line in log.lines() if "never retrieved" in line["message"]]
    assert "ValueError" in line["trace"]
    assert CANARY not in log.text


@pytest.fixture
def served(transactional_db, tmp_path, settings, monkeypatch) -> Iterator[World]:
    """The same behind the real ASGI server; ``ids["address"]`` says where."""
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    world = the_world(tmp_path)
    with serving(application) as port:
        world.ids["address"] = f"127.0.0.1:{port}"
        settings.PUBLIC_ORIGINS = [f"http://127.0.0.1:{port}"]
        yield world


SOCKETS = (
    (page_parts, "jobs_count", "/ws/page/"),
    (consumers, "get_job", "/ws/jobs/{job}/"),
    (consumers, "actor_of_scope", "/ws/vms/"),
    (compute_consumers, "claim_console", "/ws/consoles/{console}/"),
)


def test_SE02_a_failing_websocket_ends_and_says_nothing(served, log, monkeypatch):  # noqa: N802
    for count, (owner, name, path) in enumerate(SOCKETS, start=1):
        with monkeypatch.context() as patch:
            fails(patch, owner, name, of_a_subprocess)
            heard = said_by(served, path)
            eventually(
                lambda count=count: count <= sum("CalledProcessError" in x.get("trace", "") for x in log.lines())
            )
        assert CANARY not in heard
    assert CANARY not in log.text
    assert served.tokens["owner"] not in log.text


def said_by(served: World, path: str) -> str:
    """What a socket says before it ends."""
    headers = {"Authorization": f"Bearer {served.tokens['owner']}"}
    address = f"ws://{served.ids['address']}{path.format(**served.ids)}"
    try:
        with connect(address, additional_headers=headers, compression=None, proxy=None, open_timeout=120) as socket:
            socket.send('{"watch": ["jobs"]}')
            return str(socket.recv(120))
    except (InvalidStatus, ConnectionClosed) as end:
        return str(end)
