"""An engine that was built anew: what it has under other ids is given to the rows of before, so that grants and quotas stay.

Only while the engine awaits a super-admin's look. Places and templates are known by their names, machines by our marks: what is
told apart by neither gets a row of its own, and the row of before stays as one of what is gone.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from compute.models import Cluster, Disk, Host, StorageDomain, Template, Vm, Zone
from compute.sync.vms import being_made
from network.sync import follow_networks
from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.base import Driver
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from portal.hypervisors.rows import follow
from portal.hypervisors.specs import Inventory, VmFound, VmRef

log = logging.getLogger(__name__)

MOST_AT_ONCE = 100  # machines whose marks are renewed at one compare


def follow_places(provider: Provider, inventory: Inventory) -> None:
    """Before the inventory is written, in its transaction; another compare may be at the same."""
    Provider.objects.select_for_update().filter(pk=provider.pk).first()
    _follow_named(Zone.objects.filter(provider=provider), inventory.zones)
    _follow_named(Cluster.objects.filter(provider=provider).exclude(external_id=""), inventory.clusters)
    _follow_named(Host.objects.filter(provider=provider), inventory.hosts)
    _follow_named(StorageDomain.objects.filter(provider=provider), inventory.storage_domains)
    versions = {one.external_id: (one.name[:64], one.version) for one in inventory.templates}
    follow({row: (row.name, row.version) for row in Template.objects.filter(provider=provider)}, versions)
    follow_networks(provider, inventory)


def _follow_named(rows: QuerySet[Any], found: Iterable[Any]) -> None:
    longest = rows.model._meta.get_field("name").max_length
    follow({row: row.name for row in rows}, {one.external_id: one.name[:longest] for one in found})


def follow_machines(provider: Provider, inventory: Inventory, driver: Driver) -> None:
    """Machines that came back under other ids. Raises ``Unavailable``."""
    rows = {vm.pk: vm for vm in Vm.objects.filter(provider=provider).exclude(being_made())}
    again = found_again(rows.values(), inventory.vms, portal_id())
    for uid, found in list(again.items())[:MOST_AT_ONCE]:
        try:
            driver.renew_mark(VmRef(uid, found.external_id))
        except Unavailable:
            raise
        except HypervisorError as error:
            log.warning("the mark of %s could not be renewed yet: %s", uid, error.detail or error.public)
        else:
            _follow(rows[uid], found)


def found_again(rows: Iterable[Vm], there: Iterable[VmFound], ours: UUID) -> Mapping[UUID, VmFound]:
    """The machines whose id is not there any more, each with the one machine there that bears its mark and is no other's.

    One that was made here is also known by its name there: else a copy that somebody made by hand would pass for it.
    """
    rows, there = list(rows), list(there)
    ids, taken = {vm.external_id for vm in there}, {vm.external_id for vm in rows}
    bearers: defaultdict[UUID, list[VmFound]] = defaultdict(list)
    for one in there:
        if one.marker is not None and one.marker.portal_id == ours and one.external_id not in taken:
            bearers[one.marker.uid].append(one)
    lost = [vm for vm in rows if vm.external_id and vm.external_id not in ids]
    named = {vm.pk: [one for one in bearers[vm.pk] if vm.adopted or _is_named(vm, one)] for vm in lost}
    return {uid: found[0] for uid, found in named.items() if len(found) == 1}


def _is_named(vm: Vm, found: VmFound) -> bool:
    return found.name.endswith(f"-{vm.pk.hex[:8]}")


def _follow(vm: Vm, found: VmFound) -> None:
    """Its disks may have other ids, too: they are known by their names until somebody asks."""
    with transaction.atomic():
        rows = Vm.objects.filter(pk=vm.pk, external_id=vm.external_id)
        if not rows.update(external_id=found.external_id):
            return
        Disk.objects.filter(vm=vm).update(external_id="")
        record(
            system_actor(),
            "VM_FOUND_AGAIN",
            outcome=Outcome.NOTED,
            severity=Severity.WARNING,
            subject=Subject("vm", vm.pk, vm.name, vm.data_center_id),
            data={"was": vm.external_id, "now": found.external_id},
        )
