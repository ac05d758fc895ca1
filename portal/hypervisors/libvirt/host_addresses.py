"""The IPv4 addresses of the hypervisor host, which machines must not reach.

Of a local libvirt the kernel tells them. Of a distant one they are what its name resolves to and what the provider's option
``host_addresses`` lists (separated by commas).
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from portal.hypervisors.errors import Unsupported
from portal.hypervisors.libvirt.connection import Session

log = logging.getLogger(__name__)

ROUTES = Path("/proc/net/fib_trie")
BRIDGE_FILTERING = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
# An address in the kernel's routing tree, and on the next line that packets to it are for the host itself.
_LOCAL = re.compile(r"\|-- (?P<address>[0-9.]+)\n\s+/32 host LOCAL")


def host_addresses(session: Session) -> frozenset[str]:
    """What is known of the host's addresses now; loopback left out, which is refused anyway."""
    listed = session.connection.options.get("host_addresses", "")
    found = {address.strip() for address in listed.split(",") if address.strip()}
    if session.is_local:
        found |= set(_LOCAL.findall(ROUTES.read_text())) if ROUTES.exists() else set()
    else:
        found |= _resolved(urlsplit(session.connection.address).hostname or "")
    return frozenset(address for address in found if _is_wanted(address))


def refuse_blind_host(session: Session) -> None:
    """Raise ``Unsupported`` where the kernel would pass bridged packets by the filters; of a distant host it is unknown."""
    if session.is_local and BRIDGE_FILTERING.exists() and BRIDGE_FILTERING.read_text().strip() == "0":
        raise Unsupported(
            "The host does not filter its bridges. Set net.bridge.bridge-nf-call-iptables to 1.",
            detail=f"{BRIDGE_FILTERING} is 0",
        )


def _resolved(host: str) -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, family=socket.AF_INET)}
    except OSError as error:
        log.warning("the provider's host cannot be resolved, so its address is not refused to machines: %s", error)
        return set()


def _is_wanted(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        log.warning("not an address, left out of the host's: %r", address)
        return False
    return parsed.version == 4 and not parsed.is_loopback
