"""Pools of other kinds than a folder, real ones: read with their figures, and machines where there can be any."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from compute.models import StorageDomain
from compute.services.template_copies import offers
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.common.errors import Conflict
from portal.hypervisors.errors import HypervisorError, Unsupported
from portal.hypervisors.specs import DiskSpec, VmRef, VmSpec
from tests.hypervisors.libvirt.real import RealPlace, until

pytestmark = [pytest.mark.libvirt, pytest.mark.long]

MIB = 1024**2
SIZE_MIB = 128
FOLDER = Path("/var/lib/libvirt/images/formatted")
GROUP = "stegi_lab_group"
FORMATTED = """<pool type='fs'><name>{name}</name><source><device path='{device}'/><format type='ext4'/></source>
<target><path>{folder}</path></target></pool>"""
VOLUME_GROUP = """<pool type='logical'><name>{name}</name><source><device path='{device}'/><name>{name}</name>
<format type='lvm2'/></source><target><path>/dev/{name}</path></target></pool>"""


NFS = """<pool type='netfs'><name>export</name><source><host name='127.0.0.1'/><dir path='/export'/><format type='nfs'/></source>
<target><path>/var/lib/libvirt/images/export</path></target></pool>"""
ISCSI = """<pool type='iscsi'><name>target</name><source><host name='127.0.0.1'/><device path='iqn.2026-01.example:lab'/></source>
<target><path>/dev/disk/by-path</path></target></pool>"""
TARGET = "iqn.2026-01.example:lab"
UNITS = f"""<pool type='iscsi-direct'><name>units</name><source><host name='127.0.0.1'/><device path='{TARGET}'/>
<initiator><iqn name='iqn.2026-01.example:portal'/></initiator></source></pool>"""
EXPORT = Path("/var/lib/libvirt/images/export")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, close_fds=True)
    return done.stdout.strip()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A block device over a file; the kernel lets it go when nobody has it open any more."""
    file = tmp_path / "device.img"
    with file.open("wb") as handle:
        handle.truncate(SIZE_MIB * MIB)
    found = run("losetup", "--show", "--find", str(file))
    yield found
    run("losetup", "--detach", found)


@contextmanager
def pool(place: RealPlace, text: str, tmp_path: Path, *, starts: bool = True) -> Iterator[str]:
    """Somebody's pool, started or as it was defined."""
    (tmp_path / "pool.xml").write_text(text)
    virsh, name = place.libvirtd.virsh, text.partition("<name>")[2].partition("<")[0]
    virsh("pool-define", str(tmp_path / "pool.xml"))
    try:
        if starts:
            virsh("pool-start", name)
        sync_provider(place.provider)
        yield name
    finally:
        virsh("pool-destroy", name, check=False)
        virsh("pool-undefine", name)
        sync_provider(place.provider)


def row_of(place: RealPlace, name: str) -> StorageDomain:
    return StorageDomain.objects.get(provider=place.provider, external_id=name)


def test_a_formatted_device_is_read_and_a_machine_runs_on_it_until_it_is_taken_away(
    place: RealPlace, device: str, tmp_path: Path
) -> None:
    run("mkfs.ext4", "-q", device)
    FOLDER.mkdir(exist_ok=True)
    text = FORMATTED.format(name="formatted", device=device, folder=FOLDER)
    with pool(place, text, tmp_path) as name:
        row = row_of(place, name)
        assert (row.type, row.status, row.holds_disks, row.shared_source) == ("fs", "active", True, "")
        assert 0.8 * SIZE_MIB * MIB < row.total_bytes < SIZE_MIB * MIB, "of the file system, not of the one around it"
        assert row.used_bytes + row.free_bytes <= row.total_bytes
        driver, uid = place.driver, uuid4()
        disk = driver.create_disk(DiskSpec(uuid4(), name, 16 * MIB))
        ref = driver.create_vm(VmSpec(uid, f"formatted-{uid.hex[:8]}", "", 64, 1, (disk.ref,)))
        driver.run_vm(ref)
        until(lambda: (found := driver.find_vm(uid)) and found.status in {"up", "powering_up"}, "the machine")
        assert [path.name for path in FOLDER.iterdir() if str(disk.ref.uid) in path.name]
        gone(place, ref)
        driver.delete_disk(disk.ref)
        assert [path.name for path in FOLDER.iterdir()] == ["lost+found"]
        place.libvirtd.virsh("pool-destroy", name)
        sync_provider(place.provider)
        assert row_of(place, name).status == "inactive"
        with pytest.raises(HypervisorError):
            driver.create_disk(DiskSpec(uuid4(), name, MIB))
        assert list(FOLDER.iterdir()) == [], "nothing was written where the device is not"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[None]:
    """An iSCSI target with one unit, which libvirt reaches by itself, without the kernel."""
    unit = tmp_path / "unit.img"
    with unit.open("wb") as handle:
        handle.truncate(SIZE_MIB * MIB)
    Path("/run/tgtd").mkdir(exist_ok=True)
    server = subprocess.Popen(
        ["tgtd", "-f", "-C", "7", "--iscsi", "portal=127.0.0.1:3260"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: not told_target("--op", "show", "--mode", "system", check=False).returncode, "the target's server")
    told_target("--op", "new", "--mode", "target", "--tid", "1", "--targetname", TARGET)
    told_target("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--backing-store", str(unit))
    told_target("--op", "bind", "--mode", "target", "--tid", "1", "--initiator-address", "ALL")
    yield
    server.kill()
    server.wait(10)


def told_target(*words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    command = ["tgtadm", "-C", "7", "--lld", "iscsi", *words]
    return subprocess.run(command, capture_output=True, check=check, timeout=20)


@pytest.mark.usefixtures("target")
def test_units_of_an_iscsi_target_are_read_and_are_not_full(place: RealPlace, tmp_path: Path) -> None:
    with pool(place, UNITS, tmp_path) as name:
        row = row_of(place, name)
        assert (row.type, row.status, row.holds_disks, row.function) == ("iscsi-direct", "active", False, "none")
        assert bool(row.shared_source), "whoever logs in there has the same"
        assert 0.9 * SIZE_MIB * MIB < row.total_bytes <= SIZE_MIB * MIB
        assert (row.fullness, row.tells_use) == ("", False), "all is given as it is, and nothing of it runs full"
        with pytest.raises(Unsupported, match="devices in place of files"):
            place.driver.create_disk(DiskSpec(uuid4(), name, MIB))
        with pytest.raises(Conflict, match="the hypervisor does not read"):
            offers(system_actor(), row.pk)


def test_storage_that_is_mounted_from_the_network_is_read_and_takes_disks(place: RealPlace, tmp_path: Path) -> None:
    EXPORT.mkdir(exist_ok=True)
    # To libvirt it is the export: what the kernel says is mounted there bears its name.
    run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "127.0.0.1:/export", str(EXPORT))
    try:
        with pool(place, NFS, tmp_path) as name:
            row, driver = row_of(place, name), place.driver
            assert (row.type, row.status, row.holds_disks, row.function) == ("netfs", "active", True, "data")
            assert (row.total_bytes, row.used_bytes, row.shared_source) == (
                SIZE_MIB * MIB,
                0,
                "netfs nfs 127.0.0.1 /export",
            )
            disk = driver.create_disk(DiskSpec(uuid4(), name, 16 * MIB))
            assert [str(disk.ref.uid) in path.name for path in EXPORT.iterdir()] == [True]
            driver.delete_disk(disk.ref)
            assert list(EXPORT.iterdir()) == []
            disk = driver.create_disk(DiskSpec(uuid4(), name, 16 * MIB))
            ref = driver.create_vm(VmSpec(uid := uuid4(), machine := f"net-{uid.hex[:8]}", "", 64, 1, (disk.ref,)))
            assert driver.volume_users(name, disk.external_id) == (machine,)
            place.libvirtd.virsh("pool-destroy", name)
            sync_provider(place.provider)
            assert row_of(place, name).status == "inactive"
            assert driver.volume_users(name, disk.external_id) == (machine,), "it has it still, in its definition"
            assert driver.volume_users(name, "golden.qcow2") == ()
            driver.delete_vm(ref)
    finally:
        subprocess.run(["umount", "--quiet", str(EXPORT)], check=False, timeout=20)
        EXPORT.rmdir()


def gone(place: RealPlace, ref: VmRef) -> None:
    place.driver.stop_vm(ref)
    until(lambda: (found := place.driver.find_vm(ref.uid)) and found.status == "down", "its end")
    place.driver.delete_vm(ref)


def test_a_volume_group_is_read_and_offered_for_no_disks_of_ours(place: RealPlace, device: str, tmp_path: Path) -> None:
    run("vgcreate", "-q", "-q", "-y", GROUP, device)
    try:
        with pool(place, VOLUME_GROUP.format(name=GROUP, device=device), tmp_path) as name:
            row = row_of(place, name)
            assert (row.type, row.status, row.holds_disks) == ("logical", "active", False)
            assert row.total_bytes == row.free_bytes == (SIZE_MIB - 4) * MIB, "in extents of 4 MiB, one for itself"
            assert place.driver.volumes(name) == ()
            for make in (place.driver.create_disk, partial(place.driver.upload_disk, chunks=iter([bytes(MIB)]))):
                with pytest.raises(Unsupported, match="devices in place of files"):
                    make(DiskSpec(uuid4(), name, MIB, format="raw"))
            assert run("vgs", "--noheadings", "-o", "lv_count", GROUP) == "0"
    finally:
        run("vgremove", "-q", "-q", "-y", "-f", GROUP)


@pytest.mark.parametrize(
    ("text", "kind", "holds_disks", "is_shared"), [(NFS, "netfs", True, True), (ISCSI, "iscsi", False, True)]
)
def test_storage_of_the_network_that_nobody_started_is_told_as_what_it_is(
    place: RealPlace, tmp_path: Path, text: str, kind: str, *, holds_disks: bool, is_shared: bool
) -> None:
    with pool(place, text, tmp_path, starts=False) as name:
        row = row_of(place, name)
        assert (row.type, row.status, row.holds_disks) == (kind, "inactive", holds_disks)
        assert bool(row.shared_source) is is_shared
        with pytest.raises(HypervisorError):
            place.driver.create_disk(DiskSpec(uuid4(), name, MIB))
        assert name not in place.libvirtd.virsh("pool-list").stdout, "it was not started for that"
