"""A card on a bridge that no machine of the portal has: it asks for an address, in any card's name."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address

DISCOVER = bytes((53, 1, 1, 255))  # RFC 2132: what kind of message this is, and the end
MAGIC = bytes((99, 130, 83, 99))
FLAG_BROADCAST = 0x8000
SECONDS = 10.0


def offers_on(bridge: str, *macs: str) -> dict[str, set[str]]:
    """The addresses that DHCP servers on a bridge offer to cards of these addresses.

    They ask in this order, and it ends with the answer to the last: a server answers one after the other.
    """
    for command in (
        "link add stranger0 type veth peer name stranger1",
        f"link set stranger0 master {bridge} up",
        "link set stranger1 up",
    ):
        subprocess.run(["ip", *command.split()], check=True, timeout=20)
    try:
        return _ask(macs)
    finally:
        subprocess.run(["ip", "link", "delete", "stranger0"], check=True, timeout=20)


def _ask(macs: Sequence[str]) -> dict[str, set[str]]:
    offered: dict[str, set[str]] = {mac: set() for mac in macs}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as wire:
        wire.bind(("stranger1", 0))
        wire.settimeout(SECONDS)
        for mac in macs:
            wire.send(_frame(bytes.fromhex(mac.replace(":", ""))))
        while not offered[macs[-1]]:
            raw = wire.recv(2048)
            card = raw[70:76].hex(":")
            if raw[23] == 17 and raw[34:38] == bytes((0, 67, 0, 68)) and card in offered:
                offered[card].add(str(IPv4Address(raw[58:62])))
    return offered


def _frame(card: bytes) -> bytes:
    """Ethernet, IP, UDP and DHCP, as they lie on the wire."""
    zero = bytes(4)
    dhcp = struct.pack("!4BIHH", 1, 1, 6, 0, 0x57E61, 0, FLAG_BROADCAST) + zero * 4 + card.ljust(16, b"\0") + bytes(192)
    dhcp += MAGIC + DISCOVER
    udp = struct.pack("!4H", 68, 67, 8 + len(dhcp), 0) + dhcp
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, zero, b"\xff" * 4)
    ip = header[:10] + _checksum(header) + header[12:] + udp
    return b"\xff" * 6 + card + b"\x08\x00" + ip


def _checksum(header: bytes) -> bytes:
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
