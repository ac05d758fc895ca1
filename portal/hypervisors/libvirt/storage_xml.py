"""Storage pools and volumes as XML. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from portal.hypervisors.libvirt import names
from portal.hypervisors.libvirt.xml import E, Element, attribute_of, number_of, parse, text_of, write


def pool_uuid(portal_id: UUID, name: str) -> UUID:
    """The UUID of a pool of ours: the same however many processes make it at once."""
    return uuid5(NAMESPACE_URL, f"urn:stegi:pool:{portal_id}:{name}")


def directory_pool(name: str, *, uuid: UUID, path: str) -> str:
    """A pool over a folder that QEMU's user may enter and not list."""
    permissions = E.permissions(E.mode("0711"))
    target = E.target(E.path(path), permissions)
    return write(E.pool(E.name(name), E.uuid(str(uuid)), target, type="dir"))


def volume(name: str, *, size_bytes: int, format: str, backing: Element | None = None) -> str:  # noqa: A002
    """A volume that takes room as it is written."""
    target = E.target(E.format(type=format), E.permissions(E.mode("0600")))
    root = E.volume(E.name(name), E.capacity(str(size_bytes), unit="bytes"), E.allocation("0", unit="bytes"), target)
    if backing is not None:
        root.append(backing)
    return write(root)


def backing(path: str, *, format: str) -> Element:  # noqa: A002
    """The image that a linked clone lies over; ``path`` is what libvirt itself said of it."""
    return E.backingStore(E.path(path), E.format(type=format))


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What a pool's description says."""

    name: str
    type: str
    path: str
    shared_source: str = ""

    @property
    def holds_devices(self) -> bool:
        """Whether its volumes are devices."""
        return self.type in DEVICES

    def why_no_disks(self, portal_id: UUID) -> str:
        """Why no disks of ours can be made in it, which are qcow2 files, one over another; empty where they can."""
        if names.is_pool_of_another(portal_id, self.name):
            return ANOTHERS
        return NO_FILES if self.holds_devices else NO_MAKING if self.type in MADE_ELSEWHERE else ""

    @property
    def tells_use(self) -> bool:
        """Whether how full it is means anything: of units that are given as they are, libvirt says all of them are used."""
        return self.type not in UNITS


NO_FILES = "This storage domain has devices in place of files, so no disks can be made in it. Choose another."
NO_MAKING = (
    "The hypervisor makes no disks in this storage domain by itself. Choose another, or mount it there as a folder "
    "(a pool of type netfs)."
)
ANOTHERS = "This storage domain is another portal's. Choose one that is not."
# The types of pools whose volumes are devices (https://libvirt.org/storage.html).
DEVICES = frozenset({"disk", "iscsi", "iscsi-direct", "logical", "mpath", "rbd", "scsi", "sheepdog", "zfs"})
# What is in these comes from elsewhere: libvirt lists it, and makes nothing there.
MADE_ELSEWHERE = frozenset({"gluster"})
# Of these libvirt reads no volume (no stream), so nothing in them is looked at before it is copied.
UNREAD = ("gluster", "iscsi-direct", "rbd", "sheepdog")
# Their volumes are units of somebody's storage; none is made or grows here.
UNITS = frozenset({"iscsi", "iscsi-direct", "mpath", "scsi"})
# With which libvirt begins the names of these, which it makes of their numbers.
UNIT = "unit:"
# The parts of a pool's source that make it the same pool on another host. A folder, a volume group or a disk of a host is
# that host's alone, as far as libvirt can tell.
SHARED = {
    "netfs": ("format@type", "host@name", "dir@path"),
    "gluster": ("host@name", "name", "dir@path"),
    "rbd": ("host@name", "name"),
    "iscsi": ("host@name", "device@path"),
    "iscsi-direct": ("host@name", "device@path"),
    "sheepdog": ("host@name", "name"),
    "vstorage": ("name",),
}


def read_pool(text: str) -> PoolFacts:
    """A pool's description."""
    root = parse(text)
    return PoolFacts(text_of(root, "name"), root.get("type") or "", text_of(root, "target/path"), shared_source(root))


def shared_source(root: Element) -> str:
    """What hosts that have the same pool all say of it; empty for one that is a host's own."""
    source = root.find("source")
    if source is None or (root.get("type") or "") not in SHARED:
        return ""
    found = [root.get("type") or ""]
    for part in SHARED[root.get("type") or ""]:
        tag, _at, attribute = part.partition("@")
        told = ((one.get(attribute) if attribute else one.text) or "" for one in source.iterfind(tag))
        # Host names say the same in capitals; several monitors may be named in any order.
        found.append(",".join(sorted(text.strip().lower() if tag == "host" else text.rstrip("/") for text in told)))
    return " ".join(filter(None, found))


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """What a volume's description says. ``backing``: the path of the image below it, or empty.

    ``size_bytes`` is what a machine sees, ``file_bytes`` the length of the file, ``allocated_bytes`` what it takes.
    """

    size_bytes: int
    file_bytes: int
    allocated_bytes: int
    path: str
    format: str
    backing: str


def read_volume(text: str) -> VolumeFacts:
    """A volume's description; libvirt looks into the file when asked for it, so this is fresh."""
    root = parse(text)
    return VolumeFacts(
        size_bytes=number_of(root, "capacity"),
        file_bytes=number_of(root, "physical"),
        allocated_bytes=number_of(root, "allocation"),
        path=text_of(root, "target/path"),
        format=attribute_of(root, "target/format", "type"),
        backing=text_of(root, "backingStore/path"),
    )
