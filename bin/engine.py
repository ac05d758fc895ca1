"""The engine that --with-ovirt adds to the demo: a double that speaks as an oVirt engine does, its state in the data folder.

It is no oVirt. It is started as one more process of the portal; the machines on it are processes of its own and end with it.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from folder import DataFolder
from programs import PYTHON
from supervisor import Program

NAME: Final = "engine"
USER: Final = "portal@internal"
BIND: Final = "127.0.0.1"
REFERENCE: Final = "STEGI_REFERENCE"  # names a folder with the API's schema, to which the double is held then
CA: Final = "/ovirt-engine/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA"


def program(folder: DataFolder, image: Path) -> Program:
    """The double, on the port that it had before."""
    here = _folder(folder)
    here.mkdir(mode=0o700, exist_ok=True)
    options = [f"--folder={here}", f"--port={_port(folder)}", f"--bind={BIND}", "--backing=qemu", f"--image={image}"]
    if named := os.environ.get(REFERENCE):
        options.append(f"--reference={named}")
    return Program(NAME, [PYTHON, "-m", "tests.doubles.ovirt_engine", *options])


def address(folder: DataFolder) -> str:
    """Where the portal reaches it; empty where none was ever started."""
    port = folder.read(_folder(folder) / "port.json")
    return f"https://{BIND}:{port}/ovirt-engine/api" if port else ""


def answers(folder: DataFolder) -> bool:
    """Whether it gives its CA's certificate. Nothing is verified: it is this machine asking itself, and no secret is sent."""
    context = ssl._create_unverified_context()  # noqa: S323
    connection = http.client.HTTPSConnection(BIND, _port(folder), timeout=10, context=context)
    try:
        connection.request("GET", CA)
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


def ca(folder: DataFolder) -> Path:
    """The certificate of its CA, which it makes itself."""
    return _folder(folder) / "ca.pem"


def password(folder: DataFolder) -> Path:
    """The file with the password of ``USER``, for its owner alone."""
    path = _folder(folder) / "password"
    path.touch(mode=0o600)
    path.write_text((folder.read(_folder(folder) / "secrets.json") or {}).get(USER, ""))
    return path


def _folder(folder: DataFolder) -> Path:
    return folder.root / "engine"


def _port(folder: DataFolder) -> int:
    """Chosen once, for the provider's row has it."""
    path = _folder(folder) / "port.json"
    found = folder.read(path)
    if not isinstance(found, int):
        with socket.create_server((BIND, 0)) as chosen:
            found = int(chosen.getsockname()[1])
        folder.write(path, found)
    return found
