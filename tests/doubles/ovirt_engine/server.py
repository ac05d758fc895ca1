"""The HTTPS server: connections kept open, a thread each, and every answer in one packet."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import sys
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.doubles.ovirt_engine import faults
from tests.doubles.ovirt_engine.asked import Asked, Refused
from tests.doubles.ovirt_engine.controlling import Controls
from tests.doubles.ovirt_engine.engine import Engine, Reply
from tests.doubles.ovirt_engine.shape import BASE

WORTH_GZIP = 1000
REASONS = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 409: "Conflict", 500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


class Server(ThreadingHTTPServer):
    """The server of an engine. TLS is greeted on the connection's own thread, so that a silent guest holds nobody up."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], engine: Engine, certificate: Path) -> None:
        super().__init__(address, Handler)
        self.engine = engine
        self.controls = Controls(engine)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)

    def get_request(self) -> tuple[Any, Any]:
        plain, address = self.socket.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Guests that go are no error; others are told in the log by the handler's thread."""
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 600

    def setup(self) -> None:
        self.request.settimeout(30)
        self.request.do_handshake()
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base class
        """Requests are kept by the engine; nothing is logged."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, query, headers, body, "")
        if parts.path.startswith("/control/"):
            self._send(self.server.controls.answer(asked))
            return
        below = parts.path.removeprefix(BASE) if parts.path.startswith(BASE) else parts.path
        fault = self.server.engine.faults.take(f"{self.command} {below}")
        if fault is None:
            self._send(self.server.engine.answer(asked))
        else:
            self._fail(asked, fault)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names of the base class

    def _fail(self, asked: Asked, fault: faults.Fault) -> None:
        """Let a request fail as ordered."""
        kind, more, engine = fault.fault, fault.more, self.server.engine
        if kind == "reset_before":
            self._reset()
        elif kind in ("500", "503"):
            self._send(Reply(int(kind), faults.page(int(kind)), "text/html; charset=iso-8859-1"))
        elif kind == "401":
            engine.world.tokens.pop(asked.headers.get("authorization", "").removeprefix("Bearer "), None)
            self._send(engine.answer(asked))
        elif kind == "fault":
            error = Refused(int(more.get("status", 409)), more.get("detail", "[Internal Engine Error]"),
                            more.get("reason", "Operation Failed"))  # fmt: skip
            self._send(engine._refusal(error, is_action=False))
        elif kind == "hang":
            time.sleep(float(more.get("seconds", 3600)))
            self._reset()
        else:
            self._fail_after(engine.answer(asked, fault), kind, more)

    def _fail_after(self, reply: Reply, kind: str, more: dict[str, Any]) -> None:
        if kind == "restart":
            self.server.engine.restarted()
        if kind in ("reset_after", "restart"):
            self._reset()
        elif kind == "garbled":
            self._send(Reply(reply.status, reply.body[: len(reply.body) // 2] + b"<<&\x00 garbled", reply.kind))
        elif kind == "truncated":
            self._send(reply, cut=True)
        else:
            time.sleep(float(more.get("seconds", 1)) if kind == "slow" else 0)
            self._send(reply)

    def _reset(self) -> None:
        """End the connection as a lost one: with a reset, not with a good-bye."""
        self.close_connection = True
        plain = self.connection
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=plain.detach()).close()

    def _send(self, reply: Reply, *, cut: bool = False) -> None:
        body, headers = reply.body, dict(reply.headers)
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > WORTH_GZIP and not cut:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, '')}", f"Date: {self.date_time_string()}",
                 "Server: Apache/2.4.37", f"Content-Length: {len(body)}"]  # fmt: skip
        if body:
            lines.append(f"Content-Type: {reply.kind}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        if cut:
            self.wfile.write(head + body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(head + body)
