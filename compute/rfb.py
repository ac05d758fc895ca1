"""The security handshakes of RFB (RFC 6143), towards a provider and towards a browser, as pure generators.

A handshake yields what it needs (``Send``, ``Read``, ``Secure``) and is sent what it read; it knows no socket and no
clock, so whoever drives it bounds its time. Nothing after the handshake is looked at: a guest's frames are not parsed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from portal.hypervisors.specs import ConsoleTarget

VERSION_LENGTH = 12
CHALLENGE_LENGTH = 16
REASON_LIMIT = 512  # bytes of a provider's reason that we read; the rest goes down with the connection


class SecurityType(IntEnum):
    """Security types of RFC 6143, 7.1.2 and VeNCrypt's sub-types that carry an X.509 certificate.

    VeNCrypt's TLSNone and TLSVnc are left out: anonymous Diffie-Hellman lets anybody stand in the middle.
    """

    NONE = 1
    VNC = 2
    VENCRYPT = 19
    X509_NONE = 260
    X509_VNC = 261


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes to the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Answer with exactly so many bytes of the peer."""

    count: int


@dataclass(frozen=True, slots=True)
class Secure:
    """Go on inside TLS: check the peer's certificate, then answer with nothing."""


Handshake = Generator[Send | Read | Secure, bytes, None]


class RfbError(Exception):
    """A handshake ended in a refusal, by us or by the peer. ``code`` is stable, ``detail`` is for the log alone."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}" if detail else code)


def enter(target: ConsoleTarget) -> Handshake:
    """Be the client of a provider's VNC server, up to and with its consent to our credentials.

    Raises ``RfbError``: ``protocol`` (not RFB, or out of turn), ``refused`` (the server said why), ``security`` (no
    way in that the target allows), ``plain_refused``, ``empty_password``, ``denied`` (password not accepted).
    """
    minor = _server_minor((yield Read(VERSION_LENGTH)))
    yield Send(b"RFB 003.%03d\n" % minor)
    offered = yield from (_offered_old() if minor < 7 else _offered())
    chosen = choose(offered, target)
    if minor >= 7:
        yield Send(bytes([chosen]))
    if chosen == SecurityType.VENCRYPT:
        yield from _vencrypt(target, minor=minor)
    elif chosen == SecurityType.VNC:
        yield from _answer_challenge(target, minor=minor)
    elif minor >= 8:  # 3.3 and 3.7 send no result for None
        yield from _expect_result(minor=minor)


def admit() -> Handshake:
    """Be the server of a browser, which holds a ticket already: offer None and nothing else, accept.

    Raises ``RfbError`` with ``client_protocol`` when the client is no RFB client or wants another security type.
    """
    yield Send(b"RFB 003.008\n")
    minor = _client_minor((yield Read(VERSION_LENGTH)))
    if minor < 7:
        yield Send(struct.pack(">I", SecurityType.NONE))  # 3.3: the server decides, and sends no result
        return
    yield Send(bytes([1, SecurityType.NONE]))
    if (yield Read(1)) != bytes([SecurityType.NONE]):
        raise RfbError("client_protocol", "a security type that was not offered")
    if minor >= 8:
        yield Send(struct.pack(">I", 0))


def choose(offered: frozenset[int], target: ConsoleTarget) -> SecurityType:
    """The security type to enter by.

    With a CA it is TLS or nothing. A target that has a password never settles for None: the port may have passed to
    another machine meanwhile, and only that machine's own password tells them apart.
    """
    if target.tls_ca_pem:
        if SecurityType.VENCRYPT not in offered:
            raise RfbError("security", f"TLS is required, offered: {sorted(offered)}")
        return SecurityType.VENCRYPT
    if not target.allow_plain:
        raise RfbError("plain_refused", "no CA is known, and plain VNC is not allowed for this target")
    return _credential(offered, target, none=SecurityType.NONE, vnc=SecurityType.VNC)


def _credential(
    offered: frozenset[int], target: ConsoleTarget, *, none: SecurityType, vnc: SecurityType
) -> SecurityType:
    if target.password and vnc in offered:
        return vnc
    if not target.password and none in offered:
        return none
    if not target.password and vnc in offered:
        raise RfbError("empty_password", "the server wants a password and the target has none")
    raise RfbError("security", f"no acceptable security type among {sorted(offered)}")


def _offered() -> Generator[Read, bytes, frozenset[int]]:
    count = (yield Read(1))[0]
    if not count:
        raise RfbError("refused", (yield from _reason()))
    return frozenset((yield Read(count)))


def _offered_old() -> Generator[Read, bytes, frozenset[int]]:
    (kind,) = struct.unpack(">I", (yield Read(4)))
    if not kind:
        raise RfbError("refused", (yield from _reason()))
    return frozenset([kind])


def _vencrypt(target: ConsoleTarget, *, minor: int) -> Handshake:
    if (yield Read(2)) != b"\x00\x02":
        raise RfbError("security", "VeNCrypt in another version than 0.2")
    yield Send(b"\x00\x02")
    if (yield Read(1)) != b"\x00":
        raise RfbError("protocol", "VeNCrypt 0.2 was offered and then refused")
    count = (yield Read(1))[0]
    offered = frozenset(struct.unpack(f">{count}I", (yield Read(4 * count)))) if count else frozenset()
    chosen = _credential(offered, target, none=SecurityType.X509_NONE, vnc=SecurityType.X509_VNC)
    yield Send(struct.pack(">I", chosen))
    if (yield Read(1)) != b"\x01":
        raise RfbError("protocol", "the VeNCrypt sub-type was offered and then refused")
    yield Secure()
    if chosen == SecurityType.X509_VNC:
        yield from _answer_challenge(target, minor=minor)
    else:
        yield from _expect_result(minor=minor)


def _answer_challenge(target: ConsoleTarget, *, minor: int) -> Handshake:
    challenge = yield Read(CHALLENGE_LENGTH)
    yield Send(answer(challenge, target.password))
    yield from _expect_result(minor=minor)


def _expect_result(*, minor: int) -> Handshake:
    (result,) = struct.unpack(">I", (yield Read(4)))
    if result:
        raise RfbError("denied", (yield from _reason()) if minor >= 8 else f"result {result}")


def _reason() -> Generator[Read, bytes, str]:
    (length,) = struct.unpack(">I", (yield Read(4)))
    count = min(length, REASON_LIMIT)
    return _printable((yield Read(count))) if count else ""


def answer(challenge: bytes, password: str) -> bytes:
    """The answer to a VNC challenge: DES with the password's first 8 bytes as key, the bits of each reversed.

    Three equal keys make triple DES the single DES that the protocol wants. Raises ``RfbError`` (``empty_password``)
    rather than answer with a key that everybody knows.
    """
    secret = password.encode()[:8]
    if not secret.strip(b"\0"):
        raise RfbError("empty_password", "an empty display password is never sent")
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in secret.ljust(8, b"\0"))
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 - what the protocol wants
    return encryptor.update(challenge) + encryptor.finalize()


def _version(greeting: bytes) -> tuple[int, int] | None:
    match = re.fullmatch(rb"RFB (\d{3})\.(\d{3})\n", greeting)
    return (int(match[1]), int(match[2])) if match else None


def _server_minor(greeting: bytes) -> int:
    version = _version(greeting)
    if version is None or version < (3, 3):
        raise RfbError("protocol", f"not an RFB server: {_printable(greeting)}")
    return _known_minor(version)


def _client_minor(greeting: bytes) -> int:
    """We offer 3.8, so a client may not claim more; unknown versions below count as 3.3 (RFC 6143, 7.1.1)."""
    version = _version(greeting)
    if version is None or not (3, 3) <= version <= (3, 8):
        raise RfbError("client_protocol", f"not a version we offered: {_printable(greeting)}")
    return _known_minor(version)


def _known_minor(version: tuple[int, int]) -> int:
    if version >= (3, 8):
        return 8
    return 7 if version == (3, 7) else 3


def _printable(data: bytes) -> str:
    return re.sub(r"[^ -~]", "?", data.decode("latin-1"))
