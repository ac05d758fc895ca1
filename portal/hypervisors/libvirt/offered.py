"""Cards on what a host has besides our networks: somebody's network, or a bridge of the host's own. Neither is changed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Any
from uuid import uuid5

import libvirt

from portal.hypervisors.errors import AlreadyExists, HypervisorError, NetworkGone, NotFound
from portal.hypervisors.libvirt import domain_xml, names, network_xml
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.domain_xml import DomainFacts, NicSource
from portal.hypervisors.libvirt.failures import is_missing, refuse_silence, those_there, translated
from portal.hypervisors.libvirt.network_xml import NetworkFacts
from portal.hypervisors.specs import NicSpec

log = logging.getLogger(__name__)


class Offered:
    """The networks and bridges of one connection that are not ours."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def attach(self, nic: NicSpec) -> NicSource:
        """What a card needs to be defined; within ``calling``. Raises ``NotFound`` for what is a portal's, or not there."""
        if nic.offered == "bridge":
            self._refuse_no_bridge(nic.network)
            return NicSource(mac=nic.mac, network="", filter=self._filter(), bridge=nic.network)
        return NicSource(mac=nic.mac, network=self._name_of(nic.network), filter=self._filter(), lent=nic.network)

    def follow(self, domain: Any, facts: DomainFacts) -> Any:
        """The machine, before it starts, with each card on the network that it was given: libvirt knows that by name alone.

        One that was renamed is followed; in the place of one that is gone no other comes that has its name now. Within ``calling``, raises ``NetworkGone``.
        """
        try:
            names = {mac: self._name_of(uid) for mac, uid in facts.lent}
        except NotFound as error:
            raise NetworkGone(detail=error.detail) from error
        if not names.items() <= dict(facts.nics).items():
            kept = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
            domain = self._session.libvirt().defineXML(domain_xml.on_networks(kept, names))
        if names and domain.hasManagedSaveImage(0):
            self._follow_saved(domain, names)
        return domain

    @staticmethod
    def _follow_saved(domain: Any, names: dict[str, str]) -> None:
        """With memory that was saved a machine goes on by the description that was saved with it, whatever its own says."""
        try:
            saved = domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
            there = dict(domain_xml.read_domain(saved).nics)
            if any(there.get(mac, name) != name for mac, name in names.items()):
                domain.managedSaveDefineXML(domain_xml.on_networks(saved, names), 0)
        except libvirt.libvirtError as error:
            if type(translated(error, what="read saved memory")) is HypervisorError:
                raise NetworkGone(
                    "What was saved of the machine's memory cannot be read, so it is not known on which network it would go on. Stop it, which discards that memory, then run it again.",
                    detail=str(error),
                ) from error
            raise

    def _name_of(self, uid: str) -> str:
        """The name that a network of nobody's has now: that is what a card is put on. By now it may lead elsewhere."""
        networks = self._networks()
        found = next((facts for facts in networks if str(facts.uuid) == uid and facts.marker is None), None)
        if found is None or not found.bridge:  # on a card of the host's no filter sees a frame
            raise NotFound("The network is not there.", detail=f"no network {uid!r} of nobody's with a bridge")
        if found.forward == "bridge" and found.bridge in _made(networks):
            raise NotFound("The network is not there.", detail=f"{uid!r} is on another network's {found.bridge!r}")
        return found.name

    def _refuse_no_bridge(self, name: str) -> None:
        """The bridge that a network made is that network's, ours or not, and so are its rules about who comes on it."""
        if name in _made(self._networks()) or not self._is_bridge(name):
            raise NotFound("The bridge is not there.", detail=f"no bridge {name!r} of the host's own")

    def _networks(self) -> tuple[NetworkFacts, ...]:
        return tuple(those_there(self._session.libvirt().listAllNetworks(0), _facts))

    def _is_bridge(self, name: str) -> bool:
        """As far as libvirt tells of the host's interfaces: where it does not, starting the machine will."""
        try:
            found = network_xml.read_bridge(self._session.libvirt().interfaceLookupByName(name).XMLDesc(0))
        except libvirt.libvirtError as error:
            if is_missing(error):
                return False
            refuse_silence(error, what="look up a bridge")
            log.debug("libvirt does not tell of the host's interfaces: %s", error)
            return True
        return found is not None

    # -- the filter of all these cards: there as long as a machine has one, and as we make it today

    @property
    def _filter_name(self) -> str:
        return names.offered_filter(self._session.portal_id)

    def _filter(self) -> str:
        if self._session.is_test:
            return ""
        uid = uuid5(self._session.portal_id, "offered")
        text, found = network_xml.offered_filter(self._filter_name, uid), self._found_filter()
        if found is None or not network_xml.is_filter(found.XMLDesc(0), text):
            if found is not None and found.UUIDString() != str(uid):
                raise AlreadyExists(
                    "The hypervisor has a filter of the portal's name that the portal did not make. Whoever looks after the hypervisor has to remove it.",
                    detail=f"{self._filter_name} is {found.UUIDString()}",
                )
            self._session.libvirt().nwfilterDefineXML(text)
        return self._filter_name

    def renew(self, filters: Collection[str]) -> None:
        """Before a machine with these filters starts: it does not without them. Within ``calling``."""
        if self._filter_name in filters:
            self._filter()

    def give_back(self) -> None:
        """Remove the filter when no machine has it any more; one that is just being made finds it again when it starts."""
        found = None if self._session.is_test else self._found_filter()
        if found is None:
            return
        domains = self._session.libvirt().listAllDomains(0)
        if any(self._filter_name in used for used in those_there(domains, _filters_of)):
            return
        try:
            found.undefine()
        except libvirt.libvirtError as error:
            refuse_silence(error, what="remove a filter")
            log.info(
                "the filter %s stays: %s", self._filter_name, error
            )  # somebody started a machine with it meanwhile

    def _found_filter(self) -> Any | None:
        try:
            return self._session.libvirt().nwfilterLookupByName(self._filter_name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise


def _made(networks: Iterable[NetworkFacts]) -> set[str]:
    """The bridges that networks made for themselves."""
    return {facts.bridge for facts in networks if facts.forward != "bridge"}


def _facts(network: Any) -> NetworkFacts:
    return network_xml.read_network(network.XMLDesc(0))


def _filters_of(domain: Any) -> frozenset[str]:
    return domain_xml.read_domain(domain.XMLDesc(0)).filters
