"""Consoles and addresses of running machines: what only a running machine has."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import libvirt

from portal.hypervisors.displays import QEMU_PORTS, refuse_port
from portal.hypervisors.errors import Busy, DisplayOutside, Unsupported
from portal.hypervisors.libvirt import domain_xml, tunnel
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.domain_xml import DomainFacts
from portal.hypervisors.libvirt.failures import calling
from portal.hypervisors.libvirt.vms import AGENT_SECONDS, Machines, fresh_password
from portal.hypervisors.specs import Address, ConsoleTarget, VmRef

log = logging.getLogger(__name__)

# How long a fresh display password lets new connections in; one that is open stays.
PASSWORD_SECONDS = 30
# A guest may report anything, and any amount of it.
MOST_ADDRESSES = 32

Interfaces = dict[str, dict[str, Any]]


class Consoles:
    """The consoles of one connection's machines."""

    def __init__(self, session: Session, machines: Machines, *, protocols: tuple[str, ...]) -> None:
        self._session = session
        self._machines = machines
        self._protocols = protocols

    def console(self, ref: VmRef, *, protocol: str) -> ConsoleTarget:
        """Set a fresh password and say where the display listens. The old password is void from then on."""
        if protocol not in self._protocols:
            raise Unsupported(detail=f"console {protocol!r}")
        with calling("open console"):
            domain, facts = self._machines.ours(ref.uid)
            if not facts.vnc_port:
                raise Busy("The machine is not running.", detail=f"domain {ref.uid} has no display")
            refuse_port(facts.vnc_port, QEMU_PORTS)
            if not set(facts.vnc_listens) <= domain_xml.REACHED_BY_LOOPBACK:
                raise DisplayOutside(detail=f"the display of {ref.uid} listens on {facts.vnc_listens}")
            password = fresh_password()
            until = datetime.now(UTC) + timedelta(seconds=PASSWORD_SECONDS)
            element = domain_xml.vnc_with_password(
                domain.XMLDesc(0), password=password, valid_to=until.strftime("%Y-%m-%dT%H:%M:%S")
            )
            domain.updateDeviceFlags(element, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        target = ConsoleTarget("vnc", domain_xml.LISTEN, facts.vnc_port, password=password, allow_plain=True)
        if self._session.is_local:
            return target
        way = tunnel.way_to(self._session.connection, facts.vnc_port, seconds=PASSWORD_SECONDS)
        return replace(target, unix_path=str(way))

    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        """DHCP's leases first, then what the guest agent says that DHCP did not."""
        with calling("read addresses"):
            domain, facts = self._machines.ours(ref.uid)
            if not domain.isActive():
                return ()
            found = list(self._leases(domain, facts))
            if facts.agent_connected:
                known = {(address.mac, address.ip) for address in found}
                said = self._from_agent(domain, facts)
                found += [address for address in said if (address.mac, address.ip) not in known]
        return tuple(found[:MOST_ADDRESSES])

    def _leases(self, domain: Any, facts: DomainFacts) -> Iterator[Address]:
        ask = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
        return _addresses(_asked(lambda: domain.interfaceAddresses(ask, 0)), facts, source="lease")

    def _from_agent(self, domain: Any, facts: DomainFacts) -> Iterator[Address]:
        ask = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT

        def read() -> Interfaces:
            domain.agentSetResponseTimeout(AGENT_SECONDS, 0)
            answer: Interfaces = domain.interfaceAddresses(ask, 0)
            return answer

        return _addresses(_asked(read), facts, source="agent")


def _asked(read: Callable[[], Interfaces | None]) -> Interfaces:
    try:
        return read() or {}
    except libvirt.libvirtError as error:
        if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
            raise
        log.info("no addresses: %s", error)
        return {}


def _addresses(interfaces: Interfaces, facts: DomainFacts, *, source: str) -> Iterator[Address]:
    """Only of the machine's own cards, and only what is an address: the agent is the guest's, who may say anything."""
    macs = {mac.lower() for mac, _network in facts.nics}
    for interface in interfaces.values():
        mac = str(interface.get("hwaddr") or "").lower()
        if mac in macs:
            for entry in interface.get("addrs") or ():
                ip = _usable(str(entry.get("addr") or ""))
                if ip:
                    yield Address(mac=mac, ip=ip, source=source)


def _usable(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if address.is_loopback or address.is_link_local or address.is_multicast else str(address)
