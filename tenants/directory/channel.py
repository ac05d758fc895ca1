"""The way to a directory's server: TCP and TLS by Python, and a socket on which libldap finds plain LDAP.

libldap's own TLS (2.5 with GnuTLS) ignores its time-outs in the handshake: with a server that accepts and is silent it spins
for ever, in C, where nothing can end it. So the handshake is Python's, bounded, with its own trust for each connection,
and a thread carries bytes between it and libldap, until both are done or the time is up. Nothing is ever sent to a server
before its certificate was checked, but for the request to start TLS.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

from tenants.directory.errors import DirectoryDown, Step

PORTS = {"ldap": 389, "ldaps": 636}
CHUNK = 65536
# ExtendedRequest of StartTLS (RFC 4511, 4.14.1), message 1, in BER; and the tag of its answer.
START_TLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
EXTENDED_RESPONSE = 0x78
LONGEST_ANSWER = 4096


class Channel:
    """A server's TLS connection. ``end`` is what libldap speaks on; when it is closed all ends."""

    def __init__(self, url: str, *, starts_tls: bool, ca_pem: str, seconds: float) -> None:
        """Connects within so many seconds. Raises ``DirectoryDown`` naming the step that failed."""
        parts = urlsplit(url)
        # The port was read where the address was stored: a wrong one raises ``ValueError`` there.
        if parts.scheme.lower() != ("ldap" if starts_tls else "ldaps") or not parts.hostname:
            raise DirectoryDown(Step.TLS, "address_without_tls")
        self._until = time.monotonic() + seconds
        plain = _connected(parts.hostname, parts.port or PORTS[parts.scheme.lower()], seconds)
        try:
            if starts_tls:
                self._start_tls(plain)
            self._server = self._secured(plain, parts.hostname, ca_pem)
        except BaseException:
            plain.close()
            raise
        self._server.settimeout(None)
        self.end, self._near = socket.socketpair()

    def carry(self, seconds: float) -> None:
        """Begin to carry bytes, for at most so many seconds, on a thread of its own."""
        carrier = _Carrier(self._server, self._near, time.monotonic() + seconds)
        threading.Thread(target=carrier.run, name="directory", daemon=True).start()

    def _left(self) -> float:
        """Seconds left. Raises ``TimeoutError`` when there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _start_tls(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(self._left())
            plain.sendall(START_TLS)
            answer = self._message(plain)
        except TimeoutError as error:
            raise DirectoryDown(Step.TLS, "silent") from error
        except OSError as error:
            raise DirectoryDown(Step.TLS, "starttls_refused") from error
        if not _is_success(answer):
            raise DirectoryDown(Step.TLS, "starttls_refused")

    def _message(self, plain: socket.socket) -> bytes:
        """One LDAP message: its length stands in its second byte, or in as many after it as that says."""
        head = self._exactly(plain, 2)
        length = head[1]
        if length & 0x80:
            length = int.from_bytes(self._exactly(plain, length & 0x7F), "big")
        if head[0] != 0x30 or length > LONGEST_ANSWER:
            raise OSError("no LDAP")
        return self._exactly(plain, length)

    def _exactly(self, plain: socket.socket, length: int) -> bytes:
        """So many bytes, however they come: all of them in the time that is left, not each."""
        found = b""
        while len(found) < length:
            plain.settimeout(self._left())
            more = plain.recv(length - len(found))
            if not more:
                raise ConnectionError("the server ended")
            found += more
        return found

    def _secured(self, plain: socket.socket, host: str, ca_pem: str) -> ssl.SSLSocket:
        try:
            context = ssl.create_default_context(cadata=ca_pem or None)
        except (ssl.SSLError, ValueError) as error:
            raise DirectoryDown(Step.CERTIFICATE, "ca_unreadable") from error
        try:
            plain.settimeout(self._left())
            return context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise DirectoryDown(Step.CERTIFICATE, _verdict(error)) from error
        except TimeoutError as error:
            raise DirectoryDown(Step.TLS, "silent") from error
        except OSError as error:
            raise DirectoryDown(Step.TLS, "no_tls") from error


class _Carrier:
    """Bytes both ways until one side ends or the time is up; then both are closed."""

    def __init__(self, server: ssl.SSLSocket, near: socket.socket, until: float) -> None:
        self._server, self._near, self._until = server, near, until

    def run(self) -> None:
        with suppress(OSError), selectors.DefaultSelector() as ready:
            self._server.settimeout(0)
            ready.register(self._server, selectors.EVENT_READ)
            ready.register(self._near, selectors.EVENT_READ)
            while (left := self._until - time.monotonic()) > 0:
                found = {key.fileobj for key, _events in ready.select(left)}
                if self._server in found and not self._from_server(left):
                    break
                if self._near in found and not self._to_server(left):
                    break
        for one in (self._near, self._server):
            with suppress(OSError):
                one.close()

    def _from_server(self, left: float) -> bool:
        """All that has come, also what TLS has already decrypted; False when the server has ended."""
        self._near.settimeout(left)
        while True:
            try:
                data = self._server.recv(CHUNK)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data:
                return False
            self._near.sendall(data)

    def _to_server(self, left: float) -> bool:
        data = self._near.recv(CHUNK)
        if not data:
            return False
        self._server.settimeout(left)
        self._server.sendall(data)
        self._server.settimeout(0)
        return True


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    try:
        found = socket.create_connection((host, port), timeout=seconds)
    except socket.gaierror as error:
        raise DirectoryDown(Step.NAME, "name_unknown") from error
    except TimeoutError as error:
        raise DirectoryDown(Step.PORT, "silent") from error
    except OSError as error:
        raise DirectoryDown(Step.PORT, "refused") from error
    # Each of a log-in's small questions would wait for the answer to the one before to be acknowledged (40 ms on Linux).
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def _is_success(answer: bytes) -> bool:
    """Whether this is an ExtendedResponse to message 1 whose result code is 0."""
    if answer[:3] != b"\x02\x01\x01" or len(answer) < 5 or answer[3] != EXTENDED_RESPONSE:
        return False
    body = answer[5 + (answer[4] & 0x7F if answer[4] & 0x80 else 0) :]
    return body[:3] == b"\x0a\x01\x00"


def _verdict(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate (X509_V_ERR_... of OpenSSL)."""
    if error.verify_code in {62, 64}:
        return "wrong_name"
    return "expired" if error.verify_code in {9, 10} else "not_trusted"
