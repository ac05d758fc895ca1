"""The accelerator is found out by trying: a listing proves nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.libvirt import accelerator
from portal.hypervisors.libvirt.accelerator import KVM, TCG, boot_sector
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.specs import Connection, VmStatus
from tests.hypervisors.contract.libvirt_worlds import QemuWorld
from tests.hypervisors.contract.things import Things, eventually
from tests.hypervisors.contract.worlds import prefix
from tests.lab.libvirt_server import LibvirtServer

ARRIVED = 1  # what QEMU ends with when the guest panicked


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not tried yet."""
    monkeypatch.setattr(accelerator, "_known", accelerator._Known())


@pytest.fixture
def chooser(world: QemuWorld, untried: None) -> Iterator[LibvirtDriver]:
    """A driver that is told nothing of accelerators."""
    driver = LibvirtDriver(Connection("libvirt", world.uri, world.portal_id, uuid4()))
    yield driver
    driver.close()


def boots(kind: str, folder: Path) -> bool:
    """The same boot sector, run by QEMU itself."""
    disk = folder / f"{kind}.raw"
    disk.write_bytes(boot_sector())
    machine = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", f"q35,accel={kind}", "-m", "32"]
    devices = ["-device", "pvpanic", "-action", "panic=exit-failure,reboot=shutdown"]
    command = ["qemu-system-x86_64", *machine, *devices, "-drive", f"file={disk},format=raw,if=virtio"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == ARRIVED and not done.stderr


def test_the_boot_sector_arrives_where_nothing_is_wrong(tmp_path: Path, libvirtd: LibvirtServer) -> None:
    assert boots(TCG, tmp_path)


def test_what_is_chosen_is_what_really_boots(chooser: LibvirtDriver, world: QemuWorld, tmp_path: Path) -> None:
    watch = world.driver().watch()
    is_usable = Path("/dev/kvm").exists() and boots(KVM, tmp_path)
    assert chooser.capabilities().accelerated == is_usable
    if Path("/dev/kvm").exists():
        eventually(lambda: "started" in {change.what for change in watch.next(timeout=1)}, "it to be tried")
    else:
        assert "started" not in {change.what for change in watch.next(timeout=1)}
    watch.close()
    things = Things(world, chooser)
    ref = things.running()
    assert things.status(ref) is VmStatus.UP
    assert things.found(ref.uid).accelerated == is_usable
    [host] = chooser.inventory().hosts
    assert host.accelerator == (KVM if is_usable else TCG)


def test_a_try_leaves_nothing_behind_and_is_made_once(chooser: LibvirtDriver, world: QemuWorld) -> None:
    chooser.capabilities()
    watch = world.driver().watch()
    other = LibvirtDriver(chooser.connection)
    assert other.capabilities() == chooser.capabilities()
    assert [change for change in watch.next(timeout=0.5) if change.what == "started"] == []
    watch.close()
    assert [vm for vm in chooser.inventory().vms if vm.name.startswith(prefix(world.portal_id))] == []
    assert chooser.our_disks(prefix(world.portal_id)) == ()
    chooser.delete_storage_domain(prefix(world.portal_id))
    other.close()


@pytest.fixture
def false_kvm() -> Iterator[None]:
    """A /dev/kvm that can be opened, is listed for that, and runs nothing."""
    device = Path("/dev/kvm")
    made = not device.exists()
    if made:
        device.touch()
    subprocess.run(["mount", "--bind", "/dev/null", str(device)], check=True, timeout=10)
    yield
    subprocess.run(["umount", str(device)], check=True, timeout=10)
    if made:
        device.unlink()


def test_a_listed_accelerator_that_starts_nothing_is_not_chosen(
    libvirtd: LibvirtServer, false_kvm: None, chooser: LibvirtDriver, world: QemuWorld
) -> None:
    libvirtd.restart()
    assert "<domain type='kvm'" in libvirtd.virsh("capabilities").stdout, "it is not even listed"
    assert not chooser.capabilities().accelerated
    things = Things(world, chooser)
    ref = things.running()
    eventually(lambda: things.status(ref) is VmStatus.UP, "the machine to run")
    libvirtd.virsh("destroy", str(ref.uid))


@pytest.mark.parametrize("forced", [KVM, TCG])
def test_a_provider_may_say_which_and_then_nothing_is_tried(world: QemuWorld, untried: Any, forced: str) -> None:
    watch = world.driver().watch()
    driver = LibvirtDriver(Connection("libvirt", world.uri, world.portal_id, uuid4(), options={"accelerator": forced}))
    assert driver.capabilities().accelerated == (forced == KVM)
    assert watch.next(timeout=0.5) == []
    watch.close()
    driver.close()
