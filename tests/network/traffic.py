"""What crosses a network card, seen at the host's end of it: before the filter on the way in, behind it on the way out."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType

ETH_P_ALL = 3  # linux/if_ether.h
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
UDP = 17


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame. ``from_guest``: the machine sent it, which is not to say that it went any further."""

    from_guest: bool
    source_mac: str
    kind: int
    source_ip: str
    target_ip: str
    source_port: int
    payload: bytes

    @classmethod
    def read(cls, raw: bytes, *, from_guest: bool) -> Frame:
        """Of ARP the addresses are the sender's and the one asked for."""
        kind, body = struct.unpack("!H", raw[12:14])[0], raw[14:]
        source = target = ""
        port = 0
        if kind == IPV4:
            source, target = _ip(body[12:16]), _ip(body[16:20])
            if body[9] == UDP:
                port = struct.unpack("!H", body[(body[0] & 15) * 4 :][:2])[0]
        elif kind == ARP:
            source, target = _ip(body[14:18]), _ip(body[24:28])
        return cls(from_guest, raw[6:12].hex(":"), kind, source, target, port, body)


Which = Callable[[Frame], bool]


def _ip(packed: bytes) -> str:
    return str(IPv4Address(packed))


class Sniffer:
    """Writes down all that crosses a card while it is entered."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((device, 0))
        self._socket.settimeout(0.2)
        self._frames: list[Frame] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Sniffer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=5)
        self._socket.close()

    def sent(self, *, where: Which = lambda _: True) -> list[Frame]:
        """What the machine sent."""
        return [frame for frame in list(self._frames) if frame.from_guest and where(frame)]

    def received(self, *, where: Which = lambda _: True) -> list[Frame]:
        """What was let through to the machine."""
        return [frame for frame in list(self._frames) if not frame.from_guest and where(frame)]

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                raw, (_device, _protocol, kind, *_rest) = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            # To the host a frame that it sends to the machine is outgoing.
            self._frames.append(Frame.read(raw, from_guest=kind != socket.PACKET_OUTGOING))
