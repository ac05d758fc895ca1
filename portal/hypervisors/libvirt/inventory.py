"""Everything a libvirt has, in a number of calls that does not grow with its machines, as long as these do not change.

States come in bulk. What a machine is (mark, cards, disks) is in its XML, one call each; so that is kept, and dropped when
libvirt tells that the machine was defined anew, changed or removed. Events end with the connection, and so does the memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from portal.hypervisors.base import no_progress
from portal.hypervisors.libvirt import domain_xml, names
from portal.hypervisors.libvirt.accelerator import Accelerator
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.domain_xml import DomainFacts
from portal.hypervisors.libvirt.failures import calling, is_missing, those_there
from portal.hypervisors.libvirt.networks import Networks
from portal.hypervisors.libvirt.processor import Processor
from portal.hypervisors.libvirt.storage import Storage
from portal.hypervisors.libvirt.vms import found
from portal.hypervisors.libvirt.xml import parse, text_of
from portal.hypervisors.specs import About, HostFound, Inventory, VmFound

log = logging.getLogger(__name__)

# Even what no event contradicted is read again after this long.
KEEP_SECONDS = 900.0

_KINDS = (libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE)
_CHANGING = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
)


@dataclass(frozen=True, slots=True)
class _Kept:
    facts: DomainFacts
    until: float


class Inventories:
    """Reads one connection."""

    def __init__(self, session: Session, *, storage: Storage, networks: Networks, accelerator: Accelerator) -> None:
        self._session = session
        self._storage = storage
        self._networks = networks
        self._accelerator = accelerator
        self._processor = Processor(session)
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._generation = 0
        self._is_listening: bool | None = None
        self._host_uuid: str | None = None  # it stays while the daemon runs

    def about(self) -> About:
        """Product and versions, and which host it is: a firmware's UUID alone may be that of all boards of a maker."""
        with calling("read version"):
            conn = self._session.libvirt()
            if self._host_uuid is None:
                self._host_uuid = text_of(parse(conn.getCapabilities()), "host/uuid")
            return About(
                product=str(conn.getType()),
                version=_version(conn.getVersion()),
                api_version=_version(conn.getLibVersion()),
                host_name=str(conn.getHostname()),
                identity=f"{conn.getHostname()}/{self._host_uuid}" if self._host_uuid else "",
            )

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        """Everything, ours and others'."""
        about = self.about()
        host = self._host(about)
        progress()
        with calling("read everything"):
            conn = self._session.libvirt()
            networks = tuple(those_there(conn.listAllNetworks(0), self._networks.found))
            bridges, is_all = self._networks.bridges(networks)
            progress()
            pools = tuple(those_there(conn.listAllStoragePools(0), self._storage.found_now))
            progress()
            return Inventory(
                about=about,
                hosts=(replace(host, bridges=bridges, tells_bridges=is_all),),
                storage_domains=pools,
                networks=networks,
                vms=tuple(self._vms(conn, progress)),
            )

    def _host(self, about: About) -> HostFound:
        accelerator = self._accelerator.chosen()
        with calling("read host"):
            conn = self._session.libvirt()
            _model, memory_mib, cpus, *_topology = conn.getInfo()
            total_mib, free_mib = _memory(conn)
            return HostFound(
                external_id=about.host_name,
                name=about.host_name,
                status="up",
                cpus=int(cpus),
                memory_mib=total_mib or int(memory_mib),
                memory_free_mib=free_mib,
                version=f"{about.product} {about.version}",
                accelerator=accelerator,
                cpu=self._processor.found(),
            )

    def _vms(self, conn: Any, progress: Callable[[], None]) -> Iterator[VmFound]:
        self._listen(conn)
        seen = set()
        for kind in _KINDS:
            for domain, stats in self._states(conn, kind):
                uuid = domain.UUIDString()
                facts = self._facts(domain, uuid)
                progress()
                if facts is not None and uuid not in seen and not names.is_probe(facts.name):
                    state, reason = stats.get("state.state", 0), stats.get("state.reason", 0)
                    yield found(domain, facts, state=state, reason=reason)
                seen.add(uuid)
        with self._lock:
            self._kept = {uuid: kept for uuid, kept in self._kept.items() if uuid in seen}

    def _states(self, conn: Any, kind: int) -> list[tuple[Any, dict[str, int]]]:
        if self._session.is_test:
            return self._states_one_by_one(conn, kind)
        states: list[tuple[Any, dict[str, int]]] = conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, kind)
        return states

    @staticmethod
    def _states_one_by_one(conn: Any, kind: int) -> list[tuple[Any, dict[str, int]]]:
        """The test driver has no statistics."""
        listed = conn.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE if kind == _KINDS[0] else libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE
        )
        states = those_there(listed, lambda domain: (domain, domain.state()))
        return [(domain, {"state.state": state[0], "state.reason": state[1]}) for domain, state in states]

    # -- what is kept

    def _facts(self, domain: Any, uuid: str) -> DomainFacts | None:
        with self._lock:
            kept, generation = self._kept.get(uuid), self._generation
        if kept is not None and kept.until > time.monotonic():
            return kept.facts
        try:
            facts = domain_xml.read_domain(domain.XMLDesc(0))
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise
        with self._lock:
            # An event that came while it was read may be about it: then it is not kept.
            if self._is_listening and generation == self._generation:
                self._kept[uuid] = _Kept(facts, time.monotonic() + KEEP_SECONDS)
        return facts

    def _listen(self, conn: Any) -> None:
        if self._is_listening is not None:
            return
        try:
            for event in _CHANGING:
                conn.domainEventRegisterAny(None, event, self._changed, None)
            self._is_listening = True
        except libvirt.libvirtError as error:
            log.debug("no events, so nothing is kept: %s", error)
            self._is_listening = False

    def _changed(self, _conn: Any, domain: Any, *_rest: Any) -> None:
        self.forget(domain.UUIDString())

    def forget(self, uuid: str) -> None:
        """A machine changed: what is kept of it is old, and what is being read of it may be."""
        with self._lock:
            self._generation += 1
            self._kept.pop(uuid, None)


def _version(number: int) -> str:
    """libvirt packs a version as major * 1,000,000 + minor * 1,000 + release."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _memory(conn: Any) -> tuple[int, int]:
    """Total and free, of one source: what libvirt says elsewhere counts the first NUMA nodes only, on some machines."""
    try:
        stats = conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
    except libvirt.libvirtError as error:
        log.debug("no memory figures: %s", error)
        return 0, 0
    free = sum(int(stats.get(part, 0)) for part in ("free", "buffers", "cached"))
    return int(stats.get("total", 0)) // 1024, free // 1024
