"""Writing down what is on a provider and not in our care, so that it can be adopted."""

from __future__ import annotations

from typing import Any

from compute.choices import FoundMark
from compute.models import FoundVm, Vm
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Inventory, VmFound

FIELDS = ("name", "status", "memory_mib", "vcpus", "mark")
BATCH = 500


def write_found(provider: Provider, inventory: Inventory) -> None:
    """Bring the rows to what was found; those that did not change are not written, and another compare may be at it."""
    there = {row.external_id: row for row in FoundVm.objects.filter(provider=provider)}
    known = set(Vm.objects.filter(provider=provider).values_list("external_id", flat=True))
    seen = {vm.external_id: _values(vm) for vm in inventory.vms if vm.external_id not in known}
    fresh = [FoundVm(provider=provider, external_id=key, **seen[key]) for key in seen.keys() - there.keys()]
    changed = [_changed(there[key], values) for key, values in seen.items() if key in there]
    FoundVm.objects.bulk_create(fresh, batch_size=BATCH, ignore_conflicts=True)
    FoundVm.objects.bulk_update([row for row in changed if row], FIELDS, batch_size=BATCH)
    gone = [there[key].pk for key in there.keys() - seen.keys()]
    for start in range(0, len(gone), BATCH):
        FoundVm.objects.filter(pk__in=gone[start : start + BATCH]).delete()


def _changed(row: FoundVm, values: dict[str, Any]) -> FoundVm | None:
    if all(getattr(row, name) == value for name, value in values.items()):
        return None
    for name, value in values.items():
        setattr(row, name, value)
    return row


def _values(vm: VmFound) -> dict[str, Any]:
    """What a row says of it. With our own mark and no row of ours (a backup was restored) it can be adopted again."""
    mark = ""
    if vm.marker is not None and vm.marker.portal_id != portal_id():
        mark = FoundMark.PORTAL
    elif vm.is_copy:
        mark = FoundMark.COPY
    sizes = {"memory_mib": vm.memory_mib, "vcpus": vm.vcpus}
    return {"name": vm.name[:255], "status": vm.status.value, "mark": mark, **sizes}
