"""Disks, networks and machines to try promises on."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID, uuid4

from portal.hypervisors.base import Driver
from portal.hypervisors.engine_found import MakingState
from portal.hypervisors.errors import Busy
from portal.hypervisors.specs import (
    DiskRef,
    DiskSpec,
    NetworkFound,
    NetworkSpec,
    NicSpec,
    VmFound,
    VmRef,
    VmSpec,
    VmStatus,
)
from tests.hypervisors.contract.worlds import World

T = TypeVar("T")
MIB = 1024**2
# Starting, stopping and rebooting take a moment on a hypervisor; this much on a machine that is busy with other tests.
SECONDS = 60
ON = {VmStatus.UP, VmStatus.POWERING_UP, VmStatus.WAIT_FOR_LAUNCH}


def eventually(true: Callable[[], Any], what: str) -> None:
    """Look again and again."""
    until = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < until, f"{what}: not within {SECONDS} s"
        time.sleep(0.02)


def again_while_busy(call: Callable[[], T]) -> T:
    """What the engine does: ``Busy`` is worth another try."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return call()
        except Busy:
            assert time.monotonic() < until, f"busy for {SECONDS} s"
            time.sleep(0.01)


def at_once(world: World, call: Callable[[Driver], T], *, count: int = 4) -> list[T]:
    """Several workers with a connection each, released together."""
    gate = threading.Barrier(count)

    def work(driver: Driver) -> T:
        gate.wait(SECONDS)
        return again_while_busy(lambda: call(driver))

    drivers = [world.driver() for _ in range(count)]
    for driver in drivers:
        driver.about()
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, drivers))


def new_mac() -> str:
    """A MAC address of QEMU's range."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


class Things:
    """Made through the driver, under uids of their own."""

    def __init__(self, world: World, driver: Driver) -> None:
        self.world = world
        self.driver = driver

    def disk_spec(self, pool: str = "", **more: Any) -> DiskSpec:
        return DiskSpec(uuid4(), pool or self.world.storage(self.driver), MIB, **more)

    def disk(self, pool: str = "", **more: Any) -> DiskRef:
        return self.driver.create_disk(self.disk_spec(pool, **more)).ref

    def delete_disk(self, ref: DiskRef) -> None:
        """As the engine does: again while it is busy, until it is gone."""
        again_while_busy(lambda: self.driver.delete_disk(ref))
        eventually(lambda: self.driver.find_disk(ref) is None, "the disk to be gone")

    def network_spec(self, **more: Any) -> NetworkSpec:
        uid = more.pop("uid", None) or uuid4()
        return NetworkSpec(
            uid, more.pop("name", f"lan-{uid.hex[:8]}"), more.pop("cidr", "") or self.world.cidr(), **more
        )

    def network(self) -> NetworkFound:
        """A network for cards: one of our own where there can be any, else one that is there."""
        if self.world.capabilities.networks:
            return self.driver.create_network(self.network_spec())
        return next(one for one in self.driver.inventory().networks if one.profiles)

    def nic(self, network: NetworkFound) -> NicSpec:
        profile = network.profiles[0].external_id if network.profiles else ""
        return NicSpec(uuid4(), new_mac(), network.external_id, network.filter, profile)

    def vm_spec(self, *, disks: tuple[DiskRef, ...] = (), nics: tuple[NicSpec, ...] = (), **more: Any) -> VmSpec:
        uid = more.pop("uid", None) or uuid4()
        name = more.pop("name", f"web-{uid.hex[:8]}")
        cluster = more.pop("cluster", self.world.cluster)
        return VmSpec(uid, name, more.pop("description", "a machine"), 32, 1, disks, nics, cluster=cluster, **more)

    def vm(self, **more: Any) -> VmRef:
        return self.made(self.vm_spec(**more))

    def made(self, spec: VmSpec) -> VmRef:
        """Accepted, and its making done."""
        ref = again_while_busy(lambda: self.driver.create_vm(spec))
        eventually(lambda: self.driver.making(ref).state is not MakingState.WORKING, "the machine to be made")
        assert self.driver.making(ref).state is MakingState.DONE
        return ref

    def bootable(self, **more: Any) -> VmRef:
        """One that can be run."""
        has_disk = self.world.boots_without_disk or "disks" in more
        return self.vm(**more) if has_disk else self.vm(disks=(self.disk(),), **more)

    def running(self, **more: Any) -> VmRef:
        ref = self.bootable(**more)
        self.driver.run_vm(ref)
        return ref

    def stop(self, ref: VmRef) -> None:
        """Off, and seen off."""
        self.driver.stop_vm(ref)
        self.wait_for(ref, VmStatus.DOWN)

    def delete(self, ref: VmRef) -> None:
        """Gone, and seen gone."""
        self.driver.delete_vm(ref)
        eventually(lambda: self.driver.find_vm(ref.uid) is None, "the machine to be gone")

    def found(self, uid: UUID) -> VmFound:
        found = self.driver.find_vm(uid)
        assert found is not None, f"no machine {uid}"
        return found

    def status(self, ref: VmRef) -> VmStatus:
        return self.found(ref.uid).status

    def wait_for(self, ref: VmRef, *wanted: VmStatus) -> None:
        eventually(lambda: self.status(ref) in wanted, f"the machine to be {' or '.join(wanted)}")
