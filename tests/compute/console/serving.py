"""The ASGI server as the portal runs it, on a thread of the test and a port of the system's choice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from portal.serve import SERVER


@contextmanager
def serving(application: Any, **changes: Any) -> Iterator[int]:
    """Serve until the block ends; gives the port. Open connections are cut off at the end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    options = {**SERVER, "timeout_graceful_shutdown": 1, "access_log": False, **changes}
    server = uvicorn.Server(uvicorn.Config(application, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started, "the server did not start"
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"
