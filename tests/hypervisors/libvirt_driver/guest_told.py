"""What a guest that does not do what it should can be asked, for the message of the failed test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from portal.hypervisors.specs import VmRef
from tests.hypervisors.contract.things import eventually
from tests.lab.libvirt_server import LibvirtServer

ASKED = b"\nip address; cat /proc/uptime /proc/loadavg; dmesg | tail -n 25\n"
LISTEN_SECONDS = 8.0


def guest_comes_to(libvirtd: LibvirtServer, ref: VmRef, true: Callable[[], Any], what: str) -> None:
    """As ``eventually``; where it does not, the failure says how the machine is and what its serial console answers."""
    try:
        eventually(true, what)
    except AssertionError as error:
        error.add_note("\n".join(_told(libvirtd, ref)))
        raise


def _told(libvirtd: LibvirtServer, ref: VmRef) -> Iterator[str]:
    uid = str(ref.uid)
    for asked in (
        ("domstate", uid, "--reason"),
        ("domstats", "--interface", "--vcpu", "--block", uid),
        ("domifaddr", uid, "--source", "lease"),
    ):
        done = libvirtd.virsh(*asked, check=False)
        yield f"{' '.join(asked)}: {done.stdout}{done.stderr}"
    yield "its serial console:"
    try:
        yield _typed(libvirtd.uri, ref).decode(errors="replace")
    except libvirt.libvirtError as error:
        yield str(error)


def _typed(uri: str, ref: VmRef) -> bytes:
    """What comes after our question was typed at its serial console."""
    with _stream(uri, ref) as stream:
        stream.send(ASKED)
        heard, until = b"", time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < until:
            piece = stream.recv(4096)
            if isinstance(piece, bytes):
                heard += piece
            else:
                time.sleep(0.1)  # nothing just now
    return heard


@contextmanager
def _stream(uri: str, ref: VmRef) -> Iterator[Any]:
    connection = libvirt.open(uri)
    try:
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        machine = connection.lookupByUUIDString(str(ref.uid))
        machine.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        yield stream
        stream.abort()
    finally:
        connection.close()
