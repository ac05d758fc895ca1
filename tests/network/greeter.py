"""A service that greets whoever comes, by TCP and UDP on every address, and writes down who came.

usage: python greeter.py PORT   (a line for each visit on standard output: "tcp FROM TO WORDS")
"""

from __future__ import annotations

import selectors
import socket
import sys

GREETING = b"hello from the greeter\n"
IP_PKTINFO = 8  # linux/in.h: tells to which address a datagram was sent


def main(port: int) -> None:
    tcp = socket.create_server(("0.0.0.0", port))  # noqa: S104 - every address of the lab's own network
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    udp.bind(("0.0.0.0", port))  # noqa: S104
    chosen = selectors.DefaultSelector()
    chosen.register(tcp, selectors.EVENT_READ, _greet_stream)
    chosen.register(udp, selectors.EVENT_READ, _greet_datagram)
    print("ready", flush=True)
    while True:
        for key, _ in chosen.select():
            key.data(key.fileobj)


def _greet_stream(server: socket.socket) -> None:
    visitor, (address, _port) = server.accept()
    with visitor:
        print("tcp", address, visitor.getsockname()[0], flush=True)
        visitor.sendall(GREETING)


def _greet_datagram(server: socket.socket) -> None:
    words, notes, _flags, visitor = server.recvmsg(2048, 256)
    to = next((socket.inet_ntoa(data[8:12]) for _level, kind, data in notes if kind == IP_PKTINFO), "")
    print("udp", visitor[0], to, words.decode("latin-1").replace("\0", " ").strip(), flush=True)
    server.sendto(GREETING, visitor)


if __name__ == "__main__":
    main(int(sys.argv[1]))
