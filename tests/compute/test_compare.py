"""The full compare: what vanished shows as absent, unless so much vanished at once that it cannot be true."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from compute.choices import HELD
from compute.models import Host, StorageDomain, Vm
from compute.sync import inventory
from compute.sync.inventory import sync_provider
from compute.sync.vms import RUNNING_DIMENSIONS
from compute.sync.watcher import ProviderWatcher, look_at
from portal.events.models import Event
from portal.hypervisors.connect import driver_for, forget
from portal.hypervisors.models import Provider
from portal.jobs.engine import advance
from portal.jobs.models import Job, JobLock
from portal.jobs.states import FINAL
from tenants import quota
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension
from tests.doubles.hypervisor_state import Fault, drop
from tests.flows.place import Place, the_place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(transactional_db: None, tmp_path) -> Place:
    return the_place(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("machines", "gone", "is_held"),
    [(1, 1, False), (3, 2, False), (3, 3, True), (8, 5, False), (8, 6, True)],
)
def test_tf17_few_that_vanish_are_absent_and_many_or_all_are_not_believed(
    place: Place, machines: int, gone: int, is_held: bool
) -> None:
    quota.set_limits(place.centers["physics"], {Dimension.VCPUS_RUNNING: None})
    made = [place.machine(f"web-{number}") for number in range(machines)]
    with place.double.store.change() as db:
        for vm in made[:gone]:
            drop(db, "vm", str(vm.pk))
    for _ in range(2):
        sync_provider(place.provider)
    assert sum(vm.is_absent for vm in Vm.objects.all()) == (0 if is_held else gone)
    assert Vm.objects.count() == machines
    assert Provider.objects.get().status_detail == (HELD if is_held else "")
    assert Event.objects.filter(code="PROVIDER_COMPARE_HELD").count() == is_held, "an alarm sounds once"


def test_what_a_host_tells_of_itself_is_kept_to_what_a_row_holds(place: Place) -> None:
    told = driver_for(place.provider).inventory()
    for host, domain in (
        ({"name": "x" * 300, "status": "y" * 30, "accelerator": "z" * 20, "cpus": 2**40, "memory_mib": 2**70},
         {"name": "x" * 200, "type": "y" * 30, "total_bytes": 2**70}),
        ({"cpus": -1, "memory_mib": -1, "memory_free_mib": -1}, {"total_bytes": -1, "used_bytes": -1, "free_bytes": -1}),
    ):  # fmt: skip
        hosts = tuple(replace(one, **host) for one in told.hosts)
        domains = tuple(replace(one, **domain) for one in told.storage_domains)
        strange = replace(told, hosts=hosts, storage_domains=domains)
        inventory._write_hosts(place.provider, strange, {})
        inventory._write_storage(place.provider, strange)
        for row in (Host.objects.get(), *StorageDomain.objects.all()):
            row.clean_fields(exclude={"addresses", "zones"})  # which may be empty


@pytest.mark.long
def test_tf13_a_hypervisor_that_is_down_for_long_has_unknown_machines_that_cost_what_they_cost(place: Place) -> None:
    """However often the watcher tries: nothing is made, stopped, deleted or given back meanwhile."""
    on, off = place.machine("on"), place.machine("off", run=False)
    charges = sorted(QuotaCharge.objects.values_list("consumer_uid", "dimension", "amount"))
    there, watcher = place.look(), ProviderWatcher(place.provider.pk, stop := threading.Event())
    stop.set()  # it looks once, and does not follow
    place.double.forget_calls()
    place.double.fail("*", Fault.GONE, times=-1)
    for _ in range(30):
        forget(place.provider.pk)  # nobody waits for a cool-down
        watcher._once()
    assert {(vm.status, vm.is_absent) for vm in Vm.objects.all()} == {("unknown", False)}
    assert sorted(QuotaCharge.objects.values_list("consumer_uid", "dimension", "amount")) == charges
    assert {call.method for call in place.double.calls()} <= {"watch", "about"}, "it was only asked whether it is there"
    assert not Event.objects.filter(severity="alert").exists()
    place.double.heal()
    forget(place.provider.pk)
    watcher._once()
    assert dict(Vm.objects.values_list("pk", "status")) == {on.pk: "up", off.pk: "down"}
    assert sorted(QuotaCharge.objects.values_list("consumer_uid", "dimension", "amount")) == charges
    assert place.look() == there


def watched(place: Place, vm: Vm) -> str:
    """The status after all that watches has looked."""
    vm.refresh_from_db()
    look_at(place.provider, vm.external_id)
    sync_provider(place.provider)
    vm.refresh_from_db()
    return vm.status


@pytest.mark.parametrize("run", [True, False])
def test_tf17_a_machine_resized_behind_our_back_has_that_size_and_is_charged_for_it(place: Place, run: bool) -> None:
    vm = place.machine("web-1", run=run)
    place.double.set_vm(vm.external_id, vcpus=40, memory_mib=128)

    sync_provider(place.provider)

    vm.refresh_from_db()
    assert (vm.vcpus, vm.memory_mib) == (40, 128)
    assert running_charges(vm) == ({"vcpus_running": 40, "memory_running_mib": 128} if run else {})
    [told] = Event.objects.filter(code="VM_RESIZED_OUTSIDE")
    assert (told.object_uid, told.data["is"]) == (vm.pk, {"vcpus": 40, "memory_mib": 128})
    # What was missed for any reason is put right by the next compare.
    Vm.objects.filter(pk=vm.pk).update(vcpus=2)
    place.double.set_vm(vm.external_id, vcpus=2)
    sync_provider(place.provider)
    assert running_charges(vm) == ({"vcpus_running": 2, "memory_running_mib": 128} if run else {})
    assert quota.recount_drift(place.centers["physics"]) == []


def running_charges(vm: Vm) -> dict[str, int]:
    rows = QuotaCharge.objects.filter(consumer_uid=vm.pk, dimension__in=RUNNING_DIMENSIONS)
    return dict(rows.values_list("dimension", "amount"))


@pytest.mark.parametrize("run", [True, False])
def test_machine_that_is_being_made_is_not_seen_off_before_its_start(place: Place, run: bool) -> None:
    vm, job = place.create(run=run)
    seen = ["creating"]
    while Job.objects.get(pk=job.pk).status not in FINAL:
        advance(job.pk)
        if (status := watched(place, vm)) != seen[-1]:
            seen.append(status)
    assert seen[0] == "creating"
    assert seen[1:]
    assert set(seen[1:]) <= ({"powering_up", "up"} if run else {"down"})


def test_machine_whose_creation_was_closed_half_way_shows_what_there_is_of_it(place: Place) -> None:
    vm, job = place.create()
    while not vm.external_id:
        advance(job.pk)
        vm.refresh_from_db()
    assert watched(place, vm) == "creating"
    JobLock.objects.filter(job=job).delete()
    assert watched(place, vm) == "down"
