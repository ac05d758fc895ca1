"""Redis of Debian's package, keeping nothing on disk, on a port of loopback and a unix socket of its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tests.lab.servers import Server, free_port, new_folder


class RedisServer(Server):
    name = "redis"

    def __init__(self) -> None:
        super().__init__(new_folder("redis"))
        self.port = free_port()
        self.socket = self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """For REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        nothing_kept = ["--save", "", "--appendonly", "no"]
        where = [
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.folder),
        ]
        return ["/usr/bin/redis-server", *where, *nothing_kept, "--daemonize", "no"]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as handle:
                handle.sendall(b"PING\r\n")
                return handle.recv(16).startswith(b"+PONG")
        except OSError:
            return False
