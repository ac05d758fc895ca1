"""The recount: what everything costs by its rows, beside what the ledger has. It reports, and never mends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from compute import rules
from compute.choices import RUNNING, ImageStatus
from compute.models import Disk, Image, Template, Vm
from compute.sync.vms import running_amounts
from portal.common.actor import Actor
from tenants import policy, quota
from tenants.models import DataCenter, QuotaCharge
from tenants.models.quota import Dimension
from tenants.permits import Permit

Key = tuple[str, UUID, str]  # a consumer's kind and uid, and the dimension

UNSETTLED = {"unknown", "creating"}  # their running costs stay as they are until they are seen


@dataclass(frozen=True, slots=True)
class Drift:
    """A charge that is not what the thing costs; None where there is none, or nothing to charge for."""

    kind: str
    uid: UUID
    dimension: str
    charged: int | None
    costs: int | None


@dataclass(frozen=True, slots=True)
class Recount:
    """What does not agree in a data center: accounts with the sums of their charges, charges with what they are for."""

    accounts: tuple[dict[str, object], ...]
    charges: tuple[Drift, ...]

    @property
    def agrees(self) -> bool:
        """Whether there is nothing to report."""
        return not self.accounts and not self.charges


def recount(actor: Actor, data_center: DataCenter) -> Recount:
    """Compare a data center's ledger with its machines, disks, images and templates. For super-admins.

    Jobs at work charge before they make and release after they remove: what is under way may be reported too.
    """
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
    with transaction.atomic():
        accounts = tuple(quota.recount_drift(data_center))
        charged = {
            (row.consumer_kind, row.consumer_uid, row.dimension): row.amount
            for row in QuotaCharge.objects.filter(data_center=data_center)
        }
        costs = dict(_costs(data_center))
        loose = set(_unsettled(data_center))
    differing = [key for key in charged.keys() | costs.keys() if charged.get(key) != costs.get(key)]
    found = (Drift(*key, charged.get(key), costs.get(key)) for key in sorted(differing, key=str) if key not in loose)
    return Recount(accounts, tuple(found))


def _costs(data_center: DataCenter) -> Iterator[tuple[Key, int]]:
    for vm in Vm.objects.filter(data_center=data_center):
        yield from _costs_of(vm)
    storage = str(Dimension.STORAGE_GIB)
    for uid, size in Disk.objects.filter(vm__data_center=data_center).values_list("pk", "size_gib"):
        yield ("disk", uid, storage), size
    images = Image.objects.filter(owner=data_center).exclude(status=ImageStatus.REFUSED)
    for uid, size in images.values_list("pk", "size_bytes"):
        yield ("image", uid, storage), rules.gib_of(size)
    for uid, size in Template.objects.filter(owner=data_center).values_list("pk", "disk_gib"):
        yield ("template", uid, storage), size


def _costs_of(vm: Vm) -> Iterator[tuple[Key, int]]:
    amounts = {
        Dimension.MACHINES: 1,
        Dimension.VCPUS_DEFINED: vm.vcpus,
        Dimension.MEMORY_DEFINED_MIB: vm.memory_mib,
    }
    if vm.found_disk_gib:
        amounts[Dimension.STORAGE_GIB] = vm.found_disk_gib
    if vm.status in RUNNING:
        amounts |= running_amounts(vm)
    yield from ((("vm", vm.pk, str(dimension)), amount) for dimension, amount in amounts.items())


def _unsettled(data_center: DataCenter) -> Iterator[Key]:
    """The running costs of machines of which it is not known whether they run."""
    rows = Vm.objects.filter(data_center=data_center, status__in=UNSETTLED)
    for uid in rows.values_list("pk", flat=True):
        yield "vm", uid, str(Dimension.VCPUS_RUNNING)
        yield "vm", uid, str(Dimension.MEMORY_RUNNING_MIB)
