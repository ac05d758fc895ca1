"""A directory's server that takes any log-in and answers each search with what a test says, however broken."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.compute.console.certificates import Authority

ADDRESS = "127.0.0.1"
BIND_ANSWER, ENTRY, DONE = 0x61, 0x64, 0x65
CONTROLS = 0xA0
PAGED = b"1.2.840.113556.1.4.319"

Answer = Callable[[bytes], bytes]  # of the request's number, as it stands in the message


def ber(tag: int, *parts: bytes) -> bytes:
    """A value as BER has it."""
    body = b"".join(parts)
    length = len(body)
    return bytes([tag, length] if length < 0x80 else [tag, 0x82, *length.to_bytes(2, "big")]) + body


def result(tag: int, *, code: int = 0, told: bytes = b"") -> bytes:
    """The end of what was asked, with a message for people."""
    return ber(tag, ber(0x0A, bytes([code])), ber(0x04), ber(0x04, told))


def entry(dn: bytes, **attributes: list[bytes]) -> bytes:
    """An entry that was found."""
    told = [
        ber(0x30, ber(0x04, name.encode()), ber(0x31, *(ber(0x04, value) for value in values)))
        for name, values in attributes.items()
    ]
    return ber(ENTRY, ber(0x04, dn), ber(0x30, *told))


def found(*entries: bytes, controls: bytes = b"") -> Answer:
    """These entries and the end, with controls."""
    return lambda number: b"".join(
        [*(ber(0x30, number, one) for one in entries), ber(0x30, number, result(DONE), controls)]
    )


def page_of(value: bytes) -> bytes:
    """The control that says whether there are more pages."""
    return ber(CONTROLS, ber(0x30, ber(0x04, PAGED), ber(0x04, value)))


class BrokenServer:
    """``answer``: to each search; ``bound``: to each log-in."""

    def __init__(self, authority: Authority, port: int) -> None:
        self.ca_pem, self.ldaps_url = authority.pem, f"ldaps://{ADDRESS}:{port}"
        self.answer: Answer = found()
        self.bound: Answer = lambda number: ber(0x30, number, result(BIND_ANSWER))

    def talk(self, end: ssl.SSLSocket) -> None:
        """Until the other side ends."""
        with end, suppress(OSError):
            while (head := end.recv(2)) and head[0] == 0x30:
                length = head[1]
                if length & 0x80:
                    length = int.from_bytes(end.recv(length & 0x7F), "big")
                body = end.recv(length)
                number, asked = body[: 2 + body[1]], body[2 + body[1]]
                if asked in {0x60, 0x63}:
                    end.sendall((self.bound if asked == 0x60 else self.answer)(number))


@contextmanager
def broken_server(folder: Path) -> Iterator[BrokenServer]:
    """One of it, for as long as the block."""
    authority, pair = Authority.make("broken"), folder / "broken.pem"
    pair.write_text("".join(authority.leaf(ADDRESS)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with socket.create_server((ADDRESS, 0)) as listener:
        server = BrokenServer(authority, listener.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    end, _address = listener.accept()
                    with suppress(OSError):
                        server.talk(context.wrap_socket(end, server_side=True))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
