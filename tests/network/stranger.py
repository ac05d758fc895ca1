"""A card on a bridge that no machine of the portal has: it asks for an address, in any card's name."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

# RFC 2131 and 2132: kinds of message, and the options that tell them.
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
WANTED, KIND, SERVER, END = 50, 53, 54, 255
MAGIC = bytes((99, 130, 83, 99))
FLAG_BROADCAST = 0x8000
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a DHCP server says to a card."""

    card: str
    address: str
    kind: int
    server: bytes


class Wire:
    """A cable that is plugged into a bridge."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.bind((device, 0))
        self._socket.settimeout(SECONDS)

    def ask(self, mac: str, kind: int, **options: bytes) -> None:
        """Send a message of a card."""
        numbers = {"wanted": WANTED, "server": SERVER}
        wanted = b"".join(bytes((numbers[name], len(value))) + value for name, value in options.items())
        self._socket.send(_frame(bytes.fromhex(mac.replace(":", "")), bytes((KIND, 1, kind)) + wanted))

    def answers(self, kind: int) -> Iterator[Answer]:
        """What servers say, as long as they say something."""
        while True:
            raw = self._socket.recv(2048)
            if raw[23] == 17 and raw[34:38] == bytes((0, 67, 0, 68)):
                options = _options(raw[282:])
                answer = Answer(
                    raw[70:76].hex(":"), str(IPv4Address(raw[58:62])), options[KIND][0], options.get(SERVER, b"")
                )
                if answer.kind == kind:
                    yield answer

    def close(self) -> None:
        self._socket.close()


@contextmanager
def plugged_into(bridge: str) -> Iterator[Wire]:
    """A cable to a bridge, for as long as the block lasts."""
    for command in (
        "link add stranger0 type veth peer name stranger1",
        f"link set stranger0 master {bridge} up",
        "link set stranger1 up",
    ):
        subprocess.run(["ip", *command.split()], check=True, timeout=20)
    wire = Wire("stranger1")
    try:
        yield wire
    finally:
        wire.close()
        subprocess.run(["ip", "link", "delete", "stranger0"], check=True, timeout=20)


def offers_on(bridge: str, *macs: str) -> dict[str, set[str]]:
    """The addresses that DHCP servers on a bridge offer to cards of these addresses.

    They ask in this order, and it ends with the answer to the last: a server answers one after the other.
    """
    offered: dict[str, set[str]] = {mac: set() for mac in macs}
    with plugged_into(bridge) as wire:
        for mac in macs:
            wire.ask(mac, DISCOVER)
        for answer in wire.answers(OFFER):
            if answer.card in offered:
                offered[answer.card].add(answer.address)
            if answer.card == macs[-1]:
                return offered
    raise AssertionError("unreachable: the wire times out")


def borrow(bridge: str, mac: str) -> str:
    """The address that a card of this address borrows on a bridge, as a machine does when it starts."""
    with plugged_into(bridge) as wire:
        wire.ask(mac, DISCOVER)
        offer = next(answer for answer in wire.answers(OFFER) if answer.card == mac)
        wire.ask(mac, REQUEST, wanted=IPv4Address(offer.address).packed, server=offer.server)
        return next(answer for answer in wire.answers(ACK) if answer.card == mac).address


def _options(text: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while text and text[0] != END:
        found[text[0]], text = text[2 : 2 + text[1]], text[2 + text[1] :]
    return found


def _frame(card: bytes, options: bytes) -> bytes:
    """Ethernet, IP, UDP and DHCP, as they lie on the wire."""
    zero = bytes(4)
    dhcp = struct.pack("!4BIHH", 1, 1, 6, 0, 0x57E61, 0, FLAG_BROADCAST) + zero * 4 + card.ljust(16, b"\0") + bytes(192)
    dhcp += MAGIC + options + bytes((END,))
    udp = struct.pack("!4H", 68, 67, 8 + len(dhcp), 0) + dhcp
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, zero, b"\xff" * 4)
    ip = header[:10] + _checksum(header) + header[12:] + udp
    return b"\xff" * 6 + card + b"\x08\x00" + ip


def _checksum(header: bytes) -> bytes:
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
