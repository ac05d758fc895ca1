"""What stands between here and a libvirt may say anything, in any bytes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from portal.hypervisors.libvirt import way
from portal.hypervisors.libvirt.host_keys import host_keys
from portal.hypervisors.libvirt.uri import SSH, Uri
from portal.hypervisors.specs import Connection
from tests.compute.console.certificates import Authority

pytestmark = pytest.mark.once

HERE = "127.0.0.1"


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which each that comes is answered so."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                taken = server.accept()[0]
                with taken, suppress(OSError):
                    answer(taken)

    with socket.create_server((HERE, 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_greeting_that_is_no_text_is_no_key() -> None:
    with serving(lambda taken: taken.sendall(b"SSH-2.0-\xff\r\n")) as number:
        assert host_keys(Uri(SSH, "root", HERE, number)) == ()


def test_a_ca_with_words_of_any_language_around_it_is_taken(tmp_path: Path) -> None:
    authority = Authority.make("ca")
    certificate, key = authority.leaf(HERE)
    (tmp_path / "both.pem").write_text(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both.pem")

    def welcome(taken: socket.socket) -> None:
        with context.wrap_socket(taken, server_side=True) as secured:
            secured.sendall(way.WELCOME)

    with serving(welcome) as number:
        far = Connection(
            "libvirt",
            f"qemu+tls://{HERE}:{number}/system",
            uuid4(),
            uuid4(),
            ca_pem=f"Η αρχή πιστοποίησης του ιδρύματος\n{authority.pem}",
            secrets={"client_certificate": certificate, "client_key": key},
        )
        look = next(probe.look for probe in way.probes(far) if probe.step == "tls")
        assert look().code == ""
