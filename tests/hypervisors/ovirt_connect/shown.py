"""Servers that show a certificate of one's choice, as no good engine does; they know no more than their CA."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from portal.hypervisors.ovirt.certificates import CA_PATH

ADDRESS = "127.0.0.1"


class Answers(BaseHTTPRequestHandler):
    """Knows nothing but the CA that its server is to give."""

    ca_pem = ""
    ahead = 0.0
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """The CA where one is given, and nothing else."""
        body = self.ca_pem.encode() if self.path == CA_PATH else b""
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.asked.append(f"{self.requestline} {self.headers} {sent}")
        self.send_response(HTTPStatus.OK if body else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST = do_GET  # noqa: N815 - the names that the server looks for

    def date_time_string(self, timestamp: float | None = None) -> str:
        """By a clock that may be wrong."""
        return super().date_time_string((timestamp or time.time()) + self.ahead)

    def log_message(self, *_args: object) -> None:
        """Nobody reads it."""


@contextmanager
def showing(
    folder: Path, certificate: str, key: str, *, ca_pem: str = "", ahead: float = 0, asked: list[str] | None = None
) -> Iterator[int]:
    """A server over TLS that gives this CA as its own (none: 404), its clock so many seconds ahead; its port.

    What it is asked, with all that is sent along, goes into ``asked``.
    """
    pair = folder / "shown.pem"
    pair.write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with _serving(
        type("Gives", (Answers,), {"ca_pem": ca_pem, "ahead": ahead, "asked": [] if asked is None else asked})
    ) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        yield server.server_port


@contextmanager
def plain() -> Iterator[int]:
    """A server without TLS."""
    with _serving(Answers) as server:
        yield server.server_port


@contextmanager
def _serving(answers: type[Answers]) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer((ADDRESS, 0), answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server((ADDRESS, 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def closed() -> Iterator[int]:
    """A port on which nobody listens, and nobody else can either."""
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        yield taken.getsockname()[1]
