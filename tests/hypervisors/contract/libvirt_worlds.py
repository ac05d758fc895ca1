"""The worlds of libvirt: its built-in test driver, and real QEMU."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import libvirt
from lxml import etree

from portal.hypervisors.base import Driver
from portal.hypervisors.libvirt.driver import BARE, LibvirtDriver
from portal.hypervisors.specs import Capabilities, Connection, VmRef
from tests.hypervisors.contract.worlds import IMAGES, SMALL, Dump, Strangers, World, prefix


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

    def cards(self, external_id: str) -> list[tuple[str, str]]:
        cards = self._described(external_id).iterfind("devices/interface")
        return [(one.get("type"), one.find("source").get(one.get("type"))) for one in cards]

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
    _interface: Any = None
    uri = "test:///default"
    domain_type = "test"

    def bridge(self) -> str:
        member = "<interface type='ethernet' name='eth7'/>"
        bridge = f"<interface type='bridge' name='br-lab'><start mode='none'/><bridge>{member}</bridge></interface>"
        self._interface = self.raw.interfaceDefineXML(bridge)
        return "br-lab"

    def close(self) -> None:
        if self._interface:
            self._interface.undefine()
        super().close()

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

    capabilities = Capabilities(
        screenshots=True, accelerated=False, unread_storage=("gluster", "iscsi-direct", "rbd", "sheepdog")
    )
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
        self._bridges: list[str] = []

    def bridge(self) -> str:
        name = f"br{self.portal_id.hex[:8]}"
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True, timeout=30)
        subprocess.run(["ip", "link", "set", name, "up"], check=True, timeout=30)
        self._bridges.append(name)
        return name

    def remove_bridge(self, name: str) -> None:
        subprocess.run(["ip", "link", "delete", name], check=True, timeout=30)
        self._bridges.remove(name)

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

    def remove_filters(self) -> None:
        self.raw.nwfilterLookupByName(f"{prefix(self.portal_id)}-offered").undefine()

    def _filters(self) -> Dump:
        return {f"filter {each.name()}": each.XMLDesc(0) for each in self.raw.listAllNWFilters(0)}

    def close(self) -> None:
        super().close()
        for name in [*self._bridges]:
            self.remove_bridge(name)
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
