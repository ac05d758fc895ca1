"""Writing found states of machines into rows, and telling the open pages."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from compute.choices import ABSENT, RUNNING
from compute.models import Vm
from compute.sync.engines import Places
from portal.common.actor import system_actor
from portal.events.codes import Outcome
from portal.events.record import Subject, record
from portal.hypervisors.models import Provider
from portal.hypervisors.rows import batches
from portal.hypervisors.specs import Address, VmFound
from portal.jobs.models import JobLock
from tenants import quota
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension

log = logging.getLogger(__name__)

RUNNING_DIMENSIONS = (Dimension.VCPUS_RUNNING, Dimension.MEMORY_RUNNING_MIB)
SIZES = ("vcpus", "memory_mib")
LONGEST_DETAIL = 200


def announce(vm: Vm) -> None:
    """Tell the open pages, after the commit; never raises."""
    groups = [f"target.{vm.pk.hex}"] + ([f"user.{vm.owner_id.hex}"] if vm.owner_id else [])
    message = {"type": "vm.changed", "vm": str(vm.pk)}
    transaction.on_commit(lambda: _send(groups, message), robust=True)


def _send(groups: list[str], message: dict[str, str]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    for group in groups:
        try:
            async_to_sync(layer.group_send)(group, message)
        except Exception:  # noqa: BLE001 - whatever the layer does, the change is committed
            log.warning("could not tell open pages of a change; they look again by themselves")
            return


def observe(
    vm: Vm, found: VmFound | None, *, addresses: Iterable[Address] | None = None, places: Places | None = None
) -> None:
    """Write what was found. ``None`` means the provider does not have it: shown as unknown, never as deleted.

    Where a machine is, its engine decides and tells; ``places`` are that engine's, where they were read already. One whose size
    was changed there has that size, and is charged for it.
    """
    values = _observed(vm, found, places)
    if addresses is not None:
        values["addresses"] = [{"mac": a.mac, "ip": a.ip, "source": a.source} for a in addresses]
    changed = _differs(vm, values)
    with transaction.atomic():
        rows = Vm.objects.filter(pk=vm.pk).exclude(status="creating", external_id="")
        # None when the machine was deleted meanwhile: it must not be charged again.
        if rows.update(**values, status_at=timezone.now()) and changed:
            was = {name: getattr(vm, name) for name in SIZES}
            for name, value in values.items():
                setattr(vm, name, value)
            # Since it was read it may have moved to another data center: that one's it is now.
            now = Vm.objects.select_related("data_center").get(pk=vm.pk)
            _record_size(now, was)
            settle_running(now)
            announce(now)


def _observed(vm: Vm, found: VmFound | None, places: Places | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "status": found.status.value if found else "unknown",
        "status_detail": (found.status_detail if found else ABSENT)[:LONGEST_DETAIL],
    }
    if found is not None:
        values |= {name: size for name in SIZES if (size := getattr(found, name))}  # 0 is not told
    if found is not None and found.cluster:
        values |= (places or Places(vm.provider_id)).of(found.cluster, found.host)
    return values


def _record_size(vm: Vm, was: dict[str, int]) -> None:
    is_now = {name: getattr(vm, name) for name in SIZES}
    if was != is_now:
        record(
            system_actor(),
            "VM_RESIZED_OUTSIDE",
            outcome=Outcome.NOTED,
            subject=Subject("vm", vm.pk, vm.name, vm.data_center_id),
            data={"was": was, "is": is_now},
        )


def _differs(vm: Vm, values: dict[str, Any]) -> bool:
    return any(getattr(vm, name) != value for name, value in values.items())


def observe_all(seen: Iterable[tuple[Vm, VmFound | None]], *, places: Places | None, began: datetime) -> None:
    """The same for the machines of a compare: those that are as they were cost a query for many, not one each.

    ``began``: before they were looked at; what was seen since is newer.
    """
    same = []
    for vm, found in seen:
        if _differs(vm, _observed(vm, found, places)):
            observe(vm, found, places=places)
        else:
            same.append(vm.pk)
    older = Vm.objects.filter(Q(status_at__isnull=True) | Q(status_at__lt=began))
    for some in batches(same):
        older.filter(pk__in=some).update(status_at=timezone.now())


def being_made() -> Q:
    """Machines that no observation but their own job's may change to off: defined perhaps, and not started yet.

    With the job over they are like any other: one whose creation was closed half-way shows what there is of it.
    """
    return Q(status="creating") & (Q(external_id="") | Q(Exists(_jobs_at(OuterRef("pk")))))


def _jobs_at(uid: Any) -> QuerySet[JobLock]:
    """The lock of the job that is at work on a machine."""
    return JobLock.objects.filter(kind="vm", uid=uid, exclusive=True)


def settle_running(vm: Vm) -> None:
    """Running vCPU and memory are charged while a machine runs, and given back once it is seen off.

    Not while a job is at work on it: the job settles at its end. A machine found running that nobody charged (started or made
    larger behind our back) is charged all the same and shown as over.
    """
    # The charge is read before the lock: a request writes both at once, and what it charges just now is not ours to judge.
    charged = _charged(vm)
    if not _jobs_at(vm.pk).exists():
        _charge_as_seen(vm, charged=charged)


def settle_at_end(vm: Vm) -> None:
    """The same when the job at work on it ends; in that transaction."""
    _charge_as_seen(vm, charged=_charged(vm))


def settle_all(provider: Provider) -> None:
    """Settle the machines whose charge is not what their last status and size ask for, whatever was missed before."""
    rows = Vm.objects.filter(provider=provider).annotate(
        charged=Exists(_charges_of(Dimension.VCPUS_RUNNING)),
        runs_wrong=_is_wrong(Dimension.VCPUS_RUNNING, "vcpus") | _is_wrong(Dimension.MEMORY_RUNNING_MIB, "memory_mib"),
        is_wrong=_is_wrong(Dimension.VCPUS_DEFINED, "vcpus") | _is_wrong(Dimension.MEMORY_DEFINED_MIB, "memory_mib"),
    )
    for_free = Q(charged=False, status__in=RUNNING - {"unknown"})
    for_nothing = Q(charged=True) & ~Q(status__in=RUNNING | {"creating"})
    for_another = Q(runs_wrong=True, status__in=RUNNING - {"unknown"}) | (Q(is_wrong=True) & ~Q(status="creating"))
    for vm in rows.filter(for_free | for_nothing | for_another).select_related("data_center"):
        with transaction.atomic():
            # Held by its row: a machine that is deleted meanwhile must not be charged.
            if Vm.objects.filter(pk=vm.pk, status=vm.status).update(status=vm.status):
                settle_running(vm)


def _charges_of(dimension: Dimension) -> QuerySet[QuotaCharge]:
    return QuotaCharge.objects.filter(consumer_kind="vm", consumer_uid=OuterRef("pk"), dimension=dimension)


def _is_wrong(dimension: Dimension, size: str) -> Exists:
    return Exists(_charges_of(dimension).exclude(amount=OuterRef(size)))


def _charged(vm: Vm) -> dict[Dimension, int]:
    """What it is charged, by dimension: for running nothing while it does not."""
    rows = QuotaCharge.objects.filter(consumer_kind="vm", consumer_uid=vm.pk)
    return {Dimension(name): amount for name, amount in rows.values_list("dimension", "amount")}


def _charge_as_seen(vm: Vm, *, charged: dict[Dimension, int]) -> None:
    """A machine that is unknown stays as it is."""
    consumer, for_running = quota.Consumer("vm", vm.pk), running_amounts(vm)
    is_charged, wanted = bool(charged.keys() & for_running.keys()), defined_amounts(vm)
    if vm.status in RUNNING and vm.status != "unknown":
        wanted |= for_running
        if not is_charged:
            # Read anew: since the machine was, it may have moved to another data center.
            now = Vm.objects.select_related("data_center").get(pk=vm.pk)
            quota.charge(consumer, now.data_center, for_running, user_uid=now.owner_id, found=True)
    elif vm.status not in RUNNING and is_charged and vm.status != "creating":
        quota.release(consumer, RUNNING_DIMENSIONS)
    _adjust(consumer, {name: amount for name, amount in wanted.items() if charged.get(name, amount) != amount})


def _adjust(consumer: quota.Consumer, amounts: dict[Dimension, int]) -> None:
    """What was found of another size; a charge that ended in this moment is none to be changed any more."""
    if not amounts:
        return
    try:
        quota.adjust(consumer, amounts, found=True)
    except LookupError:
        log.info("%s: its charge ended while its size was looked at; the next compare settles it", consumer)


def defined_amounts(vm: Vm) -> dict[Dimension, int]:
    """What a machine costs whether it runs or not, by its size."""
    return {Dimension.VCPUS_DEFINED: vm.vcpus, Dimension.MEMORY_DEFINED_MIB: vm.memory_mib}


def running_amounts(vm: Vm) -> dict[Dimension, int]:
    """What a machine costs while it runs."""
    return {Dimension.VCPUS_RUNNING: vm.vcpus, Dimension.MEMORY_RUNNING_MIB: vm.memory_mib}


def unknown_since_silence(provider_uid: UUID) -> int:
    """A provider went silent: its machines are unknown, not off. The number of machines so marked."""
    rows = Vm.objects.filter(provider_id=provider_uid).exclude(status__in=["unknown", "creating"])
    count = 0
    for vm in rows.iterator(chunk_size=500):
        with transaction.atomic():
            # ``status_at`` stays: it is the time of the last observation.
            count += Vm.objects.filter(pk=vm.pk, status=vm.status).update(
                status="unknown", status_detail="the hypervisor does not answer"
            )
            announce(vm)
    return count
