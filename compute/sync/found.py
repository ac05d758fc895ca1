"""Writing down what is on a provider and not in our care, so that it can be adopted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from compute.choices import FoundMark
from compute.models import FoundVm, Vm
from compute.sync.engines import Places
from portal.hypervisors.models import Provider
from portal.hypervisors.rows import batches, bring
from portal.hypervisors.specs import Inventory, VmFound


def write_found(provider: Provider, inventory: Inventory, ours: UUID) -> None:
    """Bring the rows to what was found by the portal with this id; those that did not change are not written, and another compare may be at it."""
    known = dict(Vm.objects.filter(provider=provider).values_list("pk", "external_id"))
    ids = set(known.values())
    places = Places(provider.pk) if inventory.clusters else None
    seen = {
        vm.external_id: _values(vm, places, ours)
        for vm in inventory.vms
        if vm.external_id not in ids and not _is_being_made(vm, known, ours)
    }
    gone = bring(FoundVm.objects.filter(provider=provider), seen, of={"provider": provider})
    for some in batches([row.pk for row in gone]):
        FoundVm.objects.filter(pk__in=some).delete()


def _is_ours(vm: VmFound, ours: UUID) -> bool:
    return vm.marker is not None and vm.marker.portal_id == ours


def _is_being_made(vm: VmFound, known: Mapping[UUID, str], ours: UUID) -> bool:
    """Made by a job of ours that has not written down yet what it is called there."""
    return _is_ours(vm, ours) and vm.marker is not None and known.get(vm.marker.uid) == ""


def _values(vm: VmFound, places: Places | None, ours: UUID) -> dict[str, Any]:
    """What a row says of it. With our own mark and no row of ours (a backup was restored) it can be adopted again."""
    place = places.of(vm.cluster, vm.host) if places else {}
    return {
        "name": vm.name[:255],
        "status": vm.status.value,
        "memory_mib": vm.memory_mib,
        "vcpus": vm.vcpus,
        "mark": _mark(vm, ours),
        "marked_uid": vm.marker.uid if vm.marker and _is_ours(vm, ours) and not vm.is_copy else None,
        "cluster_id": place.get("cluster_id"),
        "host_id": place.get("host_id"),
    }


def _mark(vm: VmFound, ours: UUID) -> str:
    if vm.marker is None:
        return ""
    if not _is_ours(vm, ours):
        return str(FoundMark.PORTAL)
    return str(FoundMark.COPY) if vm.is_copy else ""
