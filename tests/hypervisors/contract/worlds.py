"""The hypervisors that the contract suite runs against, and what a stranger does on them behind the portal's back."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import struct
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import libvirt
from lxml import etree

from portal.hypervisors.base import Driver
from portal.hypervisors.libvirt.driver import BARE, LibvirtDriver
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
        kinds = ("vm", "disk", "network", "storage_domain")
        return {f"{kind} {key}": repr(body) for kind in kinds for key, body in self.double.things(kind).items()}

    def descriptions(self, external_id: str) -> list[str]:
        return [self.double.things("vm")[external_id]["description"]]

    def _put(self, kind: str, key: str, body: dict[str, Any]) -> None:
        with self.double.store.change() as db:
            put(db, kind, key, body)


class LibvirtWorld(World):
    """What is common to libvirt's built-in test driver and real QEMU: a connection of the tests' own beside the driver's."""

    uri: ClassVar[str]
    domain_type: ClassVar[str]
    options: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._raw = libvirt.open(self.uri)
        self._before = set(self.dump())

    @property
    def raw(self) -> Any:
        """The connection; another one after libvirtd was killed."""
        if not self._raw.isAlive():
            self._raw = libvirt.open(self.uri)
        return self._raw

    def connect(self, portal_id: UUID) -> Driver:
        return LibvirtDriver(Connection("libvirt", self.uri, portal_id, uuid4(), options=self.options))

    def strangers(self) -> Strangers:
        network, pool = uuid4(), f"institute-{self.portal_id.hex[:8]}"
        name = f"lan-{network.hex[:8]}"
        self.raw.networkDefineXML(
            f"<network><name>{name}</name><uuid>{network}</uuid><forward mode='nat'/>"
            f"<bridge name='br{network.hex[:8]}'/><ip address='{self.cidr()[:-4]}1' prefix='24'/></network>"
        ).create()
        made = self.raw.storagePoolDefineXML(
            f"<pool type='dir'><name>{pool}</name><target><path>{IMAGES}/{pool}</path></target></pool>"
        )
        made.build(0)
        made.create(0)
        made.createXML(f"<volume><name>golden.img</name><capacity>{SMALL}</capacity></volume>", 0)
        machine, running = uuid4(), uuid4()
        self.plant(machine, f"mail-{machine.hex[:8]}")
        self.plant(
            running,
            f"web-{running.hex[:8]}",
            devices=f"<interface type='network'><source network='{name}'/></interface>",
        )
        self.set_state(str(running), "up")
        return Strangers(machine, running, network, name, pool, "golden.img")

    def plant(self, uid: UUID, name: str, devices: str = "") -> None:
        self.raw.defineXML(
            f"<domain type='{self.domain_type}'><name>{name}</name><uuid>{uid}</uuid><memory unit='MiB'>32</memory>"
            f"<os><type>hvm</type></os><devices>{devices}</devices></domain>"
        )

    def copy(self, ref: VmRef) -> str:
        copy = uuid4()
        root = self._described(ref.external_id)
        root.find("uuid").text, root.find("name").text = str(copy), f"copy-{copy.hex[:8]}"
        self.raw.defineXML(etree.tostring(root, encoding="unicode"))
        return str(copy)

    def set_state(self, external_id: str, state: str) -> None:
        domain = self.raw.lookupByUUIDString(external_id)
        {"up": domain.create, "down": domain.destroy, "paused": domain.suspend}[state]()

    def stop_network(self, uid: UUID) -> None:
        self.raw.networkLookupByUUIDString(str(uid)).destroy()

    def dump(self) -> Dump:
        domains = {f"vm {each.UUIDString()}": _describe(each) for each in self.raw.listAllDomains(0)}
        networks = {f"network {each.UUIDString()}": each.XMLDesc(0) for each in self.raw.listAllNetworks(0)}
        pools = {f"storage_domain {each.name()}": _pool(each) for each in self.raw.listAllStoragePools(0)}
        volumes = {
            f"disk {name}": text for pool in self.raw.listAllStoragePools(0) for name, text in self._volumes(pool)
        }
        return domains | networks | pools | volumes | self._filters()

    def descriptions(self, external_id: str) -> list[str]:
        return [each.text for each in self._described(external_id).iter("description", "title")]

    def _described(self, external_id: str) -> etree._Element:
        # libvirt keeps a carriage return and writes it as it is, which a reader of XML would take for a line end.
        return etree.fromstring(self.raw.lookupByUUIDString(external_id).XMLDesc(0).replace("\r", "&#13;"))

    def _volumes(self, pool: Any) -> Iterator[tuple[str, str]]:
        for volume in pool.listAllVolumes(0) if pool.isActive() else ():
            yield f"{pool.name()}/{volume.name()}", volume.XMLDesc(0)

    def _filters(self) -> Dump:
        return {}

    def close(self) -> None:
        super().close()
        left = self.dump().keys() - self._before
        for kind in ("vm ", "network ", "filter ", "storage_domain "):
            for key in left:
                if key.startswith(kind):
                    self._remove(kind, key.removeprefix(kind))
        self.raw.close()

    def _remove(self, kind: str, name: str) -> None:
        find = {
            "vm ": self.raw.lookupByUUIDString, "network ": self.raw.networkLookupByUUIDString,
            "filter ": self.raw.nwfilterLookupByName, "storage_domain ": self.raw.storagePoolLookupByName,
        }  # fmt: skip
        found = find[kind](name)
        if kind != "filter " and found.isActive():
            found.destroy()
        found.undefine()


class MemoryWorld(LibvirtWorld):
    """libvirt's built-in test driver: everything in this process's memory, shared by its connections."""

    capabilities = BARE
    has_guests = True
    uri = "test:///default"
    domain_type = "test"

    def remove_disk(self, storage_domain: str, disk: str) -> None:
        self.raw.storagePoolLookupByName(storage_domain).storageVolLookupByName(disk).delete(0)

    def put_volume(self, storage_domain: str, disk: str, content: bytes) -> None:
        raise AssertionError("it stores no bytes")

    def full_storage(self, driver: Driver) -> str:
        raise AssertionError("it stores no bytes")

    def content(self, storage_domain: str, disk: str) -> str:
        raise AssertionError("it stores no bytes")


class QemuWorld(LibvirtWorld):
    """Real libvirt and QEMU."""

    capabilities = Capabilities(screenshots=True, accelerated=False)
    uri = "qemu:///system"
    domain_type = "qemu"
    options: ClassVar = {"accelerator": "tcg"}  # which works everywhere; what is chosen otherwise is tried elsewhere

    def remove_disk(self, storage_domain: str, disk: str) -> None:
        (IMAGES / storage_domain / disk).unlink()

    def put_volume(self, storage_domain: str, disk: str, content: bytes) -> None:
        (IMAGES / storage_domain / disk).write_bytes(content)
        self.raw.storagePoolLookupByName(storage_domain).refresh(0)

    def __init__(self) -> None:
        super().__init__()
        self._mounted: list[Path] = []

    def full_storage(self, driver: Driver) -> str:
        """A file system of its own beneath the storage domain, smaller than the smallest image."""
        return self.mounted(driver, "full", "-t", "tmpfs", "-o", "size=65536", "small")

    def mounted(self, driver: Driver, suffix: str, *what: str) -> str:
        """A storage domain of ours on a file system of its own."""
        folder = IMAGES / f"{prefix(self.portal_id)}-{suffix}"
        folder.mkdir(parents=True)
        subprocess.run(["mount", *what, str(folder)], check=True, timeout=30)
        self._mounted.append(folder)
        folder.chmod(0o711)
        return self.storage(driver, suffix)

    def content(self, storage_domain: str, disk: str) -> str:
        return hashlib.sha256((IMAGES / storage_domain / disk).read_bytes()).hexdigest()

    def _volumes(self, pool: Any) -> Iterator[tuple[str, str]]:
        for name, _text in super()._volumes(pool):
            if (file := IMAGES / name).is_dir():
                continue
            about = file.stat()
            yield name, f"{self.content(*name.split('/'))} {about.st_mode:o} {about.st_uid} {about.st_mtime_ns}"

    def _filters(self) -> Dump:
        return {f"filter {each.name()}": each.XMLDesc(0) for each in self.raw.listAllNWFilters(0)}

    def close(self) -> None:
        super().close()
        for folder in self._mounted:
            subprocess.run(["umount", str(folder)], check=True, timeout=30)
        for folder in IMAGES.glob(f"*{prefix(self.portal_id).removeprefix('stegi')}*"):
            shutil.rmtree(folder)


def _describe(domain: Any) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)) + str(domain.isActive())


def _pool(pool: Any) -> str:
    """The figures of a folder are those of the whole file system, where others write too."""
    lines = str(pool.XMLDesc(0)).splitlines()
    return "\n".join(line for line in lines if "allocation" not in line and "available" not in line)
