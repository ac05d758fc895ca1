"""Two portals and other people's things on one libvirt: each portal leaves all others' exactly as they were."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import pytest
from django.core.management import call_command

from compute.management.commands import purge_marked
from compute.sync.inventory import sync_provider
from portal.hypervisors import connect
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import BoundedDriver
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.identity import portal_id
from portal.hypervisors.lanes import Lane, Limits
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.specs import (
    Connection,
    DiskRef,
    DiskSpec,
    InitialRun,
    NetworkSpec,
    NicSpec,
    VmRef,
    VmSpec,
)
from tests.hypervisors.libvirt.real import RealPlace
from tests.lab.libvirt_server import LibvirtServer

pytestmark = pytest.mark.libvirt

MIB = 1024**2
# A machine that boots nothing stays the same, whatever time passes.
STRANGER = """<domain type='qemu'><name>web-1</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='/var/lib/libvirt/images/strangers/disk.raw'/><target dev='vda' bus='virtio'/></disk>
<interface type='network'><source network='strangers'/><model type='virtio'/><filterref filter='strangers'/></interface>
<graphics type='vnc' autoport='yes' passwd='theirs'/></devices></domain>"""
STRANGERS_NETWORK = """<network><name>strangers</name><forward mode='nat'/><bridge name='strange0'/>
<ip address='10.88.0.1' netmask='255.255.255.0'><dhcp><range start='10.88.0.2' end='10.88.0.9'/></dhcp></ip></network>"""
STRANGERS_FILTER = "<filter name='strangers' chain='root'><filterref filter='clean-traffic'/></filter>"
STRANGERS_POOL = (
    "<pool type='dir'><name>strangers</name><target><path>/var/lib/libvirt/images/strangers</path></target></pool>"
)


@dataclass
class World:
    """All there is on a libvirt, as it tells it from outside, by what it is and its name."""

    things: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, kind: str, name: str, *facts: object) -> None:
        self.things[kind, name] = "\n".join(map(str, facts))

    def without(self, mark: UUID) -> dict[tuple[str, str], str]:
        """What does not bear this portal's mark, neither within nor in its name."""
        return {key: text for key, text in self.things.items() if str(mark) not in text and mark.hex[:8] not in key[1]}


def look(libvirtd: LibvirtServer) -> World:
    world, conn = World(), libvirt.open(libvirtd.uri)
    live, stored = libvirt.VIR_DOMAIN_XML_SECURE, libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
    for each in conn.listAllDomains():
        world.add("machine", each.name(), each.XMLDesc(live), each.XMLDesc(stored), each.state(), each.autostart())
    for each in conn.listAllNetworks():
        ports = [port.XMLDesc() for port in each.listAllPorts()] if each.isActive() else None
        world.add("network", each.name(), each.XMLDesc(), ports, each.isPersistent(), each.autostart())
    for each in conn.listAllNWFilters():
        world.add("filter", each.name(), each.XMLDesc())
    for each in conn.listAllStoragePools():
        # How full the file system is, is nobody's.
        text = re.sub(r"<(allocation|available)[^>]*>\d+", "", each.XMLDesc())
        world.add("pool", each.name(), text, each.isActive(), each.autostart())
        folder = Path(re.findall("<path>(.*)</path>", text)[0])
        # The lab's libvirt knows the pools of the machine's own, whose folders it has not.
        for path in folder.iterdir() if folder.is_dir() else ():
            found, content = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
            world.add("file", f"{each.name()}/{path.name}", content, found.st_mode, found.st_uid, found.st_mtime_ns)
    conn.close()
    return world


@pytest.fixture(scope="module")
def strangers(package_place: RealPlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine that runs, its disk, network and filter, without any portal's mark."""
    virsh, file = package_place.libvirtd.virsh, tmp_path_factory.mktemp("strangers") / "xml"

    def xml(text: str) -> str:
        file.write_text(text)
        return str(file)

    virsh("pool-define", xml(STRANGERS_POOL))
    virsh("pool-build", "strangers")
    virsh("pool-start", "strangers")
    virsh("vol-create-as", "strangers", "disk.raw", "1M", "--format", "raw")
    virsh("nwfilter-define", xml(STRANGERS_FILTER))
    virsh("net-define", xml(STRANGERS_NETWORK))
    virsh("net-start", "strangers")
    virsh("define", xml(STRANGER))
    virsh("start", "web-1")
    yield
    for command in (
        *("destroy web-1", "undefine web-1", "net-destroy strangers", "net-undefine strangers"),
        *("nwfilter-undefine strangers", "vol-delete disk.raw --pool strangers", "pool-destroy strangers"),
        *("pool-delete strangers", "pool-undefine strangers"),
    ):
        virsh(*command.split())


@dataclass
class OtherPortal:
    """Another portal on the same libvirt, with one of each."""

    mark: UUID
    driver: Driver
    vm: VmRef
    disks: tuple[DiskRef, ...]
    network: UUID
    pool: str


@pytest.fixture(scope="module")
def other(package_place: RealPlace, strangers: None, django_db_blocker: Any) -> Iterator[OtherPortal]:
    mark, options = uuid4(), {"accelerator": "tcg"}
    address = package_place.libvirtd.uri
    connection = Connection("libvirt", address, portal_id=mark, provider_uid=uuid4(), options=options)
    lane = Lane("other", lambda: LibvirtDriver(connection), limits=Limits())
    yield make_other(BoundedDriver(connection, lane), mark)
    with django_db_blocker.unblock():
        purge(mark)
    lane.close()


def purge(mark: UUID) -> None:
    """The purge of the portal that has this mark."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (connect, purge_marked):
            patched.setattr(module, "portal_id", lambda: mark)
        call_command("purge_marked", yes=True)


def make_other(driver: Driver, mark: UUID) -> OtherPortal:
    """A template's image and a linked clone in a pool of its own, a disk in the strangers', a network and a machine."""
    pool, vm, base = f"stegi-{mark.hex[:8]}", uuid4(), uuid4()
    driver.ensure_storage_domain(pool, path="")
    driver.upload_disk(DiskSpec(base, pool, MIB, format="raw"), chunks=iter([bytes(MIB)]))
    network = driver.create_network(NetworkSpec(uuid4(), f"theirs-{mark.hex[:8]}", "10.77.0.0/24"))
    below = DiskRef(base, pool, f"{pool}-{base}.raw")
    clone = driver.create_disk(DiskSpec(uuid4(), pool, MIB, base=below, base_format="raw"))
    guest = driver.create_disk(DiskSpec(uuid4(), "strangers", MIB))
    first_boot = driver.create_first_boot(vm, InitialRun("web-1", "ada"), storage_domain=pool)
    nic = NicSpec(uuid4(), "52:54:00:0b:0b:0b", network.external_id, network.filter)
    spec = VmSpec(vm, f"web-1-{vm.hex[:8]}", "", 64, 1, (clone.ref, guest.ref), (nic,), first_boot)
    ref = driver.create_vm(spec)
    driver.run_vm(ref)
    assert network.marker is not None
    return OtherPortal(mark, driver, ref, (below, clone.ref, guest.ref), network.marker.uid, pool)


def attempts(driver: Driver, other: OtherPortal, stranger: UUID) -> list[Callable[[], object]]:
    """Every change a driver knows, tried at what is not its portal's."""
    vms = [other.vm, VmRef(stranger, str(stranger))]
    foreign = [DiskRef(uuid4(), "strangers", "disk.raw"), *other.disks]
    verbs = (driver.run_vm, driver.shut_down_vm, driver.reboot_vm, driver.stop_vm, driver.delete_vm)
    spec = VmSpec(other.vm.uid, "mine-now", "", 64, 1, ())
    return [
        *(lambda verb=verb, vm=vm: verb(vm) for verb in verbs for vm in vms),
        *(lambda vm=vm: driver.console(vm, protocol="vnc") for vm in vms),
        *(lambda disk=disk: driver.delete_disk(disk) for disk in foreign),
        lambda: driver.delete_first_boot(other.vm.uid, storage_domain=other.pool),
        lambda: driver.delete_network(other.network),
        lambda: driver.create_network(NetworkSpec(other.network, "mine-now", "10.76.0.0/24")),
        lambda: driver.create_vm(spec),
        *(lambda name=name: driver.delete_storage_domain(name) for name in (other.pool, "strangers")),
        *(lambda name=name: driver.ensure_storage_domain(name, path="/tmp/x") for name in (other.pool, "strangers")),
    ]


def test_inv6_a_portal_changes_nothing_of_another_portals_or_of_anybody_else(
    place: RealPlace, other: OtherPortal
) -> None:
    ours, before = portal_id(), look(place.libvirtd)
    assert {kind for kind, _name in before.without(ours)} == {"machine", "network", "filter", "pool", "file"}
    # What it does all day.
    vm = place.machine("passing")
    sync_provider(place.provider)
    place.do("stop", vm)
    place.do("delete", vm)
    network = NetworkSpec(uuid4(), "passing", "10.75.0.0/24")
    place.driver.create_network(network)
    place.driver.delete_network(network.uid)
    assert look(place.libvirtd).without(ours) == before.without(ours)
    # And what it must not, whoever tells it to.
    stranger = UUID(place.libvirtd.virsh("domuuid", "web-1").stdout.strip())
    for attempt in attempts(place.driver, other, stranger):
        with suppress(HypervisorError):  # or it is done already, as far as this portal can see
            attempt()
    assert place.driver.find_vm(other.vm.uid) is None
    assert place.driver.find_network(other.network) is None
    assert place.driver.our_disks(other.pool) == place.driver.our_disks("strangers") == ()
    assert look(place.libvirtd).without(ours) == before.without(ours)


def test_inv6_a_purge_takes_all_that_bears_the_portals_mark_and_nothing_else(
    place: RealPlace, other: OtherPortal
) -> None:
    before = look(place.libvirtd)
    assert before.things != before.without(other.mark)
    purge(other.mark)
    assert look(place.libvirtd).things == before.without(other.mark)
