"""What else a host needs to be a good one: a name that leads there and back, a right clock, the ports it is used by.

Looked at while it works already. What cannot be seen from here is told as not known, never as good.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import IO, cast

from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.libvirt.transport import SETTINGS, known_host, private_folder, write_private
from portal.hypervisors.libvirt.uri import SSH, TCP, TLS, Uri, parsed
from portal.hypervisors.reaching import SECONDS, addresses_of, name_back, skew
from portal.hypervisors.specs import Connection

CLOCK_SECONDS = 20
PLAIN_PORT = 16509
LONGEST_ANSWER = 8000
MOST_NEIGHBOURS = 30
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
ALL_ASKED = "all.asked."
CLOCK = re.compile(r"[0-9]{9,11}(\.[0-9]+)?")


def probes(connection: Connection, neighbours: tuple[str, ...] = ()) -> tuple[Probe, ...]:
    """The looks for this address; none for one that is not taken. ``neighbours``: names that it must be able to resolve."""
    uri = parsed(connection.address)
    if isinstance(uri, str):
        return ()
    host = uri.host or socket.gethostname()
    around = (
        (Probe("neighbours", lambda: _neighbours(uri, connection, neighbours), CLOCK_SECONDS + 5.0),)
        if neighbours
        else ()
    )
    return (
        Probe("name_back", lambda: name_back(host), 15.0),
        Probe("clock", lambda: _clock(uri, connection), CLOCK_SECONDS + 5.0),
        Probe("plain_port", lambda: _plain_port(uri)),
        Probe("screens", lambda: _screens(uri)),
        *around,
    )


def _clock(uri: Uri, connection: Connection) -> Finding:
    """Libvirt tells no host's time: over SSH the host itself is asked, and a local one has ours."""
    if not uri.host:
        return Finding("clock", data={"skew_seconds": "0"})
    if uri.scheme != SSH:
        return Finding("clock", "clock_unknown")
    before = time.time()
    answer = _told_there(uri, connection, "date +%s.%N")
    after = time.time()
    # A small system's ``date`` knows no fractions, and says so within its answer.
    found = CLOCK.match(answer or "")
    told = float(found[0]) if found else None
    if told is None:
        return Finding("clock", "clock_not_told")
    return Finding("clock", data={"skew_seconds": f"{skew(told, before=before, after=after):.0f}"})


def _neighbours(uri: Uri, connection: Connection, names: tuple[str, ...]) -> Finding:
    """Whether it resolves the names of the other hosts, which it needs when a machine moves between them."""
    data = {"names": ", ".join(names)}
    known = _known_here(names) if not uri.host else _known_there(uri, connection, names)
    if known is None:
        return Finding("neighbours", "neighbours_unknown", data)
    lacking = [name for name in names if name not in known]
    if lacking:
        return Finding("neighbours", "neighbours_lacking", {"names": ", ".join(lacking)}, is_warning=True)
    return Finding("neighbours", data=data)


def _known_here(names: tuple[str, ...]) -> set[str]:
    return {name for name in names if addresses_of(name)}


def _known_there(uri: Uri, connection: Connection, names: tuple[str, ...]) -> set[str] | None:
    """By its own name service. The names are other hosts' own words: only such are asked for that a shell takes as they are."""
    if uri.scheme != SSH:
        return None
    plain = [name for name in names if HOST_NAME.fullmatch(name)][:MOST_NEIGHBOURS]
    asked = f"for n in {' '.join(plain)}; do getent hosts $n >/dev/null && echo $n; done; echo {ALL_ASKED}"
    answer = _told_there(uri, connection, f"command -v getent >/dev/null || exit 1; {asked}") if plain else None
    told = set((answer or "").split())
    return told if ALL_ASKED in told else None


def _told_there(uri: Uri, connection: Connection, command: str) -> str | None:
    """What a command says on the host; None when it could not be run, failed, did not end, or said more than any would."""
    with private_folder() as keys:
        write_private(keys / "known_hosts", known_host(uri, connection.secrets.get("host_key", "")))
        config = write_private(keys / "ssh_config", SETTINGS.format(folder=keys))
        key = write_private(keys / "key", connection.secrets.get("ssh_key", ""))
        call = ["ssh", "-F", config, "-i", key, "-p", str(uri.port), "--", f"{uri.user}@{uri.host}", command]
        try:
            said = _said(call)
        except (OSError, subprocess.TimeoutExpired):
            return None
    return None if said is None else said.decode(errors="replace")


def _said(call: Sequence[str]) -> bytes | None:
    """The far side may talk without end: no more is kept of it than the longest answer, and it is not heard for longer."""
    until = time.monotonic() + CLOCK_SECONDS
    quiet = subprocess.DEVNULL
    with subprocess.Popen(call, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet) as program:
        try:
            said = _read(cast("IO[bytes]", program.stdout), until)
            has_ended = said is not None and program.wait(max(0.0, until - time.monotonic())) == 0
        finally:
            program.kill()
    return said if has_ended else None


def _read(stream: IO[bytes], until: float) -> bytes | None:
    """All of it; None where that is too much, or did not come in time."""
    read = b""
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while len(read) <= LONGEST_ANSWER and (left := until - time.monotonic()) > 0 and ready.select(left):
            piece = os.read(stream.fileno(), LONGEST_ANSWER)
            if not piece:
                return read
            read += piece
    return None


def _plain_port(uri: Uri) -> Finding:
    """Where libvirt listens without encryption everybody who gets there owns the host."""
    host = uri.host or "127.0.0.1"
    data = {"host": host, "port": str(PLAIN_PORT)}
    if uri.scheme == TCP:
        return Finding("plain_port", "plain_port_used", data, is_warning=True)
    try:
        with socket.create_connection((host, PLAIN_PORT), timeout=SECONDS):
            return Finding("plain_port", "plain_port_open", data, is_warning=True)
    except OSError:
        return Finding("plain_port", data=data)


def _screens(uri: Uri) -> Finding:
    """Over SSH and locally they need no port of their own: 5900 and above stay closed."""
    if uri.scheme in {TLS, TCP}:
        return Finding("screens", "screens_need_ssh", is_warning=True)
    return Finding("screens")
