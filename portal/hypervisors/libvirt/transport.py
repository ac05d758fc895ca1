"""From a provider's address and secrets to a URI that libvirt connects by, for the moment of connecting.

Keys are read from files alone, by SSH as by TLS. These lie in a folder for this user only, in memory where the system has
such a place, and are removed as soon as the connection is open (``folders``: also after a process that was killed). SSH is a program of its own (``pinned-ssh``): the client that
libvirt has within the process (libssh, 9.0) takes the whole process with it when two threads are busy with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from portal.hypervisors.errors import Invalid, Unavailable
from portal.hypervisors.libvirt.folders import KEYS, new_folder
from portal.hypervisors.libvirt.uri import SSH, TCP, TLS, Uri, parsed
from portal.hypervisors.specs import Connection

PROGRAM = Path(__file__).with_name("pinned-ssh")
# Nothing but this key, for no host but this one; and an end when that host says nothing.
SETTINGS = """\
UserKnownHostsFile "{folder}/known_hosts"
GlobalKnownHostsFile none
StrictHostKeyChecking yes
UpdateHostKeys no
IdentitiesOnly yes
IdentityAgent none
PreferredAuthentications publickey
BatchMode yes
ClearAllForwardings yes
ControlPath none
ConnectTimeout 10
ServerAliveInterval 5
ServerAliveCountMax 3
LogLevel ERROR
"""
PLAIN_REFUSED = "Its address has no encryption, which the settings of this portal do not allow."


@contextmanager
def reached(connection: Connection) -> Iterator[str]:
    """The URI to open, good within the block. Raises ``Invalid`` for an address that this portal would not have taken.

    ``Unavailable`` for one without encryption where the installation does not allow that (any more).
    """
    if connection.address == "test:///default":
        yield connection.address
        return
    uri = parsed(connection.address)
    if isinstance(uri, str):
        raise Invalid(detail=f"the provider's address is not taken: {uri}")
    if uri.scheme == TCP and connection.options.get("plain_tcp") != "yes":
        raise Unavailable(PLAIN_REFUSED, detail="qemu+tcp:// is not allowed")
    if uri.scheme not in {SSH, TLS}:
        yield connection.address
        return
    with private_folder() as folder:
        yield (_ssh if uri.scheme == SSH else _tls)(uri, connection, folder)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that nobody else may look into, gone with all in it after the block."""
    folder = new_folder(KEYS)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def known_host(uri: Uri, host_key: str) -> str:
    """The line of a ``known_hosts`` file that pins this key."""
    name = uri.host if uri.port == 22 else f"[{uri.host}]:{uri.port}"
    return f"{name} {host_key}\n"


def write_pki(folder: Path, connection: Connection) -> None:
    """The files that libvirt looks for in ``pkipath``."""
    write_private(folder / "cacert.pem", connection.ca_pem)
    write_private(folder / "clientcert.pem", connection.secrets.get("client_certificate", ""))
    write_private(folder / "clientkey.pem", connection.secrets.get("client_key", ""))


def write_private(path: Path, text: str) -> str:
    """Write a file that only this user may read; its path."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text if text.endswith("\n") else f"{text}\n")
    return str(path)


def _ssh(uri: Uri, connection: Connection, folder: Path) -> str:
    write_private(folder / "known_hosts", known_host(uri, connection.secrets.get("host_key", "")))
    write_private(folder / "ssh_config", SETTINGS.format(folder=folder))
    key = write_private(folder / "key", connection.secrets.get("ssh_key", ""))
    asked = urlencode({"command": PROGRAM, "keyfile": key, "no_tty": 1})
    return f"qemu+ssh://{uri.user}@{uri.bracketed}:{uri.port}/system?{asked}"


def _tls(uri: Uri, connection: Connection, folder: Path) -> str:
    write_pki(folder, connection)
    return f"qemu+tls://{uri.bracketed}:{uri.port}/system?{urlencode({'pkipath': folder})}"
