"""From the click to a running machine, beside the same libvirt calls made raw in this process."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import libvirt

from tests.bench.client import PortalClient
from tests.bench.table import Row, row

POLL_SECONDS = 0.002


class Raw:
    """The calls without a portal: clone a volume, upload the first-boot volume, define, start."""

    def __init__(self, like: str) -> None:
        """``like``: the uid of a machine that the portal made; what is made here is made as it was."""
        self.libvirt = libvirt.open("qemu:///system")
        self._domain = self.libvirt.lookupByUUIDString(like).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        disk, seed = list(ET.fromstring(self._domain).iterfind("devices/disk/source"))
        self._pool = self.libvirt.storagePoolLookupByName(disk.get("pool"))
        self._disk, self._seed = disk.get("volume"), seed.get("volume")
        self._volumes = {name: self._pool.storageVolLookupByName(name).XMLDesc() for name in (self._disk, self._seed)}
        self._seed_bytes = self._read(self._pool.storageVolLookupByName(self._seed))

    def once(self) -> float:
        """Milliseconds; what it made is removed again."""
        uid = str(uuid4())
        named = {self._disk: f"raw-{uid}.qcow2", self._seed: f"raw-{uid}.iso"}
        domain_xml = self._renamed(self._domain, named, uid)
        began = time.perf_counter()
        disk = self._pool.createXML(self._renamed(self._volumes[self._disk], named, uid))
        seed = self._pool.createXML(self._renamed(self._volumes[self._seed], named, uid))
        stream = self.libvirt.newStream()
        seed.upload(stream, 0, len(self._seed_bytes))
        stream.sendAll(self._send, [self._seed_bytes])
        stream.finish()
        domain = self.libvirt.defineXML(domain_xml)
        domain.create()
        took = (time.perf_counter() - began) * 1000
        domain.destroy()
        domain.undefine()
        for volume in (disk, seed):
            volume.delete()
        return took

    @staticmethod
    def _send(_stream: Any, count: int, left: list[bytes]) -> bytes:
        chunk, left[0] = left[0][:count], left[0][count:]
        return chunk

    def _read(self, volume: Any) -> bytes:
        stream, parts = self.libvirt.newStream(), []
        volume.download(stream, 0, 0)
        stream.recvAll(lambda _stream, data, _opaque: parts.append(data), None)
        stream.finish()
        return b"".join(parts)

    def _renamed(self, text: str, named: dict[str, str], uid: str) -> str:
        """Other names, uuid and MAC; no paths and keys, which libvirt fills in."""
        root = ET.fromstring(text)
        for element in root.iter():
            if element.get("volume") in named:
                element.set("volume", named[element.get("volume")])
            if element.tag == "mac":
                element.set("address", ":".join(("52:54:00", uid[0:2], uid[2:4], uid[4:6])))
        for tag, value in (("uuid", uid), ("name", named.get(root.findtext("name"), f"raw-{uid}"))):
            found = root.find(tag)
            if found is not None:
                found.text = value
        for parent, tag in ((root, "key"), (root.find("target"), "path"), (root.find("target"), "timestamps")):
            found = None if parent is None else parent.find(tag)
            if found is not None:
                parent.remove(found)
        return ET.tostring(root, encoding="unicode")


def measure(client: PortalClient, order: dict[str, Any], *, rounds: int) -> list[Row]:
    like = client.call("POST", "vms/", order | {"name": "like"})
    client.wait(like["job"]["id"])
    raw = Raw(like["vm"]["id"])
    ours, jobs, bare = [], [], []
    raw.once()
    for _ in range(rounds):
        bare.append(raw.once())
        running, finished = _once(client, raw, order)
        ours.append(running)
        jobs.append(finished)
    _remove(client, like["vm"]["id"])
    against = "raw volumes, define, create"
    return [
        row("click to running machine", "ms", ours, against=against, floor=bare),
        row("click to finished job (read back)", "ms", jobs, against=against, floor=bare),
    ]


def _once(client: PortalClient, raw: Raw, order: dict[str, Any]) -> tuple[float, float]:
    began = time.perf_counter()
    accepted = client.call("POST", "vms/", order | {"name": f"bench-{time.monotonic_ns()}"})
    uid = accepted["vm"]["id"]
    while not _runs(raw, uid):
        time.sleep(POLL_SECONDS)
    running = (time.perf_counter() - began) * 1000
    client.wait(accepted["job"]["id"])
    finished = (time.perf_counter() - began) * 1000
    _remove(client, uid)
    return running, finished


def _runs(raw: Raw, uid: str) -> bool:
    try:
        return bool(raw.libvirt.lookupByUUIDString(uid).isActive())
    except libvirt.libvirtError:
        return False


def _remove(client: PortalClient, uid: str) -> None:
    client.wait(client.call("POST", f"vms/{uid}/stop/", {})["job"]["id"])
    client.wait(client.call("DELETE", f"vms/{uid}/")["job"]["id"])


libvirt.registerErrorHandler(lambda _data, _error: None, None)  # what is not there yet is no news
