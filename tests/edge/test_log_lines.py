"""IN15: whatever is sent, a line of the log is one JSON object, and a record of the audit log is one row."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
from django.db import connections

from portal.asgi import application
from portal.common.logs import LONGEST_MESSAGE
from portal.events.models import Event
from tests.compute.console.serving import serving
from tests.edge.world import World, the_world

FORGED = '{"at": "2026-01-01T00:00:00.000+00:00", "level": "info", "logger": "portal", "message": "forged"}'
HOSTILE = f"x\r\n{FORGED}\n\x1b[31mred\x1b]0;title\x07\u2028\u2029\u0085\x7f\x00"


@pytest.fixture
def world(db, tmp_path) -> World:
    return the_world(tmp_path)


def assert_sound(log: Any) -> None:
    """Every line parses, none is the forged one, and nothing in them moves a terminal's cursor."""
    lines = log.lines()
    assert lines
    assert all(set(line) <= {"at", "level", "logger", "message", "trace"} for line in lines)
    assert not [line for line in lines if line["message"] == "forged"]
    assert all(char == "\n" or " " <= char <= "~" for char in log.text)


def test_IN15_names_agents_and_addresses_forge_no_line(world, log):  # noqa: N802
    client, headers = world.api("owner"), {"User-Agent": HOSTILE, "Referer": HOSTILE, "X-Request-Id": HOSTILE}
    client.get(f"/{HOSTILE}/", headers=headers)
    client.get("/api/v1/vms/", {"page_size": HOSTILE}, headers=headers)
    client.get("/api/v1/vms/", headers={"Host": HOSTILE.replace("\x00", "")})
    client.post("/api/v1/vms/", {"name": HOSTILE, **world.ids}, content_type="application/json", headers=headers)
    world.browser("nobody").post("/login/", {"username": HOSTILE, "password": HOSTILE}, headers=headers)
    name = {"username": HOSTILE.replace("\x00", "")[:150], "password": "x", "name": "t"}
    assert client.post("/api/v1/tokens/", name, content_type="application/json").status_code == 401
    for number, text in enumerate((HOSTILE, HOSTILE.encode(), [HOSTILE], {HOSTILE: HOSTILE}, RuntimeError(HOSTILE))):
        logging.getLogger(HOSTILE).warning("%s %s", number, text)
        logging.getLogger("portal").warning(text)
    assert_sound(log)


def test_IN15_a_refused_log_in_is_one_record_whatever_the_name_which_is_kept_if_it_is_somebodys(world):  # noqa: N802
    for number, name in enumerate((HOSTILE, "a-password-in-the-wrong-field", "alice"), start=1):
        world.browser("nobody").post("/login/", {"username": name, "password": "wrong"})
        assert Event.objects.filter(code="LOGIN_REFUSED").count() == number
    names = Event.objects.filter(code="LOGIN_REFUSED").values_list("object_name", flat=True)
    assert sorted(names) == ["", "", "alice"]


def test_IN15_a_line_that_cannot_be_formatted_is_a_line_all_the_same(log):  # noqa: N802
    for text, values in (("%d of %s", ("many",)), ("100 %", (1,)), ("%(name)s", ({"a": 1},))):
        log.handler.emit(logging.LogRecord("portal", logging.WARNING, __file__, 1, text, values, None))
    assert [line["message"] for line in log.lines()] == [
        f"a line that cannot be formatted: {text!r}" for text in ("%d of %s", "100 %", "%(name)s")
    ]


def test_DO07_a_long_message_is_cut(log):  # noqa: N802
    logging.getLogger("portal").warning("x" * 100_000)
    [line] = log.lines()
    assert len(line["message"]) == LONGEST_MESSAGE


def test_IN15_nor_does_what_the_real_server_is_sent(transactional_db, log, monkeypatch):  # noqa: N802
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    hostile = FORGED.replace(" ", "%20").replace('"', "%22")
    lines = (
        f"GET /%0d%0a{hostile}%1b%5b31m HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: \x1b[31mred\r\nConnection: close\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX: \r\n {FORGED}\r\n\r\n",
        "GET /\x1b[31m HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        f"{FORGED}\r\n\r\n",
        f"GET /ws/%0d%0a{hostile} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    )
    with serving(application) as port:
        for text in lines:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
                client.sendall(text.encode("latin-1"))
                assert client.recv(65536).startswith(b"HTTP/1.1 ")
    assert_sound(log)
