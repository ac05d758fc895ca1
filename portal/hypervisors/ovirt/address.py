"""An engine's address as a super-admin gives it: which are taken, and what they say.

It holds no parameter, user or password: what the log-in needs is in the row and in its secrets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from portal.hypervisors.reaching import is_host

PATH = "/ovirt-engine/api"
HTTPS_PORT = 443

_PRINTABLE = re.compile(r"[!-~]{1,512}")
_BEGINNINGS = ("", "/", "/ovirt-engine", "/ovirt-engine/", f"{PATH}/")


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine listens."""

    host: str
    port: int = HTTPS_PORT

    @property
    def netloc(self) -> str:
        """Host and port as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address of its API, spelled in one way."""
        return f"https://{self.netloc}{PATH}"


def parsed(address: str) -> Engine | str:
    """The engine of an address, or the code of what is wrong with it. The path may be left out, or begun."""
    if not _PRINTABLE.fullmatch(address):
        return "address_invalid"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "address_invalid"
    if parts.scheme != "https":
        return "address_https" if parts.scheme == "http" else "address_scheme"
    if parts.query or parts.fragment or "?" in address or "#" in address:
        return "address_parameters"
    if parts.username is not None:
        return "address_password"
    if parts.path != PATH and parts.path not in _BEGINNINGS:
        return "address_path"
    if not is_host(parts.hostname or "") or port == 0:
        return "address_host"
    return Engine(parts.hostname or "", port or HTTPS_PORT)


def whole(address: str) -> str:
    """The address with what was left out; one that cannot be stays as it is."""
    engine = parsed(address)
    return address if isinstance(engine, str) else engine.url
