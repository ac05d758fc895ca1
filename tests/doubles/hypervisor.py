"""A double of a hypervisor: behaves like libvirt's driver towards the portal, and suffers faults on demand.

Its state outlives processes and is shared by them: web, worker and watcher are several, and workers get killed. Registered
by ``HYPERVISOR_DRIVERS = {"double": "tests.doubles.hypervisor.DoubleDriver"}``; its address is ``double:///a/folder``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from portal.hypervisors.base import Watch, no_progress
from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.specs import (
    About,
    BridgeFound,
    Capabilities,
    Change,
    CpuFound,
    HostFound,
    Inventory,
    VmStatus,
)
from tests.doubles.hypervisor_machines import ON_THE_WAY, DoubleMachines, DoubleNetworks, network_found
from tests.doubles.hypervisor_state import every

REST_SECONDS = 0.5  # what was written in the moment between a look and a rest is seen after it


class DoubleWatch(Watch):
    """Sees changes by looking when somebody wrote, and often while time makes some."""

    def __init__(self, driver: DoubleDriver) -> None:
        self._driver = driver
        self._seen = driver.statuses()

    def next(self, *, timeout: float) -> list[Change]:
        until = time.monotonic() + timeout
        while True:
            with self._driver.call("watch_next"):
                now = self._driver.statuses()
            changed = [uid for uid in self._seen.keys() | now.keys() if self._seen.get(uid) != now.get(uid)]
            self._seen = now
            if changed or time.monotonic() >= until:
                return [Change(external_id=uid, what=str(now.get(uid, "gone"))) for uid in changed]
            self._rest(until)

    def _rest(self, until: float) -> None:
        """To look is a call with a line in the log: while nothing happens it would be the most that a watching process does."""
        written, until = self._driver.store.written(), min(until, time.monotonic() + REST_SECONDS)
        time.sleep(0.02)
        while time.monotonic() < until and self._driver.store.written() == written and not self._is_on_its_way():
            time.sleep(0.02)

    def _is_on_its_way(self) -> bool:
        return any(status in ON_THE_WAY for status in self._seen.values())

    def close(self) -> None:
        """Nothing to give back."""


class DoubleDriver(DoubleMachines, DoubleNetworks):
    """See the module."""

    kind = "double"
    has_clusters = False
    display_ports = range(1, 65536)  # whatever is free where the tests run

    @classmethod
    def is_here(cls, address: str) -> bool:
        return True

    def surroundings(self, neighbours: tuple[str, ...] = ()) -> tuple[Probe, ...]:
        return (Probe("clock", self._clock),)

    def _clock(self) -> Finding:
        with self.call("clock"):
            return Finding("clock", data={"skew_seconds": str(self.store.setting("skew_seconds"))})

    def close(self) -> None:
        """Nothing to give back."""

    def about(self) -> About:
        with self.call("about"):
            return About(product="Double", api_version="1", host_name="double", **self.store.setting("manager"))

    def capabilities(self) -> Capabilities:
        with self.call("capabilities"):
            return Capabilities(screenshots=True, accelerated=bool(self.store.setting("accelerated")))

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        about = self.about()
        with self.call("inventory"), self.store.open() as db:
            bridges = tuple(BridgeFound(name, bool(body["active"])) for name, body in every(db, "bridge").items())
            cpu = self.store.setting("cpu")
            host = HostFound(
                "double", str(self.store.setting("host_name")), "up", 8, 32768, 16384, str(self.store.setting("version")),
                "kvm" if self.store.setting("accelerated") else "tcg", bridges,
                CpuFound(**cpu | {"features": tuple(cpu["features"])}), tells_bridges=True,
            )  # fmt: skip
            return Inventory(
                about=about,
                hosts=(host,),
                storage_domains=tuple(self._storage_found(db, name) for name in every(db, "storage_domain")),
                networks=tuple(network_found(uid, body) for uid, body in every(db, "network").items()),
                vms=tuple(self._vm_found(uid, body) for uid, body in every(db, "vm").items()),
            )

    def watch(self) -> Watch:
        with self.call("watch"):
            return DoubleWatch(self)

    def statuses(self) -> dict[str, VmStatus]:
        """Every machine's status now."""
        with self.store.open() as db:
            return {uid: self._status(body) for uid, body in every(db, "vm").items()}
