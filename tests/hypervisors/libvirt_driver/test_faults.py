"""libvirtd freezes and dies, storage and memory run out: bounded, told apart, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from portal.hypervisors.base import Driver, Watch
from portal.hypervisors.connect import BoundedDriver
from portal.hypervisors.errors import Busy, HypervisorError, NoCapacity, OutcomeUnknown, Unavailable
from portal.hypervisors.lanes import Lane, Limits
from portal.hypervisors.libvirt import connection
from portal.hypervisors.specs import Connection, DiskRef, VmStatus
from tests.doubles.hypervisor import DoubleDriver
from tests.hypervisors.contract.libvirt_worlds import QemuWorld
from tests.hypervisors.contract.things import MIB, Things, eventually
from tests.hypervisors.contract.worlds import IMAGES, prefix
from tests.lab.libvirt_server import LibvirtServer

# A boot sector that writes on and on beyond its own disk's first MiB:
#   cli; xor %ax,%ax; mov %ax,%ds %ss; mov $0x7c00,%sp; sti
#   again: mov $0x4300,%ax; mov $packet,%si; int $0x13; addl $64,packet+8; jmp again
#   packet: 16 bytes, 64 sectors, from 0x1000:0, to sector 2048
WRITER = bytes.fromhex("fa31c08ed88ed0bc007cfb b80043be1b7ccd13668306237c40ebf0 1000400000000010 0008000000000000")
WRITING_DISK = (WRITER.ljust(510, b"\0") + b"\x55\xaa").ljust(MIB, b"\0")


@pytest.fixture
def lane(world: QemuWorld) -> Iterator[Lane]:
    """The lane of a provider; short bounds, for what is tried is that they hold."""
    limits = Limits(probe_seconds=0.5, cooldown_seconds=0.5)
    lane = Lane("local", lambda: world.connect(world.portal_id), limits=limits)
    yield lane
    lane.close()


@pytest.fixture
def bounded(world: QemuWorld, lane: Lane) -> BoundedDriver:
    return BoundedDriver(Connection("libvirt", world.uri, world.portal_id, uuid4()), lane)


@pytest.fixture
def other(tmp_path: Path) -> BoundedDriver:
    """Another provider, in the best of health."""
    reached = Connection("double", f"double://{tmp_path}/double", uuid4(), uuid4())
    return BoundedDriver(reached, Lane("other", lambda: DoubleDriver(reached), limits=Limits()))


@contextmanager
def refused() -> Iterator[None]:
    """Not an answer, but an error of the contract that says that trying again can help."""
    with pytest.raises(Unavailable) as failed:
        yield
    assert failed.value.can_retry


def qemu_of(name: str) -> str:
    """The process number of a machine's QEMU."""
    return Path(f"/run/libvirt/qemu/{name}.pid").read_text()


def works(driver: Driver) -> bool:
    try:
        driver.about()
    except HypervisorError:
        return False
    return True


def broke(watch: Watch) -> bool:
    try:
        watch.next(timeout=0.2)
    except Unavailable:
        return True
    return False


# -- libvirtd freezes


def test_TF11_a_frozen_libvirtd_is_abandoned_and_found_again(  # noqa: N802
    libvirtd: LibvirtServer, things: Things, lane: Lane, bounded: BoundedDriver, other: BoundedDriver
) -> None:
    spec = things.disk_spec()
    assert works(bounded)
    libvirtd.freeze()
    with pytest.raises(OutcomeUnknown):
        lane.call("create_disk", lambda driver: driver.create_disk(spec), seconds=1, mutates=True)
    with refused():
        bounded.find_disk(DiskRef(spec.uid, spec.storage_domain))
    assert works(other)
    libvirtd.thaw()
    eventually(partial(works, bounded), "the provider to be found again")
    eventually(lambda: lane._stuck == 0, "the abandoned calls to end")
    # What was abandoned went through after all: the look before the second try finds it.
    found = bounded.find_disk(DiskRef(spec.uid, spec.storage_domain))
    assert found is not None
    assert bounded.create_disk(spec) == found
    assert bounded.our_disks(spec.storage_domain) == (found,)


def test_TF11_calls_and_streams_on_a_frozen_libvirtd_end_by_themselves(  # noqa: N802
    libvirtd: LibvirtServer, world: QemuWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keepalive: nobody has to abandon them, and no thread stays behind."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr(connection, "KEEPALIVE_TIMES", 1)
    driver = world.driver()
    watch = driver.watch()
    ended: list[HypervisorError] = []

    def call() -> None:
        try:
            driver.find_vm(uuid4())
        except HypervisorError as error:
            ended.append(error)

    libvirtd.freeze()
    caller = threading.Thread(target=call)
    caller.start()
    eventually(partial(broke, watch), "the stream to break")
    caller.join(60)
    assert [type(error) for error in ended] == [OutcomeUnknown]
    libvirtd.thaw()
    watch.close()
    assert works(world.driver())


# -- libvirtd dies


def test_a_machine_outlives_libvirtd_and_is_found_again(
    libvirtd: LibvirtServer, things: Things, bounded: BoundedDriver
) -> None:
    watch = bounded.watch()
    ref = things.running()
    qemu = qemu_of(things.found(ref.uid).name)
    libvirtd.kill()
    eventually(partial(broke, watch), "the stream to break")
    with refused():
        bounded.find_vm(ref.uid)
    with refused():
        bounded.stop_vm(ref)
    watch.close()
    libvirtd.start()
    eventually(partial(works, bounded), "the provider to be found again")
    found = bounded.find_vm(ref.uid)
    assert found is not None
    assert found.status is VmStatus.UP
    assert qemu_of(found.name) == qemu, "it is another process"
    watch = bounded.watch()
    bounded.stop_vm(ref)
    eventually(lambda: ref.external_id in {change.external_id for change in watch.next(timeout=1)}, "the news")
    watch.close()
    bounded.delete_vm(ref)


def test_TF11_an_upload_that_libvirtd_did_not_survive_is_no_disk_and_is_done_again(  # noqa: N802
    libvirtd: LibvirtServer, things: Things, bounded: BoundedDriver
) -> None:
    spec = things.disk_spec(format="raw")
    ref = DiskRef(spec.uid, spec.storage_domain, f"{prefix(things.world.portal_id)}-{spec.uid}.raw")

    def dies() -> Iterator[bytes]:
        yield bytes(65536)
        libvirtd.kill()
        while True:
            yield bytes(65536)

    with pytest.raises(OutcomeUnknown):
        bounded.upload_disk(spec, chunks=dies())
    libvirtd.start()
    eventually(partial(works, bounded), "the provider to be found again")
    assert bounded.find_disk(ref) is None
    found = bounded.upload_disk(spec, chunks=iter([bytes(MIB)]))
    assert bounded.find_disk(ref) == found
    assert {file.name for file in (IMAGES / spec.storage_domain).iterdir()} == {found.external_id}


def test_a_provider_that_is_away_when_first_asked_is_unavailable(libvirtd: LibvirtServer, world: QemuWorld) -> None:
    libvirtd.kill()
    driver = world.driver()
    for _ in range(2):
        with pytest.raises(Unavailable) as failed:
            driver.about()
        assert not failed.value.outcome_unknown
    libvirtd.start()
    assert works(driver)


# -- room


@pytest.fixture
def small_storage(world: QemuWorld, driver: Driver, tmp_path: Path) -> str:
    """A storage domain on a disk of its own, of 8 MiB."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(8 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", str(disk)], check=True, timeout=30)
    return world.mounted(driver, "small", "-o", "loop", str(disk))


def test_TF15_a_machine_whose_storage_is_full_is_paused_and_says_why(things: Things, small_storage: str) -> None:  # noqa: N802
    driver = things.driver
    base = things.disk_spec(small_storage, format="raw")
    found = driver.upload_disk(base, chunks=iter([WRITING_DISK]))
    clone = things.disk_spec(small_storage, base=found.ref, base_format="raw")
    disk = driver.create_disk(replace(clone, size_bytes=1024 * MIB)).ref
    ref = things.running(disks=(disk,))
    things.wait_for(ref, VmStatus.PAUSED)
    assert things.found(ref.uid).status_detail == "enospc"
    assert things.found(ref.uid) in driver.inventory().vms
    with pytest.raises(NoCapacity):
        driver.upload_disk(things.disk_spec(small_storage, format="raw"), chunks=iter([bytes(MIB)]))
    assert {each.ref.uid for each in driver.our_disks(small_storage)} == {found.ref.uid, disk.uid}
    driver.stop_vm(ref)
    driver.delete_vm(ref)
    driver.delete_disk(disk)
    driver.delete_disk(found.ref)
    driver.delete_storage_domain(small_storage)  # whose folder is a mount point, and stays
    assert small_storage not in {domain.name for domain in driver.inventory().storage_domains}


def test_a_machine_for_which_there_is_no_memory_does_not_start(things: Things) -> None:
    ref = things.driver.create_vm(replace(things.vm_spec(), memory_mib=900 * 1024))
    with pytest.raises(NoCapacity):
        things.driver.run_vm(ref)
    assert things.status(ref) is VmStatus.DOWN
    things.driver.delete_vm(ref)


def test_a_file_whose_name_is_no_utf8_hinders_nothing_and_counts_as_something_there(things: Things) -> None:
    """Whoever may write to the storage could stop all that is done with it; old names in Greek are such, too."""
    driver, pool = things.driver, things.world.storage(things.driver)
    disk, raw = things.disk(pool), things.world.raw.storagePoolLookupByName(pool)
    old = bytes(IMAGES / pool) + "/Ελλάς.img".encode("iso8859-7")
    Path(os.fsdecode(old)).write_bytes(b"")
    try:
        raw.refresh(0)
        assert [row.uid for row in driver.volumes(pool)] == [disk.uid]
        assert [row.ref for row in driver.our_disks(pool)] == [disk]
        driver.delete_disk(disk)
        with pytest.raises(Busy):
            driver.delete_storage_domain(pool)
    finally:
        Path(os.fsdecode(old)).unlink()
        raw.refresh(0)
