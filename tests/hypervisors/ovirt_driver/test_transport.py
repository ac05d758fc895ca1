"""What is below the SDK's services: no connection is waited for without end, and no answer brings a document type."""

from __future__ import annotations

import gzip
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from portal.hypervisors.errors import Unavailable
from portal.hypervisors.ovirt import connection, transport
from portal.hypervisors.ovirt.connection import _refuse_what_no_engine_says
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.ovirt.failures import Garbled, calling
from portal.hypervisors.ovirt.transport import LARGEST, Answer, Broken, Transport
from portal.hypervisors.specs import Connection
from tests.doubles.ovirt_engine import certificates

pytestmark = pytest.mark.once

MIB = 1024**2
XML = ["Content-Type: application/xml;charset=UTF-8"]
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and says nothing, no greeting of TLS either."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_who_takes_a_connection_and_says_nothing_is_left_soon_and_was_sent_nothing(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 1)
    certificates.ensure(tmp_path)
    ca_pem, url = (tmp_path / "ca.pem").read_text(), f"https://127.0.0.1:{silent}/ovirt-engine/api"
    began = time.monotonic()
    with pytest.raises(Broken) as broken:
        Transport(ca_pem).ask("POST", f"{url}/vms", headers=[], seconds=30)
    assert time.monotonic() - began < 5, "an answer is waited for for 30 s"
    assert (broken.value.was_sent, broken.value.is_tls) == (False, False)
    with pytest.raises(Unavailable) as told, calling("make machine", mutates=True):
        raise broken.value
    assert not told.value.outcome_unknown, "it may be tried again"


def test_a_log_in_there_ends_as_soon(silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 1)
    certificates.ensure(tmp_path)
    given = {"username": "portal@internal", "secrets": {"password": "x"}, "ca_pem": (tmp_path / "ca.pem").read_text()}
    address = f"https://127.0.0.1:{silent}/ovirt-engine/api"
    driver = OvirtDriver(Connection("ovirt", address, uuid4(), uuid4(), **given))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        driver.about()
    driver.close()
    assert time.monotonic() - began < 5, "an answer is waited for for 30 s"


@pytest.mark.parametrize(
    "declared",
    [
        "<!DOCTYPE api>",
        '<!DOCTYPE api SYSTEM "file:///etc/hostname">',
        '<!DOCTYPE api [<!ENTITY name SYSTEM "file:///etc/hostname">]>',
        f'<!DOCTYPE api [<!ENTITY l0 "ha">{LAUGHS}]>',
    ],
)
def test_IN20_an_answer_with_a_document_type_is_none(declared: str) -> None:  # noqa: N802
    _refuse_what_no_engine_says("GET", Answer(200, b"<api/>", XML))
    for method in ("GET", "POST"):
        with pytest.raises(Garbled, match="document type") as refused:
            _refuse_what_no_engine_says(method, Answer(200, f"{declared}<api><name>x</name></api>".encode(), XML))
        assert refused.value.mutates == (method == "POST")
        other = f"<?xml version='1.0' encoding='UTF-16'?>{declared}<api/>".encode("utf-16")
        with pytest.raises(Garbled, match="document type"):  # the bytes do not tell it
            _refuse_what_no_engine_says(method, Answer(200, other, XML))


def test_IN20_an_answer_of_tags_alone_is_refused_before_a_tree_is_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    monkeypatch.setattr(connection.etree, "fromstring", lambda *_: pytest.fail("a tree was made"))
    body = b"<api>" + b"<a/>" * connection.MOST_TAGS + b"</api>"
    assert len(body) < LARGEST
    with pytest.raises(Garbled, match="tags"):
        _refuse_what_no_engine_says("GET", Answer(200, body, XML))


def packed(size: int) -> bytes:
    """So many zeros as little as they can be packed."""
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(size), 9)


@pytest.mark.parametrize(
    "says",
    [
        lambda: packed(64 * MIB),
        lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + bytes(1024),
        lambda: b"HTTP/1.1 200 OK\r\n\r\n" + bytes(8 * MIB),
    ],
    ids=["packed", "said to be long", "without an end"],
)
def test_IN20_an_answer_beyond_the_bound_is_given_up_and_not_kept(  # noqa: N802
    says: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST", 4 * MIB)
    kept: list[int] = []
    bounded = transport._bounded

    def noted(content: io.BytesIO) -> object:
        write = bounded(content)

        def take(piece: bytes) -> int:
            taken: int = write(piece)  # type: ignore[operator]
            kept.append(content.tell())
            return taken

        return take

    monkeypatch.setattr(transport, "_bounded", noted)
    certificates.ensure(tmp_path)
    with saying(says(), tmp_path) as port, pytest.raises(Broken):
        Transport((tmp_path / "ca.pem").read_text()).ask("GET", f"https://127.0.0.1:{port}/x", headers=[])
    assert max(kept, default=0) <= 4 * MIB


@contextmanager
def saying(answer: bytes, folder: Path) -> Iterator[int]:
    """A server by TLS that says this once, to whoever asks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.ensure(folder)[1])

    def serve() -> None:
        with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as link:
            link.recv(65536)
            link.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(20)
