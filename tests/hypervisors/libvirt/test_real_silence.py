"""A real libvirtd or QEMU that hangs, dies and comes back: nobody waits for ever, nothing is taken for off or gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from compute.models import Vm
from portal.hypervisors import connect
from portal.hypervisors.errors import HypervisorError, OutcomeUnknown, Unavailable
from portal.hypervisors.lanes import Lane, Limits
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Connection
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tests.hypervisors.libvirt.real import RealPlace, domain_name, ref, until
from tests.hypervisors.libvirt.seen import charges, seen_until, status

pytestmark = [pytest.mark.libvirt, pytest.mark.usefixtures("watcher")]

Pair = tuple[Vm, Vm]


def error_of(call: Callable[[], Any]) -> HypervisorError | None:
    try:
        call()
    except HypervisorError as error:
        return error
    return None


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same, giving the thread's connection to the database back."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return run


def run_job(job: Job) -> str:
    return str(run_to_end(job.pk, timeout=150).status)


def lane_of(place: RealPlace) -> Lane:
    driver = place.driver
    assert isinstance(driver, connect.BoundedDriver)
    return driver._lane


@contextmanager
def second_libvirt() -> Iterator[Any]:
    """A second provider of the same kind in the same process: libvirt's built-in test driver, on a lane of its own."""
    address = Connection(kind="libvirt", address="test:///default", portal_id=uuid4(), provider_uid=uuid4())
    lane = Lane("second", lambda: LibvirtDriver(address), limits=Limits())
    yield connect.BoundedDriver(address, lane)
    lane.close()


def test_tf13_a_frozen_libvirtd_is_given_up_in_time_and_its_machines_are_unknown_until_it_is_back(
    place: RealPlace, pair: Pair, far: Vm
) -> None:
    one, two = pair
    seen_until({one: "up", two: "up", far: "up"})
    before = charges()
    place.libvirtd.freeze()
    with ThreadPoolExecutor() as pool, second_libvirt() as second:
        change = pool.submit(lambda: error_of(lambda: place.driver.run_vm(ref(two))))
        # It has the connection that was there, which keepalive gives up; the other call waits for a new one.
        until(lambda: not lane_of(place)._links.idle, "the change to be on its way")
        read = pool.submit(lambda: error_of(lambda: place.driver.find_vm(one.pk)))
        # Others do not wait for it: neither another libvirt nor another provider's jobs.
        while not (read.done() and change.done()):
            assert len(second.inventory().vms) == 1
            time.sleep(0.1)
        assert place.do("stop", far, "charlie")
        assert place.do("run", far, "charlie")
    assert type(read.result()) is Unavailable
    assert type(change.result()) is OutcomeUnknown, "it may have taken effect"
    assert type(error_of(lambda: place.driver.find_vm(one.pk))) is Unavailable, "refused at once"
    assert seen_until({one: "unknown", two: "unknown"}) <= {"up", "unknown"}
    assert status(far) in {"up", "powering_up"}
    assert dict(Provider.objects.values_list("name", "status")) == {"local": "unreachable", "far": "up"}
    assert charges() == before
    place.libvirtd.thaw()
    assert seen_until({one: "up", two: "up"}) <= {"up", "unknown"}
    until(lambda: error_of(lambda: place.driver.find_vm(one.pk)) is None, "an answer")
    # Told when the whole compare has ended, a moment after its machines.
    until(lambda: Provider.objects.get(name="local").status == "up", "the provider to be up")
    assert charges() == before


def test_tf11_a_machine_asked_for_in_the_moment_libvirtd_dies_is_made_once_when_it_is_back(
    place: RealPlace, pair: Pair
) -> None:
    one, two = pair
    alive = [qemu_of(place, vm) for vm in pair]
    disks = place.disks()
    vm, job = place.ask("late", run=False)  # no later, for what is known to be silent is refused at once
    place.libvirtd.kill()
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(in_thread(lambda: run_job(job)))
        assert seen_until({one: "unknown", two: "unknown"}) <= {"up", "unknown"}
        place.libvirtd.start()
        assert ended.result() == "finished"
    assert seen_until({one: "up", two: "up", vm: "down"}) <= {"up", "unknown", "down"}
    assert [qemu_of(place, each) for each in pair] == alive, "the machines ran on"
    names = place.libvirtd.virsh("list", "--all", "--name").stdout.split()
    assert names.count(domain_name(vm)) == 1
    assert place.disks() == disks | {vm.disks.get().pk}


def test_the_watch_is_opened_again_after_libvirtd_was_killed(place: RealPlace, pair: Pair) -> None:
    one, _two = pair
    broken = place.driver.watch()
    place.libvirtd.kill()
    with pytest.raises(Unavailable):
        until(lambda: broken.next(timeout=1.0), "the end of the watch")
    place.libvirtd.start()
    watch = until(lambda: _watch(place), "another watch")
    place.libvirtd.virsh("suspend", domain_name(one))
    # Not the first it hears: a libvirtd that starts finds its machines again one after the other, and says so.
    until(lambda: str(one.pk) in {change.external_id for change in watch.next(timeout=1.0)}, "the event")
    watch.close()
    # The watcher, too: it hears of it long before its next compare.
    seen_until({one: "paused"}, seconds=40)
    place.libvirtd.virsh("resume", domain_name(one))
    seen_until({one: "up"}, seconds=40)


def _watch(place: RealPlace) -> Any:
    try:
        return place.driver.watch()
    except HypervisorError:
        return None


def test_a_hung_machine_holds_up_nobody_else_and_its_power_can_be_cut(
    place: RealPlace, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    os.kill(qemu_of(place, one), signal.SIGSTOP)
    with monkeypatch.context() as hasty:
        hasty.setattr(connect, "CHANGE", 2.0)
        hung = error_of(lambda: place.driver.console(ref(one), protocol="vnc"))
    assert type(hung) is OutcomeUnknown
    assert place.driver.console(ref(two), protocol="vnc").port, "the other machine's goes on"
    assert {vm.external_id for vm in place.driver.inventory().vms} >= {str(one.pk), str(two.pk)}
    place.libvirtd.virsh("suspend", domain_name(two))
    seen_until({two: "paused"}, seconds=40)
    place.libvirtd.virsh("resume", domain_name(two))
    assert status(one) == "up"
    place.do("stop", one)
    assert status(one) == "down"
    assert place.do("run", one)


def qemu_of(place: RealPlace, vm: Vm) -> int:
    """The process of a machine."""
    pid = int(Path(f"/run/libvirt/qemu/{domain_name(vm)}.pid").read_text())
    assert str(vm.pk).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return pid
