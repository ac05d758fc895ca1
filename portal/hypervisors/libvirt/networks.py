"""NAT networks of ours, their filters, and the addresses of the cards on them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import libvirt

from portal.hypervisors.errors import AlreadyExists, Busy, NoCapacity, NotFound, RangeTaken
from portal.hypervisors.libvirt import domain_xml, names, network_xml
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.domain_xml import NicSource
from portal.hypervisors.libvirt.failures import calling, is_missing, refuse_silence, those_there
from portal.hypervisors.libvirt.host_addresses import host_addresses, refuse_blind_host
from portal.hypervisors.libvirt.network_xml import NetworkFacts, Plan
from portal.hypervisors.libvirt.offered import Offered
from portal.hypervisors.specs import BridgeFound, NetworkFound, NetworkSpec, NicSpec

log = logging.getLogger(__name__)

RESERVE_TRIES = 20
# How the cards of machines are named on the host: as many as machines, and no bridges.
GUESTS = ("vnet", "tap", "macvtap")


class Networks:
    """The networks of one connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.offered = Offered(session)

    # -- making and removing

    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        """Filter first, so that no card is ever without it; then the network, started now and with the host."""
        with calling("make network"):
            found = self._network(spec.uid)
            if found is None:
                self._refuse_taken(spec)
            else:
                self._refuse_foreign(found, spec.uid)
            self._define_filter(spec)
            if found is None:
                found = self._define(spec)
            if not found.isActive():
                self._start(found)
            self._refresh_all_filters()
            return self.found(found)

    def _define(self, spec: NetworkSpec) -> Any:
        network = None
        try:
            text = network_xml.network(spec, self._session.marker(spec.uid))
            network = self._session.libvirt().networkDefineXML(text)
            self._start(network)
        except libvirt.libvirtError:
            # The host has its range on another interface, for one: leave nothing behind.
            if network is not None:
                network.undefine()
            self._undefine_filter(spec.uid)
            raise
        return network

    @staticmethod
    def _start(network: Any) -> None:
        try:
            network.create()
        except libvirt.libvirtError:
            if not network.isActive():
                raise
        network.setAutostart(True)

    def delete_network(self, uid: UUID) -> None:
        """The network, then its filter."""
        with calling("remove network"):
            network = self._network(uid)
            if network is not None:
                if not self._is_ours(network, uid):
                    return
                self._refuse_used(network.name())
                if network.isActive():
                    network.destroy()
                network.undefine()
            self._undefine_filter(uid)

    def _refuse_used(self, name: str) -> None:
        macs = [mac for mac, network in self._cards() if network == name]
        if macs:
            raise Busy("Machines use this network.", detail=f"cards on {name}: {', '.join(macs)}")

    def _cards(self) -> Iterator[tuple[str, str]]:
        """(MAC, network) of every card of every machine, ours and others', running or not."""
        domains = self._session.libvirt().listAllDomains(0)
        for facts in those_there(domains, lambda domain: domain_xml.read_domain(domain.XMLDesc(0))):
            yield from facts.nics

    def _refuse_taken(self, spec: NetworkSpec) -> None:
        """libvirt itself refuses both without a code to tell why, the range only when the other network is active."""
        wanted = Plan.of(spec.cidr).network
        for other in self._all_facts():
            if other.uuid == spec.uid:
                continue
            if other.name == spec.name:
                raise AlreadyExists("A network of this name is there already.", detail=f"{other.name} is {other.uuid}")
            for held in map(ip_network, other.ranges):
                if held.version == wanted.version and wanted.overlaps(held):
                    raise RangeTaken(detail=spec.cidr, figures={"range": str(held), "network": other.name})

    def _is_ours(self, network: Any, uid: UUID) -> bool:
        return self._facts(network).marker == self._session.marker(uid)

    def _refuse_foreign(self, network: Any, uid: UUID) -> None:
        if not self._is_ours(network, uid):
            raise AlreadyExists(detail=f"network {network.name()} bears another mark or none")

    # -- reading

    def find_network(self, uid: UUID) -> NetworkFound | None:
        """A network of ours."""
        with calling("look up network"):
            network = self._network(uid)
            return self.found(network) if network is not None and self._is_ours(network, uid) else None

    def found(self, network: Any) -> NetworkFound:
        """What crosses the edge; within ``calling``."""
        facts = self._facts(network)
        ours = self._session.is_ours(facts.marker) and not self._session.is_test
        return NetworkFound(
            external_id=facts.name,
            name=facts.name,
            marker=facts.marker,
            active=bool(network.isActive()),
            bridge=facts.bridge,
            cidr=facts.cidr,
            filter=self._filter_name(facts.uuid) if ours else "",
            uid=str(facts.uuid),
            forward=facts.forward,
            ranges=facts.ranges,
        )

    def bridges(self, networks: Iterable[NetworkFound]) -> tuple[tuple[BridgeFound, ...], bool]:
        """The host's own bridges, and whether these are all; within ``calling``.

        Not every libvirt tells of its host's interfaces: then they are the ones that networks lead to.
        """
        own = {one.bridge for one in networks if one.bridge and one.forward != "bridge"}
        told = self._interfaces()
        found = told or {one.bridge: BridgeFound(one.bridge, one.active) for one in networks if one.bridge}
        return tuple(bridge for name, bridge in sorted(found.items()) if name not in own), told is not None

    def _interfaces(self) -> dict[str, BridgeFound] | None:
        """The bridges among the host's interfaces; None where libvirt does not tell of any."""
        try:
            listed = self._session.libvirt().listAllInterfaces(0)
        except libvirt.libvirtError as error:
            refuse_silence(error, what="list interfaces")
            log.debug("libvirt does not tell of the host's interfaces: %s", error)
            return None
        found = filter(None, (self._bridge(one) for one in listed if not one.name().startswith(GUESTS)))
        return {bridge.name: bridge for bridge in found}

    @staticmethod
    def _bridge(interface: Any) -> BridgeFound | None:
        try:
            facts, active = network_xml.read_bridge(interface.XMLDesc(0)), bool(interface.isActive())
        except libvirt.libvirtError as error:
            # Interfaces come and go; of one that went libvirt says no more than "internal error".
            refuse_silence(error, what="read an interface")
            return None
        return BridgeFound(facts.name, active, facts.members) if facts else None

    def _network(self, uid: UUID) -> Any | None:
        try:
            return self._session.libvirt().networkLookupByUUIDString(str(uid))
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _named(self, name: str) -> Any | None:
        try:
            return self._session.libvirt().networkLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    @staticmethod
    def _facts(network: Any) -> NetworkFacts:
        return network_xml.read_network(network.XMLDesc(0))

    # -- cards: on a network of ours each has an address of its own, which DHCP gives it and the filter holds it to

    def attach(self, nic: NicSpec) -> NicSource:
        """What a card needs to be defined: within ``calling``."""
        if nic.offered:
            return self.offered.attach(nic)
        network = self._named(nic.network)
        if network is None:
            raise NotFound("The network is not there.", detail=f"no network {nic.network!r}")
        facts = self._facts(network)
        if self._session.is_test or not self._session.is_ours(facts.marker):
            return NicSource(mac=nic.mac, network=nic.network, filter=nic.filter)
        ip = self._reserve(network, nic.mac.lower())
        return NicSource(mac=nic.mac, network=nic.network, filter=self._filter_name(facts.uuid), ip=ip)

    def detach(self, name: str, mac: str) -> None:
        """Give a card's address back; within ``calling``."""
        network = self._named(name)
        if network is None:
            return
        facts = self._facts(network)
        if self._session.is_ours(facts.marker) and mac.lower() in facts.reserved:
            self._change_reservation(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, mac.lower(), facts)

    def _reserve(self, network: Any, mac: str) -> str:
        for _try in range(RESERVE_TRIES):
            facts = self._facts(network)
            if mac in facts.reserved:
                return facts.reserved[mac]
            ip = self._free_address(network, facts, mac)
            try:
                add = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
                self._update(network, add, network_xml.reservation(mac, ip))
            except libvirt.libvirtError as error:
                # Somebody was faster with this address: libvirt refuses a second card on it.
                if ip not in self._facts(network).reserved.values():
                    raise
                log.info("address taken meanwhile, the next one is tried: %s", error)
                continue
            return ip
        raise Busy(detail=f"no address of {network.name()} could be had in {RESERVE_TRIES} tries")

    def _free_address(self, network: Any, facts: NetworkFacts, mac: str) -> str:
        # What was reserved for a machine that is not defined (yet) stays taken: its undo gives it back, nobody else.
        reserved = set(facts.reserved.values())
        free = _first_free(facts.cidr, reserved | self._lent(network, but=mac))
        if free is not None:
            return free
        about = f"{facts.name} {facts.cidr}"
        if _first_free(facts.cidr, reserved) is None:
            raise NoCapacity("The network has no free address.", detail=about)
        raise NoCapacity(
            "The network lent its free addresses to deleted machines, for up to an hour more.", detail=about
        )

    @staticmethod
    def _lent(network: Any, *, but: str) -> set[str]:
        """Addresses that dnsmasq has lent to other cards, also of machines that are gone: it gives none of them away, whatever
        is reserved."""
        leases = network.DHCPLeases() if network.isActive() else []
        return {lease["ipaddr"] for lease in leases if (lease["mac"] or "").lower() != but}

    def _change_reservation(self, network: Any, command: int, mac: str, facts: NetworkFacts) -> None:
        try:
            self._update(network, command, network_xml.reservation(mac, facts.reserved[mac]))
        except libvirt.libvirtError:
            if mac in self._facts(network).reserved:
                raise

    @staticmethod
    def _update(network: Any, command: int, text: str) -> None:
        both = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
        if network.isActive():
            both |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
        network.update(command, libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, -1, text, both)

    # -- filters

    def _filter_name(self, network_uid: UUID) -> str:
        return names.network_filter(self._session.portal_id, network_uid)

    def _define_filter(self, spec: NetworkSpec) -> None:
        if self._session.is_test:
            return
        refuse_blind_host(self._session)
        name = self._filter_name(spec.uid)
        text = network_xml.network_filter(spec, name=name, inside=self._inside(but=spec.uid))
        self._session.libvirt().nwfilterDefineXML(text)

    def _undefine_filter(self, uid: UUID) -> None:
        if self._session.is_test:
            return
        try:
            self._session.libvirt().nwfilterLookupByName(self._filter_name(uid)).undefine()
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise

    def refresh_filters(self, network_names: Iterable[str]) -> None:
        """Refuse what the host got meanwhile, and what we have learnt to refuse, on these networks; within ``calling``."""
        found = (self._named(name) for name in network_names)
        ours = (facts for facts in (self._facts(each) for each in found if each) if self._session.is_ours(facts.marker))
        self._refresh(list(ours))

    def _refresh_all_filters(self) -> None:
        """A new network is a new inside for every other network too."""
        if not self._session.is_test:
            facts = self._all_facts()
            self._refresh([each for each in facts if self._session.is_ours(each.marker)])

    def _refresh(self, networks: list[NetworkFacts]) -> None:
        for facts in networks:
            try:
                found = self._session.libvirt().nwfilterLookupByName(self._filter_name(facts.uuid))
            except libvirt.libvirtError as error:
                if is_missing(error):
                    continue
                raise
            inside = self._inside(but=facts.uuid)
            changed = network_xml.refreshed(found.XMLDesc(0), inside, cidr=facts.cidr)
            if changed:
                self._session.libvirt().nwfilterDefineXML(changed)

    def _inside(self, *, but: UUID) -> set[str]:
        """The host's addresses, and the ranges of its other networks."""
        ranges = {facts.cidr for facts in self._all_facts() if facts.cidr and facts.uuid != but}
        return ranges | host_addresses(self._session)

    def _all_facts(self) -> list[NetworkFacts]:
        return list(those_there(self._session.libvirt().listAllNetworks(0), self._facts))


def _first_free(cidr: str, taken: set[str]) -> str | None:
    plan = Plan.of(cidr)
    candidates = (plan.network[number] for number in range(2, plan.network.num_addresses - 1))
    return next((str(address) for address in candidates if str(address) not in taken), None)
