"""The processor of a libvirt host, with every feature that it has: by these hosts are compared."""

from __future__ import annotations

import logging
import time

import libvirt

from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.failures import refuse_silence
from portal.hypervisors.libvirt.xml import Element, attribute_of, parse, text_of, write
from portal.hypervisors.specs import CpuFound

log = logging.getLogger(__name__)

# It changes with a restart of the host alone, and reading it takes longer than everything else of a compare.
KEEP_SECONDS = 900.0


class Processor:
    """Reads one connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: tuple[float, CpuFound] | None = None

    def found(self) -> CpuFound:
        """As it is, or was a few minutes ago; within ``calling``."""
        if self._kept is None or self._kept[0] < time.monotonic():
            self._kept = (time.monotonic() + KEEP_SECONDS, self._read())
        return self._kept[1]

    def _read(self) -> CpuFound:
        conn = self._session.libvirt()
        cpu = parse(conn.getCapabilities()).find("host/cpu")
        if cpu is None:
            return CpuFound()
        try:
            # The host's own list leaves out what its model implies; this spells it out.
            whole = conn.baselineCPU([write(cpu)], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES)
        except libvirt.libvirtError as error:
            refuse_silence(error, what="expand the processor's features")
            log.info("libvirt does not tell the features of its host's processor: %s", error)
            return _cpu(cpu, features=())
        return _cpu(cpu, features=features_of(parse(whole)))


def features_of(root: Element) -> tuple[str, ...]:
    """The features that a processor's description asks for, sorted."""
    return tuple(sorted(one.get("name") or "" for one in root.iterfind("feature") if one.get("policy") != "disable"))


def _cpu(cpu: Element, *, features: tuple[str, ...]) -> CpuFound:
    arch = text_of(cpu, "arch") or attribute_of(cpu, "arch", "name")
    return CpuFound(arch, text_of(cpu, "model"), text_of(cpu, "vendor"), features)
