"""The way to a directory's server, when the server is a hostile one."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest

from tenants.directory.channel import Channel
from tenants.directory.errors import DirectoryDown, Step


def drip(listener: socket.socket) -> None:
    """Answer with a byte now and then, each within the time that a single one may take; then end."""
    server, _address = listener.accept()
    with server, suppress(OSError):
        server.recv(100)
        server.sendall(b"\x30\x82\x0f\xa0")
        for _ in range(150):
            server.sendall(b"\x00")
            time.sleep(0.02)


def test_an_answer_that_comes_byte_by_byte_is_given_up_when_the_time_is_over():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        with pytest.raises(DirectoryDown) as raised:
            Channel(f"ldap://127.0.0.1:{listener.getsockname()[1]}", starts_tls=True, ca_pem="", seconds=0.3)
        thread.join()
    assert (raised.value.step, raised.value.code) == (Step.TLS, "silent")
