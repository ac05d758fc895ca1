"""A machine's screen without a machine: a VNC server that takes any password, says its canary and echoes."""

from __future__ import annotations

import contextlib
import socket
import threading


class Screen:
    """``visits`` counts connections that were let in; ``connections`` every one that was tried."""

    def __init__(self, canary: bytes) -> None:
        self.canary = canary
        self.connections = 0
        self.visits = 0
        self.open = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._links: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the accept under way keeps it open
        self._listener.close()
        self.switch_off()

    def switch_off(self) -> None:
        """Hang up on everybody, as a machine does that stops."""
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        self._links.add(link)
        try:
            for said, heard in ((b"RFB 003.008\n", 12), (b"\x01\x02", 1), (b"c" * 16, 16), (b"\0\0\0\0", 1)):
                link.sendall(said)
                _exactly(link, heard)
            self.visits += 1
            self.open += 1
            try:
                link.sendall(self.canary)
                while data := link.recv(65536):
                    link.sendall(data)
            finally:
                self.open -= 1
        except OSError:
            pass
        finally:
            self._links.discard(link)
            link.close()


def _exactly(link: socket.socket, count: int) -> None:
    while count:
        got = len(link.recv(count))
        if not got:
            raise ConnectionResetError
        count -= got
