"""An engine double with a driver on it, and what is made there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from portal.hypervisors.engine_found import MakingState
from portal.hypervisors.errors import Busy
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.specs import (
    Connection,
    DiskFound,
    DiskFromTemplate,
    DiskRef,
    DiskSpec,
    InitialRun,
    NicSpec,
    VmRef,
    VmSpec,
    VmStatus,
)
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.doubles.ovirt_engine.institute import key
from tests.hypervisors.ovirt_driver.replay import PORTAL

MIB = 1024**2
CLUSTER, DOMAIN = key("clusters", "main"), key("storagedomains", "vmstore")
PROFILE = key("vnicprofiles", "Institute", "students")
TEMPLATE, TEMPLATE_DISK = key("templates", "Tiny Linux", "1"), key("disks", "tiny-linux-1")
STRANGER, RUNNING = key("vms", "stranger-down"), key("vms", "stranger-up")


class Engine:
    """The double, and one driver."""

    def __init__(self, double: EngineDouble) -> None:
        self.double = double
        self._drivers: list[OvirtDriver] = []
        self.driver = self.connect()

    def connect(self, **more: Any) -> OvirtDriver:
        """Another driver on it."""
        own = {"username": self.double.username, "secrets": {"password": self.double.password}}
        given = {"ca_pem": self.double.ca_pem} | own | more
        made = OvirtDriver(Connection("ovirt", given.pop("address", self.double.url), PORTAL, uuid4(), **given))
        self._drivers.append(made)
        return made

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()

    def calls(self, *beginnings: str) -> list[str]:
        """What was asked since the last look."""
        found = self.double.calls(clear=True)
        return [call for call in found if call.startswith(beginnings)] if beginnings else found

    # -- things

    def spec(self, *, cards: int = 1, **more: Any) -> VmSpec:
        uid = uuid4()
        nics = tuple(
            NicSpec(uuid4(), f"52:54:00:{uid.hex[:2]}:{uid.hex[2:4]}:{n:02x}", "", "", PROFILE) for n in range(cards)
        )
        given = {"name": f"web-{uid.hex[:8]}", "cluster": CLUSTER} | more
        return VmSpec(uid, given.pop("name"), "a machine", 64, 2, given.pop("disks", ()), nics, **given)

    def thin(self, **more: Any) -> VmSpec:
        """A machine of the template that has a card of its own."""
        disk = DiskFromTemplate(DiskRef(uuid4(), DOMAIN), TEMPLATE_DISK)
        given = {"initial_run": InitialRun("web-1", "alice", ("ssh-ed25519 AAAA alice",))} | more
        return self.spec(template=TEMPLATE, template_disks=(disk,), **given)

    def disk(self) -> DiskFound:
        """One that is whole."""
        found = self.driver.create_disk(DiskSpec(uuid4(), DOMAIN, MIB))
        self.wait(lambda: self.record("disks", found.external_id)["status"] == "ok")
        return found

    def made(self, spec: VmSpec) -> VmRef:
        """One that is whole."""
        ref = self.driver.create_vm(spec)
        self.wait(lambda: self.driver.making(ref).state is MakingState.DONE)
        return ref

    def running(self, spec: VmSpec) -> VmRef:
        ref = self.made(spec)
        self.driver.run_vm(ref)
        self.wait(lambda: self.status(ref) is VmStatus.UP)
        return ref

    def status(self, ref: VmRef) -> VmStatus:
        found = self.driver.find_vm(ref.uid)
        assert found is not None
        return found.status

    def record(self, kind: str, uid: str) -> dict[str, Any]:
        """What the double keeps of a thing."""
        return self.double.things(kind)[uid]

    @staticmethod
    def wait(true: Callable[[], object], seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not _is(true):
            assert time.monotonic() < until
            time.sleep(0.02)


def _is(true: Callable[[], object]) -> bool:
    try:
        return bool(true())
    except Busy:
        return False
