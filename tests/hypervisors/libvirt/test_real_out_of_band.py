"""What others do to machines behind the portal's back, on a real libvirt: it shows, and nothing is deleted for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compute.choices import HELD
from compute.models import Disk, Vm
from portal.events.models import Event
from portal.hypervisors.libvirt.xml import NAMESPACE
from portal.hypervisors.models import Provider
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension
from tests.hypervisors.libvirt.real import RealPlace, domain_name, until
from tests.hypervisors.libvirt.seen import seen_until

pytestmark = [pytest.mark.libvirt, pytest.mark.usefixtures("watcher")]

# The watcher hears of it: it does not wait for its next compare, a minute later.
BY_EVENT = 40
DEFINITIONS = Path("/etc/libvirt/qemu")


def is_charged_for_running(vm: Vm) -> bool:
    return QuotaCharge.objects.filter(consumer_uid=vm.pk, dimension=Dimension.VCPUS_RUNNING).exists()


def test_tf17_a_machine_that_others_stop_start_rename_and_undefine(place: RealPlace) -> None:
    vm = place.machine("third")
    virsh, name = place.libvirtd.virsh, domain_name(vm)
    seen_until({vm: "up"})
    virsh("destroy", name)
    seen_until({vm: "down"}, seconds=BY_EVENT)
    until(lambda: not is_charged_for_running(vm), "what running costs, given back")
    virsh("start", name)
    seen_until({vm: "up"}, seconds=BY_EVENT)
    until(lambda: is_charged_for_running(vm), "what running costs, charged")
    virsh("destroy", name)
    virsh("domrename", name, "renamed")
    seen_until({vm: "down"}, seconds=BY_EVENT)
    place.do("run", vm)
    seen_until({vm: "up"}, seconds=BY_EVENT)
    virsh("destroy", "renamed")
    virsh("undefine", "renamed")
    assert seen_until({vm: "unknown"}, seconds=BY_EVENT) <= {"up", "down", "unknown"}
    vm.refresh_from_db()
    assert vm.is_absent
    [disk] = [disk for disk in place.disks() if disk == Disk.objects.get(vm=vm).pk]
    assert QuotaCharge.objects.filter(consumer_uid=vm.pk, dimension=Dimension.MACHINES).exists()
    # It is the owner who says that it may go.
    place.do("delete", vm)
    assert disk not in place.disks()
    assert not QuotaCharge.objects.filter(consumer_uid__in=[vm.pk, disk]).exists()


def test_tf17_a_machine_that_others_resize_or_take_the_mark_from(place: RealPlace) -> None:
    vm = place.machine("fifth", run=False)
    virsh, name = place.libvirtd.virsh, domain_name(vm)
    virsh("setvcpus", name, "3", "--maximum", "--config")
    virsh("setvcpus", name, "3", "--config")
    virsh("setmaxmem", name, "384M", "--config")

    until(lambda: (sizes_of(vm)) == (3, 384), "the size that it has now")

    virsh("metadata", name, NAMESPACE, "--config", "--remove")
    seen_until({vm: "unknown"}, seconds=BY_EVENT)
    vm.refresh_from_db()
    assert vm.is_absent, "without our mark it is none of ours"
    virsh("undefine", name)
    place.do("delete", vm)


def sizes_of(vm: Vm) -> tuple[int, int]:
    vm.refresh_from_db()
    return vm.vcpus, vm.memory_mib


def test_tf17_an_empty_answer_is_not_believed(place: RealPlace) -> None:
    for vm in Vm.objects.filter(provider=place.provider, status="up"):
        place.do("stop", vm, vm.owner.username)
    machines = list(Vm.objects.filter(provider=place.provider)) or [place.machine("idle", run=False)]
    machines.append(place.machine("idle-too", run=False))
    seen_until(dict.fromkeys(machines, "down"))
    with forgotten(place, machines):
        until(lambda: Provider.objects.get(name="local").status_detail == HELD, "the alarm")
        rows = Vm.objects.filter(pk__in=[vm.pk for vm in machines])
        assert [vm.is_absent for vm in rows] == [False] * len(machines)
        assert place.disks() >= {disk.pk for disk in Disk.objects.filter(vm__in=machines)}
        [alarm] = Event.objects.filter(code="PROVIDER_COMPARE_HELD")
        assert alarm.severity == "alert"
        assert alarm.data["machines"] == len(machines)
    seen_until(dict.fromkeys(machines, "down"))
    until(lambda: Provider.objects.get(name="local").status_detail == "", "the end of the alarm")


@contextmanager
def forgotten(place: RealPlace, machines: list[Vm]) -> Iterator[None]:
    """A libvirtd that lost its definitions of these, until they are put back."""
    aside = DEFINITIONS / "aside"
    aside.mkdir()
    place.libvirtd.stop()
    for vm in machines:
        shutil.move(DEFINITIONS / f"{domain_name(vm)}.xml", aside)
    place.libvirtd.start()
    yield
    place.libvirtd.stop()
    for path in aside.iterdir():
        shutil.move(path, DEFINITIONS)
    aside.rmdir()
    place.libvirtd.start()
