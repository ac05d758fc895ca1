"""DO01: what a request may weigh, whatever it says of itself, under the ASGI server as every installation runs it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

from portal import bodies, http_heads
from portal.asgi import application
from portal.http_heads import FIELDS_LIMIT, HEAD_LIMIT
from tenants.models import User
from tests.compute.console.serving import serving
from tests.compute.console.world import eventually
from tests.people import PASSWORD
from tests.tenants.conftest import make_people

pytestmark = pytest.mark.long

PATIENCE = 120.0  # far beyond what anything takes, on whatever machine
ENDLESS = 1 << 34
LIMIT = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
TOKENS = "POST /api/v1/tokens/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
GOOD = json.dumps({"username": "alice", "password": PASSWORD, "name": "t"}).encode()


@pytest.fixture
def port(transactional_db, monkeypatch) -> Iterator[int]:
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    make_people()
    with serving(application) as port:
        yield port


class Answer:
    """An HTTP answer read from a socket until it was whole."""

    def __init__(self, link: socket.socket) -> None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += self._more(link)
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        while len(self.body) < int(self.headers["content-length"]):
            self.body += self._more(link)

    @staticmethod
    def _more(link: socket.socket) -> bytes:
        data = link.recv(65536)
        assert data, "the connection was closed without an answer"
        return data


@contextmanager
def linked(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as link:
        yield link


def chunked(body: bytes, size: int = 4096) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def asked(port: int, head: str, body: bytes = b"") -> Answer:
    with linked(port) as link:
        link.sendall(head.encode() + b"\r\n" + body)
        return Answer(link)


def memory() -> int:
    """Kilobytes that this process holds now."""
    return int(
        next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1]
    )


def test_DO01_a_body_in_chunks_is_a_body(port):  # noqa: N802
    assert asked(port, TOKENS + "Transfer-Encoding: chunked\r\n", chunked(GOOD, 10)).status == 201
    assert asked(port, TOKENS + f"Content-Length: {len(GOOD)}\r\n", GOOD).status == 201
    assert (
        asked(port, TOKENS + "Transfer-Encoding: chunked\r\n", chunked(b" " * (LIMIT - len(GOOD)) + GOOD)).status == 201
    )


def test_DO01_a_body_beyond_the_limit_is_413_however_it_comes(port):  # noqa: N802
    huge = b"x" * (LIMIT + 1)
    for path in ("/api/v1/tokens/", "/login/", "/", "/nothing/", "/api/v1/nothing/"):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        for answer in (
            asked(port, head + f"Content-Length: {10**12}\r\n"),
            asked(port, head + f"Content-Length: {len(huge)}\r\n", huge),
            asked(port, head + "Transfer-Encoding: chunked\r\n", chunked(huge)),
            asked(port, head + f"Content-Length: {len(huge)}\r\nExpect: 100-continue\r\n"),
        ):
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            if path.startswith("/api/"):
                assert answer.headers["content-type"] == "application/problem+json"
                assert json.loads(answer.body)["code"] == "too_large"


def pour(link: socket.socket, piece: bytes, *, most: int) -> int:
    """Send again and again, reading nothing, until the other end hangs up; the bytes that it took."""
    sent = 0
    with suppress(OSError):
        while sent < most:
            sent += link.send(piece)
    return sent


def test_DO01_a_client_that_goes_on_and_on_gets_its_answer_and_costs_no_memory(port, monkeypatch):  # noqa: N802
    monkeypatch.setattr(bodies, "LINGER_SECONDS", 0.5)
    before, piece = memory(), chunked(b"x" * 65536, 65536)[: -len(b"0\r\n\r\n")]
    head = TOKENS.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    with linked(port) as link:
        link.sendall(head)
        assert LIMIT < pour(link, piece, most=ENDLESS) < ENDLESS
    assert memory() - before < 32 * 1024
    with linked(port) as link:
        link.sendall(head + piece * 5)
        assert Answer(link).status == 413


LENGTHS = (
    ("", b"", 400),  # no length, no body
    ("", GOOD, 400),
    ("Content-Length: 0\r\n", b"", 400),
    (f"Content-Length: {len(GOOD) - 5}\r\n", GOOD, 400),
    ("Content-Length: -1\r\n", GOOD, 400),
    ("Content-Length: x\r\n", GOOD, 400),
    ("Content-Length: 1e3\r\n", GOOD, 400),
    (f"Content-Length: {10**30}\r\n", GOOD, 400),
    (f"Content-Length: {len(GOOD)}\r\nContent-Length: 1\r\n", GOOD, 400),
    (f"Content-Length: {len(GOOD)}\r\nTransfer-Encoding: chunked\r\n", chunked(GOOD), 400),
    ("Transfer-Encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked\r\n", b"-5\r\nabc\r\n0\r\n\r\n", 400),
    ("Transfer-Encoding: gzip, chunked\r\n", chunked(GOOD), 201),  # not unpacked: what comes is what counts
    ("Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"\x1f\x8b123", 400),
)


def test_DO01_a_length_that_is_missing_or_a_lie_is_answered(port):  # noqa: N802
    for head, body, status in LENGTHS:
        assert asked(port, TOKENS + head, body).status == status, (head, body)


def test_DO01_a_body_that_does_not_come_is_408(port, monkeypatch):  # noqa: N802
    monkeypatch.setattr(application.application_mapping["http"], "_seconds", 0.3)
    answer = asked(port, TOKENS + "Content-Length: 1000\r\n", b"{")
    assert (answer.status, json.loads(answer.body)["code"]) == (408, "too_slow")
    assert asked(port, TOKENS + "Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n").status == 408


def test_DO01_deep_nesting_is_400(port):  # noqa: N802
    for text in ("[", '{"a":', "[[], ", '[{"a":'):
        for depth in (100, 900, 1000, 5000, LIMIT // len(text) - 10):
            body = (text * depth).encode()
            answer = asked(port, TOKENS + f"Content-Length: {len(body)}\r\n", body)
            assert (answer.status, json.loads(answer.body)["code"]) == (400, "invalid")
    body, bearer = ('{"a":' * 900 + "1" + "}" * 900).encode(), f"Authorization: Bearer {token(port)}\r\n"
    for path in ("vms/00000000-0000-4000-8000-000000000001/stop", "jobs/00000000-0000-4000-8000-000000000001/cancel"):
        head = TOKENS.replace("tokens", path) + f"Content-Length: {len(body)}\r\n" + bearer
        assert asked(port, head, body).status == 400


def token(port: int) -> str:
    return str(json.loads(asked(port, TOKENS + f"Content-Length: {len(GOOD)}\r\n", GOOD).body)["token"])


def test_DO01_many_fields_are_400_and_the_answer_stays_short(port):  # noqa: N802
    many = json.dumps({f"f{number}": 1 for number in range(20_000)}).encode()
    answer = asked(port, TOKENS + f"Content-Length: {len(many)}\r\n", many)
    assert answer.status == 400
    assert len(answer.body) < 20_000
    form = "&".join(f"f{number}=1" for number in range(1000)).encode()
    head = f"POST /login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={'t' * 32}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
    assert asked(port, head, form).status == 400
    query = "&".join(f"f{number}=1" for number in range(1000))
    for path in ("/login/", "/api/v1/me/"):
        assert asked(port, f"GET {path}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n").status in {400, 401}


def test_DO01_a_head_has_its_bounds_too(port):  # noqa: N802
    get = "GET /login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert asked(port, get + "X-Long: " + "x" * (HEAD_LIMIT // 2) + "\r\n").status == 200
    for head in (
        get + "X-Long: " + "x" * HEAD_LIMIT + "\r\n",
        get + "x" * HEAD_LIMIT + ": x\r\n",
        get + "Cookie: " + "a=b; " * HEAD_LIMIT + "\r\n",
        get + "".join(f"X-{number}: x\r\n" for number in range(FIELDS_LIMIT + 1)),
        f"GET /{'x' * HEAD_LIMIT} HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        f"GET /login/?{'x' * HEAD_LIMIT} HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    ):
        assert asked(port, head).status == 431


def test_DO01_a_head_without_end_costs_no_memory(port):  # noqa: N802
    before, much = memory(), 64 * 1024 * 1024
    for opening in (b"GET / HTTP/1.1\r\nX-Long: ", b"GET /", b"GET / HTTP/1.1\r\n"):
        piece = b"X: x\r\n" * 10_000 if opening.endswith(b"\r\n") else b"x" * 65536
        with linked(port) as link:
            link.sendall(opening)
            assert pour(link, piece, most=much) < much // 4
    assert memory() - before < 32 * 1024


def test_DO01_a_head_that_does_not_come_ends_the_connection_and_others_are_served(transactional_db, monkeypatch):  # noqa: N802
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    monkeypatch.setattr(http_heads, "HEAD_SECONDS", 0.5)
    with serving(application) as port:
        slow = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(50)]
        for link in slow:
            link.sendall(b"GET /login/ HTTP/1.1\r\nHost: ")
        eventually(lambda: was_served(port))
        assert [link.recv(100) for link in slow] == [b""] * 50
        for link in slow:
            link.close()


def was_served(port: int) -> bool:
    """Not if this machine took longer than a head may take to come."""
    try:
        return asked(port, "GET /login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n").status == 200
    except (OSError, AssertionError):
        return False


def test_DO01_a_connection_goes_on_after_a_whole_request(port):  # noqa: N802
    with linked(port) as link:
        for _ in range(3):
            link.sendall(TOKENS.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(GOOD, 7))
            assert Answer(link).status == 201
            link.sendall(b"GET /api/v1/me/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert Answer(link).status == 401


def test_DO01_parts_of_images_are_larger_at_their_own_address_alone(port):  # noqa: N802
    length = f"Content-Length: {LIMIT + 1}\r\n"
    uid = "0b2f0baa-a03b-4278-805a-b8d67adbd236"
    part = f"/api/v1/images/{uid}/content/?offset=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    part += f"Cookie: {settings.SESSION_COOKIE_NAME}={session_of('physics_admin')}\r\n"
    body = b"x" * (LIMIT + 1)
    assert asked(port, f"PUT {part}{length}", body).status == 403, "it came as far as the check of the token"
    assert asked(port, f"POST {part}{length}", body).status == 413
    most = settings.IMAGE_CHUNK_BYTES
    assert asked(port, f"PUT {part}Content-Length: {most + 1}\r\n", body).status == 413
    pieces = chunked(b"x" * (most + 1), 65536)
    assert asked(port, f"PUT {part}Transfer-Encoding: chunked\r\n", pieces).status == 413


@pytest.mark.parametrize("name", ["", "alice", "physics_admin"])
def test_DO01_a_whole_image_is_taken_from_those_alone_who_may_upload(port, name):  # noqa: N802
    cookie = f"Cookie: {settings.SESSION_COOKIE_NAME}={session_of(name)}\r\n" if name else ""
    head = f"POST /images/upload/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n{cookie}"
    body = b"x" * (LIMIT + 1)
    # 403: it came as far as the check of the form's token.
    wanted = 403 if name == "physics_admin" else 413
    assert asked(port, f"{head}Content-Length: {len(body)}\r\n", body).status == wanted
    assert asked(port, f"{head}Content-Length: {settings.IMAGE_FORM_BYTES * 2}\r\n", body).status == 413
    assert asked(port, f"{head}Transfer-Encoding: chunked\r\n", chunked(body)).status == 413


def session_of(name: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return str(client.session.session_key)
