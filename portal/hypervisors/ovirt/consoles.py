"""Consoles and addresses of running machines: what only a running machine has."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ovirtsdk4 import types

from portal.hypervisors.displays import ENGINE_PORTS, refuse_port
from portal.hypervisors.errors import Busy, Unsupported
from portal.hypervisors.ovirt import convert, statuses
from portal.hypervisors.ovirt.certificates import bare
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.looking import Looking
from portal.hypervisors.ovirt.marks import correlation
from portal.hypervisors.ovirt.vms import NOT_RUNNING
from portal.hypervisors.specs import Address, ConsoleTarget, VmRef

PROTOCOLS = ("vnc",)
# How long a ticket lets new connections in; an engine that is not told so gives it two hours.
TICKET_SECONDS = 120
# A guest may report anything, and any amount of it.
MOST_ADDRESSES = 32


class Consoles:
    """The consoles of one engine's machines."""

    def __init__(self, session: Session, *, looking: Looking) -> None:
        self._session = session
        self._looking = looking

    def console(self, ref: VmRef, *, protocol: str) -> ConsoleTarget:
        """Set a ticket of our own and say where the display listens now. The old ticket is void from then on."""
        if protocol not in PROTOCOLS:
            raise Unsupported(detail=f"console {protocol!r}")
        with calling("open console", mutates=True):
            vm = self._looking.ours(ref, follow="cluster,host")
            if statuses.of_vm(vm)[0] not in statuses.WITH_CONSOLE:
                raise Busy(NOT_RUNNING, detail=f"machine {ref.uid} is {vm.status}")
            graphics = self._looking.of_id(convert.key(vm)).graphics_consoles_service()
            display = _vnc(graphics.list(current=True))
            refuse_port(int(display.port), ENGINE_PORTS)
            password = fresh_password()
            graphics.console_service(display.id).ticket(
                ticket=types.Ticket(value=password, expiry=TICKET_SECONDS),
                headers=correlation("console", ref.uid),
            )
        return self._target(vm, display, password)

    def _target(self, vm: Any, display: Any, password: str) -> ConsoleTarget:
        """By TLS where the cluster's displays have it, with the host's own name to prove; else plain where that is allowed.

        A display may listen on an address of its own, which the host's certificate does not name.
        """
        connection, address = self._session.connection, str(display.address)
        told = ConsoleTarget("vnc", address, int(display.port), password, on_host=convert.key(vm.host))
        if vm.cluster is not None and vm.cluster.vnc_encryption:
            name = (vm.host.address if vm.host is not None else None) or address
            ca_pem = bare(connection.ca_pem)
            return replace(told, tls_ca_pem=ca_pem, tls_hostname=name)
        is_plain_allowed = connection.options.get("plain_vnc") == "yes" or _is_loopback(address)
        return replace(told, allow_plain=is_plain_allowed)

    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        """What the guest agent says of the machine's own cards; an engine knows no leases."""
        with calling("read addresses"):
            vm = self._looking.ours(ref, follow="nics")
            if statuses.of_vm(vm)[0] not in statuses.ON:
                return ()
            reported = self._looking.of_id(convert.key(vm)).reported_devices_service().list()
            macs = {convert.mac_of(nic) for nic in vm.nics or ()}
            return tuple(_addresses(reported, macs))[:MOST_ADDRESSES]


def fresh_password() -> str:
    """A ticket's value: VNC takes eight characters and no more."""
    return secrets.token_urlsafe(6)


def _vnc(consoles: Any) -> Any:
    """The display that listens. Raises ``Busy`` where none does, ``Unsupported`` for a machine without one of VNC."""
    vnc = [one for one in consoles if one.protocol is types.GraphicsType.VNC]
    if consoles and not vnc:
        raise Unsupported(detail="the machine has no VNC display")
    for one in vnc:
        if one.address and (one.port or 0) > 0:
            return one
    raise Busy(NOT_RUNNING, detail="no display listens")


def _addresses(reported: Any, macs: set[str]) -> Iterator[Address]:
    """Only of the machine's own cards, and only what is an address: the agent is the guest's, who may say anything."""
    for device in reported:
        mac = convert.mac_of(device)
        if mac in macs:
            for entry in device.ips or ():
                ip = _usable(str(entry.address or ""))
                if ip:
                    yield Address(mac=mac, ip=ip, source="agent")


def _usable(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if address.is_loopback or address.is_link_local or address.is_multicast else str(address)


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text == "localhost"
