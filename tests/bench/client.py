"""A client of a running portal, as cheap as Python allows: its time is in every figure."""

from __future__ import annotations

import http.client
import json
from typing import Any
from uuid import uuid4

from websockets.sync.client import ClientConnection, connect


class PortalClient:
    """One user with a token; a connection for each call, for the server closes idle ones."""

    def __init__(self, port: int, *, username: str, password: str) -> None:
        self.port = port
        self.token = ""
        ask = {"username": username, "password": password, "name": f"bench {uuid4().hex[:8]}", "scope": "write"}
        self.token = self.call("POST", "tokens/", ask)["token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises ``AssertionError`` with it for anything but success."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"} if self.token else {}
        headers = headers or {"Content-Type": "application/json"}
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        link.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), headers)
        answer = link.getresponse()
        text = answer.read()
        link.close()
        assert answer.status < 300, text.decode(errors="replace")
        return json.loads(text) if text else None

    def page_socket(self) -> ClientConnection:
        """The websocket of a page."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return connect(f"ws://127.0.0.1:{self.port}/ws/page/", additional_headers=headers, compression=None)

    def wait(self, job: str) -> dict[str, Any]:
        """The job once it is final, told by its websocket."""
        headers = {"Authorization": f"Bearer {self.token}"}
        told: dict[str, Any] = {}
        with connect(f"ws://127.0.0.1:{self.port}/ws/jobs/{job}/", additional_headers=headers) as socket:
            for message in socket:
                told = json.loads(message)
        assert told["status"] == "finished", told
        return told
