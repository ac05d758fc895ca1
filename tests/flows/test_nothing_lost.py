"""The watch over the invariants sees every breach of them: a check that cannot fail would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from compute.models import Disk, Vm
from portal.events.models import Event
from portal.jobs.models import Job, JobLock
from tenants.models import QuotaAccount, QuotaCharge
from tests.doubles.hypervisor_state import get, put
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.place import Place
from tests.lab.audit import opened

pytestmark = pytest.mark.django_db(transaction=True)


def _body(place: Place, kind: str, key: str, **changes: object) -> None:
    with place.double.store.change() as db:
        body = get(db, kind, key)
        assert body is not None
        put(db, kind, key, body | changes)


def _twin(place: Place, vm: Vm, *, kind: str = "vm") -> None:
    """A second object of ours beside the machine's own, which no row knows."""
    key = str(vm.pk) if kind == "vm" else next(name for name in place.double.things("disk") if name.endswith(".iso"))
    other = str(uuid4())
    with place.double.store.change() as db:
        body = get(db, kind, key)
        assert body is not None
        marker = {**body["marker"], "uid": other}
        put(db, kind, other + (".iso" if kind == "disk" else ""), body | {"marker": marker})


def _lose_disk(place: Place, vm: Vm) -> None:
    disk = str(vm.disks.get().pk)
    place.double.remove("disk", next(name for name in place.double.things("disk") if disk in name))


def _job(vm: Vm) -> Job:
    return Job.objects.get(target_uid=vm.pk)


def _touch(place: Place) -> None:
    name = next(name for name in place.strangers if name.startswith("vm "))
    _body(place, "vm", name.partition(" ")[2], state="down")


BREACHES: dict[str, tuple[str, Callable[[Place, Vm], object]]] = {
    "an open job": ("INV1", lambda place, vm: Job.objects.filter(pk=_job(vm).pk).update(status="started")),
    "a lost disk": ("INV2 disk", _lose_disk),
    "a second machine": ("INV2 machine", _twin),
    "a first-boot volume of nobody": ("INV2 first-boot", lambda place, vm: _twin(place, vm, kind="disk")),
    "a network gone": ("INV2 network", lambda place, vm: place.double.remove("network", str(_network(place)))),
    "a lock left": ("INV2", lambda place, vm: JobLock.objects.create(job=_job(vm), kind="vm", uid=vm.pk)),
    "a row of nothing": ("INV2", lambda place, vm: Disk.objects.filter(vm=vm).update(uid=uuid4())),
    "a wrong account": ("INV3", lambda place, vm: QuotaAccount.objects.filter(used=1).update(used=2)),
    "a charge of nobody": ("INV3", lambda place, vm: QuotaCharge.objects.filter(consumer_uid=vm.pk).update(consumer_uid=uuid4())),
    "running for free": ("INV3", lambda place, vm: QuotaCharge.objects.filter(dimension="vcpus_running").delete()),
    "a name twice": ("INV4 name", lambda place, vm: place.double.plant_vm(_name(place, vm))),
    "a MAC twice": ("INV4 MAC", lambda place, vm: _body(place, "vm", str(vm.pk), nics=_nics(place, vm) * 2)),
    "no record": ("INV5", lambda place, vm: _forget_end(_job(vm))),
    "a second record": ("INV5", lambda place, vm: _copy(Event.objects.get(correlation_id=_job(vm).pk, outcome="requested"))),
    "a stranger touched": ("INV6", lambda place, vm: _touch(place)),
}  # fmt: skip


def _network(place: Place) -> object:
    return place.centers["physics"].networks.get().pk


def _name(place: Place, vm: Vm) -> str:
    return str(place.double.things("vm")[str(vm.pk)]["name"])


def _nics(place: Place, vm: Vm) -> list[object]:
    return list(place.double.things("vm")[str(vm.pk)]["nics"])


def _forget_end(job: Job) -> None:
    with opened() as events:
        events.filter(correlation_id=job.pk, outcome="done").delete()


def _copy(event: Event) -> None:
    event.pk = uuid4()
    event.save(force_insert=True)


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_seen(place: Place, breach: str):
    vm = place.machine()
    assert_nothing_lost(place)
    told, commit = BREACHES[breach]
    commit(place, vm)
    with pytest.raises(AssertionError, match=told):
        assert_nothing_lost(place)
