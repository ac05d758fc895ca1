"""The hypervisors that the contract suite runs against, and what a stranger does on them behind the portal's back."""

from __future__ import annotations

import hashlib
import itertools
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

from portal.hypervisors.base import Driver
from portal.hypervisors.specs import Capabilities, Connection, VmRef
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_state import HypervisorDouble, get, put

IMAGES = Path("/var/lib/libvirt/images")
SMALL = 1024 * 1024
_ranges = itertools.count(1)

Dump = dict[str, str]


def prefix(portal_id: UUID) -> str:
    """What the names of a portal's own things begin with."""
    return f"stegi-{portal_id.hex[:8]}"


@dataclass(frozen=True)
class Strangers:
    """Things that nobody's portal made: two machines (one runs), a network, a disk in a storage domain."""

    machine: UUID
    running: UUID
    network: UUID
    network_name: str
    storage_domain: str
    disk: str
    promised: int = 0  # bytes, by the disks of the first machine


class World(ABC):
    """One hypervisor with one portal, and another portal beside it."""

    capabilities: ClassVar[Capabilities]
    has_guests: ClassVar[bool] = False  # machines can be made to run something that listens
    boots_without_disk: ClassVar[bool] = True
    cluster = ""  # where machines are made, on what has clusters

    def __init__(self) -> None:
        self.portal_id = uuid4()
        self.other_portal_id = uuid4()
        self._drivers: list[Driver] = []

    def driver(self, portal_id: UUID | None = None) -> Driver:
        """A connection of its own, as another process of the portal (or of another portal) has it."""
        driver = self.connect(portal_id or self.portal_id)
        self._drivers.append(driver)
        return driver

    def close(self) -> None:
        """Remove everything that the test left."""
        for driver in self._drivers:
            driver.close()

    def storage(self, driver: Driver, suffix: str = "") -> str:
        """A storage domain of this portal's own; its external id."""
        name = prefix(self.portal_id) + (f"-{suffix}" if suffix else "")
        return driver.ensure_storage_domain(name, path=f"{IMAGES}/{name}").external_id

    def storage_of_others(self, driver: Driver) -> str:
        """A storage domain where the other portal's driver keeps its disks; its external id."""
        pool = prefix(self.other_portal_id)
        return driver.ensure_storage_domain(pool, path=f"{IMAGES}/{pool}").external_id

    @staticmethod
    def cidr() -> str:
        """A range that no other test uses."""
        high, low = divmod(next(_ranges), 256)
        return f"10.{98 + high}.{low}.0/24"

    @abstractmethod
    def connect(self, portal_id: UUID) -> Driver: ...

    @abstractmethod
    def strangers(self) -> Strangers:
        """Plant what others have."""

    @abstractmethod
    def copy(self, ref: VmRef) -> str:
        """Define a copy of a machine, mark and all, under another id, which is returned, and name."""

    @abstractmethod
    def set_state(self, external_id: str, state: str) -> None:
        """Out of band: "up", "down", "paused"."""

    @abstractmethod
    def stop_network(self, uid: UUID) -> None: ...

    def bridge(self) -> str:
        """A bridge of the host's own; its name."""
        raise AssertionError("it has no host of its own")

    def remove_bridge(self, name: str) -> None:
        """Remove it by hand."""
        raise AssertionError("nothing here looks at bridges")

    def cards(self, external_id: str) -> list[tuple[str, str]]:
        """On what the cards of a machine are: ("network" or "bridge", name)."""
        raise AssertionError("its cards are on vNIC profiles")

    def remove_filters(self) -> None:
        """Remove those of cards on what is not ours, where filters are things of their own."""
        assert not [key for key in self.dump() if "filter " in key]

    @abstractmethod
    def remove_disk(self, storage_domain: str, disk: str) -> None:
        """Remove it by hand."""

    @abstractmethod
    def put_volume(self, storage_domain: str, disk: str, content: bytes) -> None:
        """Somebody else's volume, by hand."""

    @abstractmethod
    def full_storage(self, driver: Driver) -> str:
        """Make a storage domain of ours in which no disk has room."""

    @abstractmethod
    def content(self, storage_domain: str, disk: str) -> str:
        """The SHA-256 of a disk's bytes."""

    def make_slowly(self, seconds: float) -> None:
        """Let the making of machines from templates take so long."""
        raise AssertionError("it makes a machine within the call")

    def fail_next_making(self) -> None:
        """Let the next machine from a template be accepted, and its making fail."""
        raise AssertionError("it makes a machine within the call")

    @abstractmethod
    def dump(self) -> Dump:
        """Everything there is as the hypervisor itself describes it, by kind and name."""

    @abstractmethod
    def descriptions(self, external_id: str) -> list[str]:
        """The text of each element that describes a machine in words."""


class DoubleWorld(World):
    """The double."""

    capabilities = Capabilities(screenshots=True)
    has_guests = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.double = HypervisorDouble(folder / "double")

    def connect(self, portal_id: UUID) -> Driver:
        return DoubleDriver(Connection("double", self.double.address, portal_id, uuid4()))

    def strangers(self) -> Strangers:
        nobody = {"marker": None}
        network, pool, disk = uuid4(), "institute", "golden.qcow2"
        self._put("network", str(network), {"name": "default", "cidr": "192.168.122.0/24", "leases": {}} | nobody)
        self._put("storage_domain", pool, {"path": "/institute"} | nobody)
        content = {"storage_domain": pool, "base": "", "size": 1, "allocated": 1, "sha256": "golden"}
        self._put("disk", disk, content | nobody)
        machine, running = self.double.plant_vm("mail"), self.double.plant_vm("web", state="up")
        self.double.set_vm(running, nics=[{"mac": "52:54:00:00:00:99", "network": "default", "filter": ""}])
        return Strangers(UUID(machine), UUID(running), network, "default", pool, disk)

    def copy(self, ref: VmRef) -> str:
        copy = str(uuid4())
        self._put("vm", copy, self.double.things("vm")[ref.external_id] | {"name": "copy"})
        return copy

    def set_state(self, external_id: str, state: str) -> None:
        self.double.set_vm(external_id, state=state)

    def stop_network(self, uid: UUID) -> None:
        with self.double.store.change() as db:
            put(db, "network", str(uid), (get(db, "network", str(uid)) or {}) | {"active": False})

    def bridge(self) -> str:
        self._put("bridge", "br0", {"active": True})
        return "br0"

    def remove_bridge(self, name: str) -> None:
        self.double.remove("bridge", name)

    def cards(self, external_id: str) -> list[tuple[str, str]]:
        nics = self.double.things("vm")[external_id]["nics"]
        return [("bridge", nic["bridge"]) if "bridge" in nic else ("network", nic["network"]) for nic in nics]

    def remove_disk(self, storage_domain: str, disk: str) -> None:
        self.double.remove("disk", disk)

    def put_volume(self, storage_domain: str, disk: str, content: bytes) -> None:
        (backing,) = struct.unpack_from(">Q", content, 8)
        head = {"format": "qcow2" if content.startswith(b"QFI") else "raw", "head": content.hex()}
        body = {"storage_domain": storage_domain, "base": "below" if backing else "", "size": SMALL, "marker": None}
        self._put("disk", disk, body | head | {"allocated": 1, "sha256": hashlib.sha256(content).hexdigest()})

    def full_storage(self, driver: Driver) -> str:
        self.double.configure(capacity_bytes=1024)
        return self.storage(driver, "full")

    def content(self, storage_domain: str, disk: str) -> str:
        return str(self.double.things("disk")[disk]["sha256"])

    def dump(self) -> Dump:
        kinds = ("vm", "disk", "network", "storage_domain", "bridge")
        return {f"{kind} {key}": repr(body) for kind in kinds for key, body in self.double.things(kind).items()}

    def descriptions(self, external_id: str) -> list[str]:
        return [self.double.things("vm")[external_id]["description"]]

    def _put(self, kind: str, key: str, body: dict[str, Any]) -> None:
        with self.double.store.change() as db:
            put(db, kind, key, body)
