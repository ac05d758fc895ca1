"""Where the portal may go for a machine's screen. Pure but for the looks that it is handed.

A hypervisor says where a display listens, and is not believed: whoever rules one, or one machine's definition, would make
the portal knock on any door that it reaches. It goes to ports that displays have, on hosts of the provider's inventory, and
to addresses that were looked at themselves: what a name leads to is looked up once, and that address is connected to.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from portal.hypervisors.errors import DisplayElsewhere, DisplayNotThere, DisplayPort
from portal.hypervisors.reaching import addresses_of
from portal.hypervisors.specs import ConsoleTarget

# QEMU's first display is 5900; remote_display_port_min and _max of libvirt's qemu.conf, as they are where nobody set them.
QEMU_PORTS = range(5900, 65536)
# What VDSM sets these two to on an engine's hosts, and the engine opens in their firewalls.
ENGINE_PORTS = range(5900, 6924)

# Of the machine's own host: what a hypervisor says is looked up, and a name that nobody knows takes its time.
MOST_NAMES = 4

Ip = IPv4Address | IPv6Address
Resolve = Callable[[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class Home:
    """A host of the inventory: the names and addresses that it is known by, and whether the machine runs on it."""

    addresses: tuple[str, ...]
    has_machine: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of a provider. ``is_here``: it is on the portal's own machine, and so are its displays.

    ``own``: names and addresses at which the portal uses a service of its own on the port that is asked for.
    """

    ports: range
    is_here: bool = False
    homes: tuple[Home, ...] = ()
    own: tuple[str, ...] = ()


def refuse_port(port: int, ports: range) -> None:
    """Raise ``DisplayPort`` for one that no display has."""
    if port not in ports:
        raise DisplayPort(detail=f"port {port} is none of {ports.start}-{ports.stop - 1}")


def checked(target: ConsoleTarget, reach: Reach, *, resolve: Resolve = addresses_of) -> ConsoleTarget:
    """The target with the address to connect to. Raises ``DisplayPort``, ``DisplayElsewhere`` or ``DisplayNotThere``.

    A way of the driver's own (``unix_path``) leads to the provider's host already.
    """
    refuse_port(target.port, reach.ports)
    if target.unix_path:
        return target
    resolve = cache(resolve)
    found = _looked_up(target.host, resolve)
    if not found:
        raise DisplayNotThere(detail=f"{target.host!r} leads to no address")
    for address in found:
        _refuse(address, target, reach, resolve)
    return replace(target, host=str(found[0]), tls_hostname=target.tls_hostname or target.host)


def is_here(host: str, *, resolve: Resolve = addresses_of) -> bool:
    """Whether a name or address leads to this machine alone."""
    found = _looked_up(host, resolve)
    return bool(found) and all(map(is_own, found))


def is_own(address: Ip) -> bool:
    """Whether this machine has the address: then it is also where a connection to it would come from. Nothing is sent."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return bool(probe.getsockname()[0] == str(address))
    except OSError:
        return False


def _refuse(address: Ip, target: ConsoleTarget, reach: Reach, resolve: Resolve) -> None:
    told = f"{target.host} ({address}), port {target.port}"
    own = _all_looked_up(reach.own, resolve)
    if is_own(address):
        if not reach.is_here:
            raise DisplayElsewhere(detail=f"{told}: this machine, where the provider is not")
        if any(map(is_own, own)):
            raise DisplayElsewhere(detail=f"{told}: a service of the portal's own")
        return
    if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise DisplayElsewhere(detail=f"{told}: no address of a host")
    if address in own:
        raise DisplayElsewhere(detail=f"{told}: a service of the portal's own")
    if not _is_known(address, target.host, reach.homes, resolve):
        raise DisplayElsewhere(detail=f"{told}: of no host of the inventory")


def _is_known(address: Ip, name: str, homes: tuple[Home, ...], resolve: Resolve) -> bool:
    """By what the hosts are known by; the names of the machine's own host are looked up besides."""
    known = {each.casefold() for home in homes for each in home.addresses}
    if name.casefold() in known or address in {_ip(each) for each in known}:
        return True
    names = [each for home in homes if home.has_machine for each in home.addresses if _ip(each) is None]
    return address in _all_looked_up(names[:MOST_NAMES], resolve)


def _all_looked_up(names: Iterable[str], resolve: Resolve) -> set[Ip]:
    return {address for name in names for address in _looked_up(name, resolve)}


def _looked_up(name: str, resolve: Resolve) -> list[Ip]:
    """The addresses that a name leads to, in an order that stays; an address leads to itself."""
    literal = _ip(name)
    found = [literal] if literal else map(_ip, resolve(name))
    return sorted({each for each in found if each}, key=lambda each: (each.version, int(each)))


def _ip(text: str) -> Ip | None:
    """An address, of IPv4 also where it is written as one of IPv6; None for a name, or one of a single link."""
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address
