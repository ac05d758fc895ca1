"""A machine as domain XML, and what a domain's XML says of it. Pure.

Built by element calls, then held against ``ALLOWED`` before it is defined: whatever is not on that list (a host device,
a path, a command line for QEMU ...) cannot leave this module, whichever way it got in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from portal.hypervisors.errors import Invalid
from portal.hypervisors.libvirt.xml import (
    MARK,
    E,
    Element,
    attribute_of,
    lent_to,
    marker_of,
    metadata,
    number_of,
    parse,
    text_of,
    uuid_of,
    whole_number,
    write,
)
from portal.hypervisors.specs import Marker, VmSpec

AGENT_CHANNEL = "org.qemu.guest_agent.0"
LISTEN = "127.0.0.1"
# Listening there is listening on the host's loopback of IPv4 (also), which nobody else then has at the same port.
REACHED_BY_LOOPBACK = {LISTEN, "localhost", "0.0.0.0", "::"}  # noqa: S104 - others' displays are only compared with it
LONG_AGO = "1970-01-01T00:00:01"  # when the password a machine is defined with ran out: each console sets its own


@dataclass(frozen=True, slots=True)
class DiskSource:
    """A volume of a pool, and its format."""

    pool: str
    volume: str
    format: str = "qcow2"
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class NicSource:
    """A network card with its filter and the address that the filter holds it to; on a network, or on a ``bridge``.

    ``lent``: the uid of the network where that is somebody else's.
    """

    mac: str
    network: str
    filter: str = ""
    ip: str = ""
    bridge: str = ""
    lent: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a machine is made of once names are resolved. ``accelerator``: "kvm" or "tcg"."""

    marker: Marker
    accelerator: str
    password: str = field(repr=False)
    disks: tuple[DiskSource, ...] = ()
    nics: tuple[NicSource, ...] = ()
    bare: bool = False  # without what libvirt's test driver refuses


def domain(spec: VmSpec, parts: Parts) -> str:
    """The XML of a machine. Raises ``Invalid`` for what XML cannot carry or the allow-list does not hold."""
    root = E.domain(type="test" if parts.bare else "kvm" if parts.accelerator == "kvm" else "qemu")
    root.append(E.name(spec.name))
    root.append(E.uuid(str(spec.uid)))
    if spec.description:
        root.append(E.description(spec.description))
    root.append(metadata(parts.marker, lent={nic.mac.lower(): nic.lent for nic in parts.nics if nic.lent}))
    root.append(E.memory(str(spec.memory_mib), unit="MiB"))
    root.append(E.vcpu(str(spec.vcpus), placement="static"))
    machine = {} if parts.bare else {"arch": "x86_64", "machine": "q35"}
    root.append(E.os(E.type("hvm", **machine), E.boot(dev="hd")))
    root.append(E.features(E.acpi(), E.apic()))
    if parts.accelerator == "kvm" and not parts.bare:
        root.append(E.cpu(mode="host-model", check="partial"))
    root.append(_clock())
    root.extend([E.on_poweroff("destroy"), E.on_reboot("restart"), E.on_crash("destroy")])
    root.append(_devices(spec, parts))
    refuse_unknown(root, bridges={nic.bridge for nic in parts.nics if nic.bridge})
    return write(root)


def _clock() -> Element:
    return E.clock(
        E.timer(name="rtc", tickpolicy="catchup"),
        E.timer(name="pit", tickpolicy="delay"),
        E.timer(name="hpet", present="no"),
        offset="utc",
    )


def _devices(spec: VmSpec, parts: Parts) -> Element:
    devices = E.devices()
    for number, disk in enumerate(parts.disks):
        devices.append(_disk(disk, number))
    for nic in parts.nics:
        devices.append(_nic(nic))
    if parts.bare:
        return devices
    devices.append(E.serial(E.target(port="0"), type="pty"))
    devices.append(E.console(E.target(type="serial", port="0"), type="pty"))
    devices.append(E.channel(E.target(type="virtio", name=AGENT_CHANNEL), type="unix"))
    devices.append(E.input(type="tablet", bus="usb"))
    if "vnc" in spec.graphics:
        devices.append(vnc(password=parts.password))
    devices.append(E.video(E.model(type="vga", vram="16384", heads="1", primary="yes")))
    devices.append(E.rng(E.backend("/dev/urandom", model="random"), model="virtio"))
    devices.append(E.memballoon(E.stats(period="10"), model="virtio"))
    return devices


def vnc(*, password: str) -> Element:
    """The VNC server, autoport. Its first password ran out long ago, and there is always one."""
    listen = E.listen(type="address", address=LISTEN)
    valid = {"passwd": password, "passwdValidTo": LONG_AGO}
    return E.graphics(listen, type="vnc", autoport="yes", listen=LISTEN, **valid)


def vnc_with_password(text: str, *, password: str, valid_to: str) -> str | None:
    """A running domain's own VNC element with another password, good for new connections until then (UTC).

    None where it has no VNC. Everything else must be as libvirt has it, or it takes it for another change.
    """
    graphics = parse(text).find("devices/graphics[@type='vnc']")
    if graphics is None:
        return None
    graphics.set("passwd", password)
    graphics.set("passwdValidTo", valid_to)
    return write(graphics)


def _disk(disk: DiskSource, number: int) -> Element:
    cache = {"cache": "none", "discard": "unmap", "error_policy": "stop"}
    driver = E.driver(name="qemu", type=disk.format, **({} if disk.read_only else cache))
    root = E.disk(driver, type="volume", device="disk")
    root.append(E.source(pool=disk.pool, volume=disk.volume))
    root.append(E.target(dev=f"vd{chr(ord('a') + number)}", bus="virtio"))
    if disk.read_only:
        root.append(E.readonly())
    return root


def _nic(nic: NicSource) -> Element:
    kind = "bridge" if nic.bridge else "network"
    source = E.source(**{kind: nic.bridge or nic.network})
    root = E.interface(E.mac(address=nic.mac), source, E.model(type="virtio"), type=kind)
    if nic.filter:
        reference = E.filterref(filter=nic.filter)
        if nic.ip:
            reference.append(E.parameter(name="IP", value=nic.ip))
        root.append(reference)
    return root


# -- the allow-list

# Path of an element below the domain -> its attributes; a set names the only values an attribute may have.
Allowed = dict[str, dict[str, set[str] | None]]

ALLOWED: Allowed = {
    "": {"type": {"kvm", "qemu", "test"}},
    "name": {},
    "uuid": {},
    "description": {},
    "metadata": {},
    f"metadata/{MARK}": {"portal": None, "uid": None, "lent": None},
    "memory": {"unit": {"MiB"}},
    "vcpu": {"placement": {"static"}},
    "os": {},
    "os/type": {"arch": {"x86_64"}, "machine": {"q35"}},
    "os/boot": {"dev": {"hd"}},
    "features": {},
    "features/acpi": {},
    "features/apic": {},
    "cpu": {"mode": {"host-model"}, "check": {"partial"}},
    "clock": {"offset": {"utc"}},
    "clock/timer": {"name": {"rtc", "pit", "hpet"}, "tickpolicy": {"catchup", "delay"}, "present": {"no"}},
    "on_poweroff": {},
    "on_reboot": {},
    "on_crash": {},
    "devices": {},
    "devices/disk": {"type": {"volume"}, "device": {"disk"}},
    "devices/disk/driver": {
        "name": {"qemu"},
        "type": {"qcow2", "raw"},
        "cache": {"none"},
        "discard": {"unmap"},
        "error_policy": {"stop"},
    },
    "devices/disk/source": {"pool": None, "volume": None},
    "devices/disk/target": {"dev": None, "bus": {"virtio"}},
    "devices/disk/readonly": {},
    "devices/interface": {"type": {"network"}},
    "devices/interface/mac": {"address": None},
    "devices/interface/source": {"network": None},
    "devices/interface/model": {"type": {"virtio"}},
    "devices/interface/filterref": {"filter": None},
    "devices/interface/filterref/parameter": {"name": {"IP"}, "value": None},
    "devices/serial": {"type": {"pty"}},
    "devices/serial/target": {"port": {"0"}},
    "devices/console": {"type": {"pty"}},
    "devices/console/target": {"type": {"serial"}, "port": {"0"}},
    "devices/channel": {"type": {"unix"}},
    "devices/channel/target": {"type": {"virtio"}, "name": {AGENT_CHANNEL}},
    "devices/input": {"type": {"tablet"}, "bus": {"usb"}},
    "devices/graphics": {
        "type": {"vnc"},
        "listen": {LISTEN},
        "passwd": None,
        "passwdValidTo": None,
        "autoport": {"yes"},
    },
    "devices/graphics/listen": {"type": {"address"}, "address": {LISTEN}},
    "devices/video": {},
    "devices/video/model": {"type": {"vga"}, "vram": {"16384"}, "heads": {"1"}, "primary": {"yes"}},
    "devices/rng": {"model": {"virtio"}},
    "devices/rng/backend": {"model": {"random"}},
    "devices/memballoon": {"model": {"virtio"}},
    "devices/memballoon/stats": {"period": {"10"}},
}


def refuse_unknown(root: Element, *, bridges: Collection[str] = ()) -> None:
    """Raise ``Invalid`` naming every element, attribute and value that is not on the list.

    ``bridges``: those of the host's own that its cards may be on; else none is on the list.
    """
    strange = list(_strange(root, "", ALLOWED | _on_bridges(bridges)))
    if strange:
        raise Invalid(detail=f"domain XML holds what it must not: {', '.join(strange)}")


def _on_bridges(bridges: Collection[str]) -> Allowed:
    if not bridges:
        return {}
    return {
        "devices/interface": {"type": {"network", "bridge"}},
        "devices/interface/source": {"network": None, "bridge": set(bridges)},
    }


def _strange(element: Element, path: str, allowed: Allowed) -> Iterator[str]:
    known = allowed.get(path)
    if known is None:
        yield f"<{path}>"
        return
    for name, value in element.attrib.items():
        values = known.get(str(name), set())
        if values is not None and value not in values:
            yield f"{path or 'domain'}@{name!s}"
    for child in element:
        yield from _strange(child, f"{path}/{child.tag!s}".lstrip("/"), allowed)


# -- reading


@dataclass(frozen=True, slots=True)
class OwnDisk:
    """A disk by what the machine calls it, and the volume that it is, if it is one."""

    target: str
    pool: str
    volume: str


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What a domain's XML says. ``nics``: (MAC, network) pairs; ``disks``: volume names, or paths of others' disks.

    ``own_disks``: those that hold something of its own (no CDs, nothing read-only); ``filters``: of its cards, by name.
    """

    name: str
    uuid: UUID
    marker: Marker | None
    memory_mib: int
    vcpus: int
    nics: tuple[tuple[str, str], ...]
    disks: tuple[str, ...]
    own_disks: tuple[OwnDisk, ...]
    accelerated: bool
    agent_connected: bool
    vnc_port: int
    vnc_listens: tuple[str, ...]
    filters: frozenset[str] = frozenset()
    lent: tuple[tuple[str, str], ...] = ()  # (MAC, uid) of cards on networks of others


def read_domain(text: str) -> DomainFacts:
    """The facts of a domain."""
    root = parse(text)
    return DomainFacts(
        name=text_of(root, "name"),
        uuid=uuid_of(root),
        marker=marker_of(root),
        memory_mib=_memory_mib(root),
        vcpus=number_of(root, "vcpu"),
        nics=tuple(_nics(root)),
        disks=tuple(_disks(root)),
        own_disks=tuple(_own_disks(root)),
        accelerated=root.get("type") == "kvm",
        agent_connected=_is_agent_connected(root),
        vnc_port=_vnc_port(root),
        vnc_listens=tuple(_vnc_listens(root)),
        filters=frozenset(one.get("filter") or "" for one in root.iterfind("devices/interface/filterref")),
        lent=tuple(lent_to(root).items()),
    )


def on_networks(text: str, names: Mapping[str, str]) -> str:
    """A domain's description with these cards, by their MAC addresses, on networks of these names."""
    root = parse(text)
    for nic in root.iterfind("devices/interface"):
        source, name = nic.find("source"), names.get(attribute_of(nic, "mac", "address"))
        if source is not None and name:
            source.set("network", name)
    return write(root)


_UNITS = {"b": 1, "bytes": 1, "KiB": 1024, "k": 1024, "MiB": 1024**2, "M": 1024**2, "GiB": 1024**3, "G": 1024**3}


def _memory_mib(root: Element) -> int:
    unit = attribute_of(root, "memory", "unit") or "KiB"
    return number_of(root, "memory") * _UNITS.get(unit, 1024) // 1024**2


def _nics(root: Element) -> Iterator[tuple[str, str]]:
    for nic in root.iterfind("devices/interface"):
        yield attribute_of(nic, "mac", "address"), attribute_of(nic, "source", "network")


def _disks(root: Element) -> Iterator[str]:
    for source in root.iterfind("devices/disk/source"):
        name = source.get("volume") or source.get("file") or source.get("dev") or source.get("name")
        if name:
            yield name


def _own_disks(root: Element) -> Iterator[OwnDisk]:
    for disk in root.iterfind("devices/disk"):
        target, source = attribute_of(disk, "target", "dev"), disk.find("source")
        is_own = disk.get("device", "disk") == "disk" and disk.find("readonly") is None
        if target and is_own and source is not None:
            yield OwnDisk(target, source.get("pool") or "", source.get("volume") or "")


def _is_agent_connected(root: Element) -> bool:
    targets = root.iterfind("devices/channel/target")
    return any(each.get("name") == AGENT_CHANNEL and each.get("state") == "connected" for each in targets)


def _vnc_port(root: Element) -> int:
    return whole_number(attribute_of(root, "devices/graphics[@type='vnc']", "port"))


def _vnc_listens(root: Element) -> Iterator[str]:
    """The addresses that the display listens on; of a running machine libvirt tells them."""
    for graphics in root.iterfind("devices/graphics[@type='vnc']"):
        for each in (graphics, *graphics.iterfind("listen")):
            told = each.get("listen" if each is graphics else "address")
            if told:
                yield told
