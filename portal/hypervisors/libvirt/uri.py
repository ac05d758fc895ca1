"""libvirt's addresses as a super-admin gives them: which are taken, and what they say.

An address holds no parameter: libvirt would take a command to run, files to read or "do not verify" from there. What a
transport needs more is in the row's secrets, and ``transport`` adds it for the moment of connecting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from portal.hypervisors.reaching import is_host

LOCAL = ("qemu", "qemu+unix")
SSH = "qemu+ssh"
TLS = "qemu+tls"
TCP = "qemu+tcp"
PORTS = {SSH: 22, TLS: 16514, TCP: 16509}

_PRINTABLE = re.compile(r"[!-~]{1,512}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Uri:
    """An address that is taken. ``host`` is empty for this machine's own libvirt."""

    scheme: str
    user: str = ""
    host: str = ""
    port: int = 0

    @property
    def bracketed(self) -> str:
        """The host as it stands before a port."""
        return f"[{self.host}]" if ":" in self.host else self.host


def parsed(address: str) -> Uri | str:
    """The address, or the code of what is wrong with it."""
    if not _PRINTABLE.fullmatch(address):
        return "address_invalid"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "address_invalid"
    if parts.scheme not in LOCAL and parts.scheme not in PORTS:
        return "address_scheme"
    if parts.query or parts.fragment or "?" in address or "#" in address:
        return "address_parameters"
    if parts.password is not None:
        return "address_password"
    if parts.path != "/system":
        return "address_path"
    if parts.scheme in LOCAL:
        return "address_local_host" if parts.netloc else Uri(parts.scheme)
    return _remote(parts.scheme, parts.username, parts.hostname or "", port)


def _remote(scheme: str, user: str | None, host: str, port: int | None) -> Uri | str:
    if not is_host(host) or port == 0:
        return "address_host"
    if scheme == SSH and not user:
        return "address_no_user"
    if user is not None and (scheme != SSH or not _USER.fullmatch(user)):
        return "address_user"
    return Uri(scheme, user or "", host, port or PORTS[scheme])
