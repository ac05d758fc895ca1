"""The way to a screen on a host that is reached over SSH: displays listen on that host's loopback alone.

OpenSSH carries it, with the same key and the same pinned host key as libvirt's own connection: one process for each
console, which ends by itself when the console does, or when nobody has come in time.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
from pathlib import Path

from portal.hypervisors.errors import Unavailable, Unsupported
from portal.hypervisors.libvirt.folders import SCREENS, new_folder
from portal.hypervisors.libvirt.transport import SETTINGS, known_host, private_folder, write_private
from portal.hypervisors.libvirt.uri import SSH, Uri, parsed
from portal.hypervisors.specs import Connection

log = logging.getLogger(__name__)

OPENING_SECONDS = 15
# libvirt's own connection wants no forwarding; this one is nothing else.
FORWARDING = "ClearAllForwardings yes\n"
OWN = "ExitOnForwardFailure yes\nStreamLocalBindMask 0177\n"


def no_way(address: str) -> str:
    """The code of why no screen can be reached where libvirt is reached so; empty for this machine, and over SSH."""
    uri = parsed(address)
    return "" if isinstance(uri, str) or not uri.host or uri.scheme == SSH else "screens_need_ssh"


def way_to(connection: Connection, port: int, *, seconds: int) -> Path:
    """A unix socket that leads to a port on the far host's loopback, for whoever comes within ``seconds``; he stays. Raises ``Unavailable``, or ``Unsupported`` over TLS."""
    uri = parsed(connection.address)
    if isinstance(uri, str) or uri.scheme != SSH:
        raise Unsupported(
            "Screens of machines on this hypervisor cannot be reached: they listen on its own loopback alone."
        )
    folder = new_folder(SCREENS)
    way = folder / "screen"
    try:
        _start(uri, connection, way, port, seconds)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _remove_later(folder, 2 * seconds)
    return way


def _start(uri: Uri, connection: Connection, way: Path, port: int, seconds: int) -> None:
    """Returns when the way is open: the program goes into the background only then."""
    with private_folder() as keys:
        write_private(keys / "known_hosts", known_host(uri, connection.secrets.get("host_key", "")))
        settings = SETTINGS.format(folder=keys).replace(FORWARDING, OWN)
        config = write_private(keys / "ssh_config", settings)
        key = write_private(keys / "key", connection.secrets.get("ssh_key", ""))
        asked = ["-f", "-F", config, "-i", key, "-p", str(uri.port), "-L", f"{way}:127.0.0.1:{port}"]
        command = ["ssh", *asked, "--", f"{uri.user}@{uri.host}", f"sleep {seconds}"]
        try:
            # No pipes: the program in the background would keep them open.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=OPENING_SECONDS,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise Unavailable(detail=f"the way to a screen did not open: {type(error).__name__}") from error
    if done.returncode:
        raise Unavailable(detail=f"the way to a screen did not open: ssh ended with {done.returncode}")


def _remove_later(folder: Path, seconds: int) -> None:
    """Who came is connected by then, and a socket's name is for coming alone."""
    timer = threading.Timer(seconds, shutil.rmtree, [folder], {"ignore_errors": True})
    timer.daemon = True
    timer.start()
