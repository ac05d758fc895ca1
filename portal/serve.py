"""The ASGI server as every installation runs it: ``python -m portal.serve [--host ADDR] [--port N] [--certificate ...]``.

Requests are bounded (``portal.http_heads``, ``portal.bodies``), and so are websockets (``portal.websocket``), which are
never compressed (deflate costs a console 95 % of its throughput), and pinged; headers of a proxy are read by our own
middleware from trusted proxies alone, never by uvicorn.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
from django.conf import settings

from portal.http_heads import BoundedHeads
from portal.websocket import FairWebSocket

MOST_DESCRIPTORS = 65_536
MOST_CONNECTIONS = 50  # to PostgreSQL, of whose usual 100 the worker and the watcher need some
MESSAGE_LIMIT = 1024 * 1024  # bytes of one websocket message

SERVER: dict[str, Any] = {
    "http": BoundedHeads,
    "ws": FairWebSocket,
    "ws_max_size": MESSAGE_LIMIT,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "proxy_headers": False,
    "server_header": False,
    "lifespan": "off",
    "access_log": False,  # a query string may hold what no log should
    "timeout_graceful_shutdown": 5,
    "log_config": None,  # Django's logging, one JSON object a line
}


def use_all_descriptors() -> None:
    """Have as many open connections as the system allows: the usual 1024 are 500 consoles, or a stranger's idle sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share_connections() -> None:
    """Have the settings ask for a pool of connections to the database: each request runs in a thread of its own.

    A connection that a thread kept would be of no use to the next request, and stay open for as long as nobody tidies up.
    """
    os.environ["DATABASE_POOL"] = str(MOST_CONNECTIONS)


def keep_bodies_with_the_data() -> None:
    """Have bodies that are too large for memory written into the data folder: ``/tmp`` is small, or memory, on many machines.

    Not where the operator names another (``TMPDIR``). What a killed server left goes; whoever still reads one has it open.
    """
    if os.environ.get("TMPDIR"):
        return
    folder = Path(settings.DATA_DIR) / "tmp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.upload*"):
        left.unlink(missing_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def main() -> None:
    """Serve until told to stop."""
    use_all_descriptors()
    share_connections()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.dev")
    keep_bodies_with_the_data()
    parser = argparse.ArgumentParser(prog="python -m portal.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--certificate", help="TLS: the certificate chain, a PEM file")
    parser.add_argument("--key", help="TLS: its key, a PEM file")
    options = parser.parse_args()
    uvicorn.run(
        "portal.asgi:application",
        host=options.host,
        port=options.port,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        **SERVER,
    )


if __name__ == "__main__":
    main()
