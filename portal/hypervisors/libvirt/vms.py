"""Machines of ours. A domain without our mark is as good as absent: it is neither read out nor touched."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import libvirt

from portal.hypervisors.errors import AlreadyExists, Busy, HypervisorError, NetworkGone, NotFound
from portal.hypervisors.libvirt import domain_xml, marking, names, statuses
from portal.hypervisors.libvirt.accelerator import Accelerator
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.domain_xml import DiskSource, DomainFacts, OwnDisk, Parts
from portal.hypervisors.libvirt.failures import calling, is_missing, is_without_network, those_there
from portal.hypervisors.libvirt.networks import Networks
from portal.hypervisors.libvirt.storage import Storage
from portal.hypervisors.specs import DiskRef, NicSpec, VmFound, VmRef, VmSpec, VmStatus

log = logging.getLogger(__name__)

# A guest agent may never answer; libvirt's own default is to wait for ever.
AGENT_SECONDS = 3


class Machines:
    """The machines of one connection."""

    def __init__(self, session: Session, *, storage: Storage, networks: Networks, accelerator: Accelerator) -> None:
        self._session = session
        self._storage = storage
        self._networks = networks
        self._accelerator = accelerator

    # -- making and removing

    def create_vm(self, spec: VmSpec) -> VmRef:
        """Define it; a domain of ours with this uid is the one that an earlier call made."""
        ref = VmRef(uid=spec.uid, external_id=str(spec.uid))
        with calling("define machine"):
            there = self._domain(spec.uid)
            if there is not None:
                self._refuse_foreign(there, spec.uid)
                return ref
            self._refuse_name(spec)
            self._define(spec)
        return ref

    def _define(self, spec: VmSpec) -> None:
        try:
            self._session.libvirt().defineXML(domain_xml.domain(spec, self._parts(spec)))
        except (libvirt.libvirtError, HypervisorError):
            self._give_back(spec)
            raise

    def _parts(self, spec: VmSpec) -> Parts:
        return Parts(
            marker=self._session.marker(spec.uid),
            accelerator=self._accelerator.chosen(),
            password=fresh_password(),
            disks=tuple(self._disks(spec)),
            nics=tuple(self._networks.attach(nic) for nic in spec.nics),
            bare=self._session.is_test,
        )

    def _give_back(self, spec: VmSpec) -> None:
        """The addresses that its cards were promised, unless another call defined it meanwhile."""
        if not self._session.is_test and self._domain(spec.uid) is None:
            self._detach(set(_of_ours(spec.nics)), others=any(nic.offered for nic in spec.nics))

    def _detach(self, cards: set[tuple[str, str]], *, others: bool) -> None:
        """Give back what cards had. ``others``: there were cards on what is not ours, too."""
        for mac, network in cards:
            self._networks.detach(network, mac)
        if others:
            self._networks.offered.give_back()

    def _disks(self, spec: VmSpec) -> Iterator[DiskSource]:
        for ref in spec.disks:
            yield self._disk(ref)
        if spec.first_boot:
            yield replace(self._disk(spec.first_boot), format="raw", read_only=True)

    def _disk(self, ref: DiskRef) -> DiskSource:
        volume = self._storage.volume_name(ref)
        return DiskSource(ref.storage_domain, volume, "raw" if volume.endswith(".raw") else "qcow2")

    def _refuse_foreign(self, domain: Any, uid: UUID) -> None:
        if self._facts(domain).marker != self._session.marker(uid):
            raise AlreadyExists(detail=f"domain {domain.UUIDString()} bears another mark or none")

    def _refuse_name(self, spec: VmSpec) -> None:
        try:
            other = self._session.libvirt().lookupByName(spec.name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return
            raise
        if other.UUIDString() == str(spec.uid):
            return  # another call was faster
        raise AlreadyExists("A machine of this name is there already.", detail=f"{spec.name} is {other.UUIDString()}")

    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        """Undefine it and give its addresses back, also those that were reserved for a machine never defined."""
        cards, filters = set(_of_ours(nics)), frozenset[str]()
        with calling("undefine machine"):
            known = self._ours(ref.uid)
            if known is not None:
                domain, facts = known
                if domain.isActive():
                    raise Busy("The machine is running.", detail=f"domain {ref.uid} is active")
                self._undefine(domain)
                cards |= set(facts.nics)
                filters = facts.filters
            if not self._session.is_test:
                others = any(nic.offered for nic in nics) or names.offered_filter(self._session.portal_id) in filters
                self._detach(cards, others=others)

    @staticmethod
    def _undefine(domain: Any) -> None:
        everything = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )
        try:
            domain.undefineFlags(everything)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return
            if error.get_error_code() not in {libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG}:
                raise
            domain.undefine()  # the test driver knows few of the flags

    # -- other people's, taken into our care and given back

    def adopt_vm(self, external_id: str) -> VmRef:
        """Put our mark on it. Its own UUID is its uid here too, so that everything finds it as it finds what we made."""
        uid = _uuid(external_id)
        with calling("mark machine"):
            domain = self._domain(uid)
            if domain is None:
                raise NotFound("The machine is not there.", detail=f"no domain {external_id}")
            ours, there = self._session.marker(uid), self._facts(domain).marker
            if there is not None and there != ours:
                raise AlreadyExists(
                    "The machine bears another portal's mark, or is a copy of one of ours.", detail=f"domain {uid}"
                )
            if there is None:
                marking.put_mark(domain, ours)
        return VmRef(uid, external_id)

    def unadopt_vm(self, ref: VmRef) -> None:
        """Take our mark off."""
        with calling("unmark machine"):
            known = self._ours(ref.uid)
            if known is not None:
                marking.take_mark(self._session.libvirt(), known[0])

    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        """What the disks of machines promise; of each it is asked, for no description tells it."""
        with calling("measure disks"):
            domains = ((key, self._domain(_uuid(key))) for key in external_ids)
            there = those_there([known for known in domains if known[1] is not None], self._measured)
            return dict(there)

    def _measured(self, known: tuple[str, Any]) -> tuple[str, int | None]:
        external_id, domain = known
        disks = self._facts(domain).own_disks
        try:
            return external_id, sum(self._size_of(domain, disk) for disk in disks)
        except libvirt.libvirtError as error:
            if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
                raise
            log.info("a disk of %s cannot be measured: %s", external_id, error)  # its storage is not there, say
            return external_id, None

    def _size_of(self, domain: Any, disk: OwnDisk) -> int:
        """A machine that is off is not asked for a volume: libvirt 9.0 cannot look through its own pools there."""
        if not disk.volume:
            return int(domain.blockInfo(disk.target)[0])
        pool = self._session.libvirt().storagePoolLookupByName(disk.pool)
        return int(pool.storageVolLookupByName(disk.volume).info()[1])

    # -- reading

    def find_vm(self, uid: UUID) -> VmFound | None:
        """The machine as it is now."""
        with calling("look up machine"):
            known = self._ours(uid)
            return next(those_there([known], self._found), None) if known else None

    @staticmethod
    def _found(known: tuple[Any, DomainFacts]) -> VmFound:
        domain, facts = known
        state, reason = domain.state()[:2]
        return found(domain, facts, state=state, reason=reason)

    def ours(self, uid: UUID) -> tuple[Any, DomainFacts]:
        """A domain of ours with its facts. Raises ``NotFound``; call it within ``calling``."""
        known = self._ours(uid)
        if known is None:
            raise NotFound("The machine is not there.", detail=f"no domain {uid} of ours")
        return known

    def _ours(self, uid: UUID) -> tuple[Any, DomainFacts] | None:
        domain = self._domain(uid)
        if domain is None:
            return None
        # A copy that somebody made of one of ours bears the mark of that one.
        read = those_there([domain], self._facts)
        return next(((domain, facts) for facts in read if facts.marker == self._session.marker(uid)), None)

    def _domain(self, uid: UUID) -> Any | None:
        try:
            return self._session.libvirt().lookupByUUIDString(str(uid))
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    @staticmethod
    def _facts(domain: Any) -> DomainFacts:
        return domain_xml.read_domain(domain.XMLDesc(0))

    # -- power

    def run_vm(self, ref: VmRef) -> None:
        """Switch on, with the filters of its networks fresh; one that is paused goes on."""
        with calling("start machine"):
            domain, facts = self.ours(ref.uid)
            if domain.isActive():
                self._go_on(domain)
                return
            if not self._session.is_test:
                self._networks.refresh_filters({network for _mac, network in facts.nics})
                self._networks.offered.renew(facts.filters)
                domain = self._networks.offered.follow(domain, facts)
            try:
                self._unless_already(domain, domain.create, active=True)
            except libvirt.libvirtError as error:
                if is_without_network(error):
                    raise NetworkGone(detail=str(error)) from error
                raise

    @staticmethod
    def _go_on(domain: Any) -> None:
        """Somebody paused it, or an error of its disk did; that another call was faster is success."""
        if _is_paused(domain):
            try:
                domain.resume()
            except libvirt.libvirtError:
                if _is_paused(domain):
                    raise

    def stop_vm(self, ref: VmRef) -> None:
        """Cut the power. Of one that is suspended the memory that was saved is discarded."""
        with calling("stop machine"):
            domain, _facts = self.ours(ref.uid)
            if domain.isActive():
                self._unless_already(domain, domain.destroy, active=False)
            elif domain.hasManagedSaveImage(0):
                domain.managedSaveRemove(0)

    def shut_down_vm(self, ref: VmRef) -> None:
        """Press the power button, and tell the agent too where one listens."""
        with calling("shut machine down"):
            domain, facts = self.ours(ref.uid)
            if not domain.isActive():
                return
            if self._session.is_test:
                domain.shutdown()
                return
            self._unless_already(
                domain, lambda: domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN), active=False
            )
            if facts.agent_connected:
                self._by_agent(domain, lambda: domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT))

    def reboot_vm(self, ref: VmRef) -> None:
        """By the agent where one listens, else by the power button; by both it might go off."""
        with calling("reboot machine"):
            domain, facts = self.ours(ref.uid)
            if not domain.isActive() or _is_paused(domain):
                raise Busy("The machine is not running.", detail=f"domain {ref.uid} is off or paused")
            if self._session.is_test:
                domain.reboot(0)
                return
            told = facts.agent_connected and self._by_agent(
                domain, lambda: domain.reboot(libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT)
            )
            if not told:
                domain.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)

    @staticmethod
    def _unless_already(domain: Any, act: Any, *, active: bool) -> None:
        """Do it; that another call was faster is success."""
        try:
            act()
        except libvirt.libvirtError:
            if bool(domain.isActive()) != active:
                raise

    @staticmethod
    def _by_agent(domain: Any, act: Any) -> bool:
        try:
            domain.agentSetResponseTimeout(AGENT_SECONDS, 0)
            act()
        except libvirt.libvirtError as error:
            log.info("the guest agent did not take the request: %s", error)
            return False
        return True


def found(domain: Any, facts: DomainFacts, *, state: int, reason: int) -> VmFound:
    """What crosses the edge, from a domain's facts and its state; within ``calling``."""
    status, why = statuses.status(state, reason)
    if status is VmStatus.SUSPENDED and not _has_saved(domain):
        status = VmStatus.DOWN  # the reason outlives what was saved
    if why == statuses.IO_ERROR:
        why = _disk_error(domain)
    return VmFound(
        external_id=str(facts.uuid),
        name=facts.name,
        marker=facts.marker,
        status=status,
        status_detail=why,
        memory_mib=facts.memory_mib,
        vcpus=facts.vcpus,
        macs=tuple(mac for mac, _network in facts.nics),
        disks=facts.disks,
        accelerated=facts.accelerated,
        is_copy=facts.marker is not None and facts.marker.uid != facts.uuid,
    )


def _has_saved(domain: Any) -> bool:
    """Whether a suspended machine can go on: it sleeps by itself, or its memory was saved and not discarded since."""
    try:
        return bool(domain.isActive() or domain.hasManagedSaveImage(0))
    except libvirt.libvirtError as error:
        if is_missing(error):
            return False  # it went since it was listed
        raise


def _is_paused(domain: Any) -> bool:
    return statuses.status(*domain.state()[:2])[0] is VmStatus.PAUSED


def _disk_error(domain: Any) -> str:
    """Whether a disk error that paused a machine was for want of room; libvirt's reason does not tell."""
    try:
        errors = domain.diskErrors(0) or {}
    except libvirt.libvirtError as error:
        log.info("no word on a disk error: %s", error)  # the machine went on or off meanwhile
        return statuses.IO_ERROR
    return statuses.NO_SPACE if libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE in errors.values() else statuses.IO_ERROR


def _uuid(external_id: str) -> UUID:
    try:
        return UUID(external_id)
    except ValueError as error:
        raise NotFound("The machine is not there.", detail=f"{external_id!r} is no UUID") from error


def _of_ours(nics: tuple[NicSpec, ...]) -> Iterator[tuple[str, str]]:
    """(MAC, network) of the cards that addresses were set aside for: on what is not ours there are none."""
    return ((nic.mac.lower(), nic.network) for nic in nics if not nic.offered)


def fresh_password() -> str:
    """A display password: VNC takes eight characters and no more."""
    return secrets.token_urlsafe(6)
