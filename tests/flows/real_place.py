"""The institute of the flows on a real libvirt, looked at with virsh alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

from portal.hypervisors.identity import portal_id
from tests.flows.place import Site
from tests.flows.seen import Seen
from tests.lab.libvirt_server import LibvirtServer
from tests.people import make_institute

MARK = "metadata/{urn:stegi:mark:1}object"
STRANGER = """<domain type='qemu'><name>somebody</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""
STRANGE_NETWORK = """<network><name>somebody</name><ip address='192.0.2.1' netmask='255.255.255.0'/></network>"""


@dataclass
class RealPlace(Site):
    """The same on libvirt, beside somebody else's machine, network and disk."""

    libvirt: LibvirtServer | None = None

    def virsh(self, *arguments: str) -> str:
        """What virsh says."""
        assert self.libvirt is not None
        return self.libvirt.virsh(*arguments).stdout

    @property
    def pool(self) -> str:
        """Our storage pool."""
        return f"stegi-{portal_id().hex[:8]}"

    def look(self) -> Seen:
        seen = Seen()
        for uuid in self.virsh("list", "--all", "--uuid").split():
            self._see_machine(seen, uuid)
        for uuid in self.virsh("net-list", "--all", "--uuid").split():
            self._see_network(seen, uuid)
        for line in self.virsh("vol-list", self.pool).splitlines():
            self._see_volume(seen, line.split()[0])
        return seen

    def _see_machine(self, seen: Seen, uuid: str) -> None:
        text = self.virsh("dumpxml", uuid, "--inactive")
        root = ET.fromstring(text)
        seen.names.append(root.findtext("name") or "")
        if _is_ours(root):
            seen.vms.append(UUID(uuid))
            seen.macs += [mac.get("address") or "" for mac in root.iterfind("devices/interface/mac")]
        else:
            seen.strangers[f"machine {uuid}"] = text

    def _see_network(self, seen: Seen, uuid: str) -> None:
        text = self.virsh("net-dumpxml", uuid)
        root = ET.fromstring(text)
        if _is_ours(root):
            seen.networks.append(UUID(uuid))
            hosts = root.iterfind("ip/dhcp/host")
            seen.addresses += [(host.get("mac") or "", host.get("ip") or "") for host in hosts]
        else:
            seen.strangers[f"network {uuid}"] = text

    def _see_volume(self, seen: Seen, name: str) -> None:
        stem, _, suffix = name.rpartition(".")
        if not stem.startswith(f"{self.pool}-"):
            seen.strangers[f"volume {name}"] = self.virsh("vol-dumpxml", name, "--pool", self.pool)
        elif suffix == "iso":
            seen.first_boots.append(UUID(stem.removeprefix(f"{self.pool}-")))
        else:  # a torso of an upload too counts as a disk that nobody has
            seen.disks.append(UUID(stem.removeprefix(f"{self.pool}-")))


def _is_ours(root: ET.Element) -> bool:
    mark = root.find(MARK)
    return mark is not None and mark.get("portal") == str(portal_id())


def make_real_place(folder: Path, libvirt: LibvirtServer, image: Path) -> RealPlace:
    """The institute on ``qemu:///system``; machines are emulated, so that no process has to try KVM first."""
    options = {"accelerator": "tcg"}
    institute = make_institute(folder, kind="libvirt", address=libvirt.uri, options=options, image=image)
    parts = (institute.provider, institute.template, institute.centers, institute.users)
    place = RealPlace(*parts, folder, libvirt=libvirt)
    for verb, text in (("define", STRANGER), ("net-define", STRANGE_NETWORK)):
        (folder / f"{verb}.xml").write_text(text)
        place.virsh(verb, str(folder / f"{verb}.xml"))
    place.virsh("vol-create-as", place.pool, "somebody.raw", "1M")
    place.strangers = place.look().strangers
    assert len(place.strangers) >= 3
    return place


def clear_real_place(place: RealPlace) -> None:
    """Everything of it goes."""
    for uuid in place.virsh("list", "--all", "--uuid").split():
        assert place.libvirt is not None
        place.libvirt.virsh("destroy", uuid, check=False)
        place.virsh("undefine", uuid)
    for uuid in place.virsh("net-list", "--all", "--uuid").split():
        assert place.libvirt is not None
        place.libvirt.virsh("net-destroy", uuid, check=False)
        place.virsh("net-undefine", uuid)
    for line in place.virsh("vol-list", place.pool).splitlines():
        place.virsh("vol-delete", line.split()[0], "--pool", place.pool)
    place.virsh("pool-destroy", place.pool)
    place.virsh("pool-undefine", place.pool)
