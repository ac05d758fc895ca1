"""The accelerator is found out by trying: a listing proves nothing."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.diagnosis import diagnose
from portal.hypervisors.errors import Unavailable
from portal.hypervisors.libvirt import accelerator
from portal.hypervisors.libvirt.accelerator import (
    HUNG_SECONDS,
    KVM,
    KVM_SECONDS,
    TCG,
    TCG_SECONDS,
    Accelerator,
    boot_sector,
)
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.libvirt.storage import Storage
from portal.hypervisors.specs import Connection, VmStatus
from tests.hypervisors.contract.libvirt_worlds import QemuWorld
from tests.hypervisors.contract.things import Things, eventually
from tests.hypervisors.contract.worlds import prefix
from tests.hypervisors.test_lanes import Clock
from tests.lab.libvirt_server import LibvirtServer
from tests.lab.servers import wait_until

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


def test_a_test_of_the_connection_tries_anew_whatever_was_shown_before(
    world: QemuWorld, untried: None, tmp_path: Path
) -> None:
    is_usable = Path("/dev/kvm").exists() and boots(KVM, tmp_path)
    believed = accelerator._known
    own, _is_own = believed.begin(world.uri)
    believed.end(world.uri, own, TCG if is_usable else KVM)
    connection = Connection("libvirt", world.uri, world.portal_id, uuid4())
    found = diagnose(connection, storage_domain=prefix(world.portal_id), path="")
    assert {one.step: one.code for one in found}["accelerator"] == ("" if is_usable else "emulated")
    assert believed.believed(world.uri) == (KVM if is_usable else TCG), "and that is believed from now on"


class Host(Accelerator):
    """An accelerator that shows what it is told to, when it is told to."""

    def __init__(self) -> None:
        session = Session(Connection("libvirt", "qemu+ssh://root@busy.example/system", uuid4(), uuid4()))
        super().__init__(session, Storage(session))
        self.works, self.tries = True, 0
        self.fault: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def _is_listed(self) -> bool:
        self.tries += 1
        assert self.answers.wait(60)
        if self.fault is not None:
            raise self.fault
        return True

    def _works(self) -> bool:
        return self.works


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(accelerator, "time", clock)
    return clock


def test_emulation_is_believed_for_a_minute_and_kvm_for_an_hour(untried: None, clock: Clock) -> None:
    host = Host()
    host.works = False  # busy, so that the first try is late
    assert (host.chosen(), host.chosen(), host.tries) == (TCG, TCG, 1)
    host.works = True
    clock.ahead += TCG_SECONDS + 1
    assert (host.chosen(), host.chosen(), host.tries) == (KVM, KVM, 2)
    host.works = False
    clock.ahead += TCG_SECONDS + 1
    assert (host.chosen(), host.tries) == (KVM, 2)
    clock.ahead += KVM_SECONDS
    assert (host.chosen(), host.tries) == (TCG, 3)


def test_what_is_asked_anew_is_tried_and_believed_by_all(untried: None) -> None:
    host, other = Host(), Host()
    host.works = False
    assert host.chosen() == other.chosen() == TCG
    assert other.chosen(anew=True) == host.chosen() == KVM
    other.fault = Unavailable()
    with pytest.raises(Unavailable):
        other.chosen(anew=True)
    assert host.chosen() == KVM, "a try without an answer has shown nothing"


class Counted(accelerator._Known):
    """Counts who is told of a try, their own or another's."""

    told = 0

    def begin(self, address: str) -> tuple[accelerator._Try, bool]:
        found = super().begin(address)
        with self.lock:
            self.told += 1
        return found


@pytest.mark.parametrize("anew", [False, True], ids=["asked", "anew"])
def test_who_comes_while_it_is_tried_waits_for_that_try(anew: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_known", known := Counted())
    host, told = Host(), list[str]()
    host.answers.clear()
    threads = [threading.Thread(target=lambda: told.append(host.chosen(anew=anew)), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: known.told == 3, "all to come")
    host.answers.set()
    for thread in threads:
        thread.join(60)
    assert (told, host.tries) == ([KVM] * 3, 1)


def test_a_try_that_hangs_counts_as_failed_and_is_made_again_in_a_while(untried: None, clock: Clock) -> None:
    host, other = Host(), Host()
    host.answers.clear()
    hung = threading.Thread(target=host.chosen, daemon=True)
    hung.start()
    wait_until(lambda: host.tries == 1, "it to hang")
    clock.ahead += HUNG_SECONDS
    assert (other.chosen(), other.chosen(anew=True), other.tries) == (TCG, TCG, 0)
    clock.ahead += TCG_SECONDS
    assert (other.chosen(), other.tries) == (KVM, 1)
    host.works = False
    host.answers.set()
    hung.join(60)
    assert other.chosen() == KVM, "what came back so late is not believed"
