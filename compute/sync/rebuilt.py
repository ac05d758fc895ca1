"""An engine that was built anew: what it has under other ids is given to the rows of before, so that grants and quotas stay.

Only while the engine awaits a super-admin's look, and once when one that was known before is back. Places and templates are known by their names, machines by our marks: what is
told apart by neither gets a row of its own, and the row of before stays as one of what is gone.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet, Subquery

from compute.models import Cluster, Disk, FoundVm, Host, StorageDomain, Template, Vm, Zone
from compute.rules import adopted_name
from compute.sync.turns import turn_of
from compute.sync.vms import being_made
from network.models import Network, VnicProfile
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
MOST_TOLD = 50  # places that one event names
PLACES_FOLLOWED = "PROVIDER_PLACES_FOLLOWED"


def follow_places(provider: Provider, inventory: Inventory) -> None:
    """Before the inventory is written, in its transaction; another compare may be at the same. What followed is recorded."""
    Provider.objects.select_for_update().filter(pk=provider.pk).first()
    before = _ids(provider)
    _follow_named(Zone.objects.filter(provider=provider), inventory.zones)
    _follow_named(Cluster.objects.filter(provider=provider).exclude(external_id=""), inventory.clusters)
    _follow_named(Host.objects.filter(provider=provider), inventory.hosts)
    _follow_named(StorageDomain.objects.filter(provider=provider), inventory.storage_domains)
    versions = {one.external_id: (one.name[:64], one.version) for one in inventory.templates}
    follow({row: (row.name, row.version) for row in Template.objects.filter(provider=provider)}, versions)
    follow_networks(provider, inventory)
    _tell_followed(provider, before, _ids(provider))


Ids = Mapping[tuple[str, UUID], tuple[str, str]]


def _ids(provider: Provider) -> Ids:
    """Name and external id of each place, by kind and key."""
    kinds: dict[str, QuerySet[Any]] = {
        "zone": Zone.objects.filter(provider=provider),
        "cluster": Cluster.objects.filter(provider=provider),
        "host": Host.objects.filter(provider=provider),
        "storage_domain": StorageDomain.objects.filter(provider=provider),
        "template": Template.objects.filter(provider=provider),
        "network": Network.objects.filter(provider=provider, is_found=True),
        "vnic_profile": VnicProfile.objects.filter(network__provider=provider, network__is_found=True),
    }
    return {
        (kind, uid): (name, external_id)
        for kind, rows in kinds.items()
        for uid, name, external_id in rows.values_list("pk", "name", "external_id")
    }


def _tell_followed(provider: Provider, before: Ids, now: Ids) -> None:
    """One event for a compare, with the first of what followed."""
    followed = [
        {"kind": key[0], "name": name, "was": was, "now": now[key][1]}
        for key, (name, was) in before.items()
        if key in now and now[key][1] != was
    ]
    if followed:
        record(
            system_actor(),
            PLACES_FOLLOWED,
            outcome=Outcome.NOTED,
            severity=Severity.WARNING,
            subject=Subject("provider", provider.pk, provider.name),
            data={"count": len(followed), "followed": followed[:MOST_TOLD]},
        )


def _follow_named(rows: QuerySet[Any], found: Iterable[Any]) -> None:
    longest = rows.model._meta.get_field("name").max_length
    follow({row: row.name for row in rows}, {one.external_id: one.name[:longest] for one in found})


def follow_machines(provider: Provider, inventory: Inventory, driver: Driver) -> bool:
    """Machines that came back under other ids; whether each of them got its turn. Raises ``Unavailable``."""
    rows = {vm.pk: vm for vm in Vm.objects.filter(provider=provider).exclude(being_made())}
    again = found_again(rows.values(), inventory.vms, portal_id(), known=_known_before(provider))
    for uid, found in sorted(again.items())[turn_of(len(again), most=MOST_AT_ONCE)]:
        try:
            driver.renew_mark(VmRef(uid, found.external_id))
        except Unavailable:
            raise
        except HypervisorError as error:
            log.warning("the mark of %s could not be renewed yet: %s", uid, error.detail or error.public)
        else:
            _follow(rows[uid], found)
    return len(again) <= MOST_AT_ONCE


def _known_before(provider: Provider) -> set[str]:
    """The ids of machines that were there beside ours before this instance answered: whatever mark they bear, they are others."""
    rows = FoundVm.objects.filter(provider=provider)
    since = Provider.objects.filter(pk=provider.pk).values("instance_since")
    return set(rows.filter(created_at__lt=Subquery(since)).values_list("external_id", flat=True))


def found_again(
    rows: Iterable[Vm], there: Iterable[VmFound], ours: UUID, *, known: Container[str] = ()
) -> Mapping[UUID, VmFound]:
    """The machines whose id is not there any more, each with the one machine there that bears its mark and is no other's.

    It is also known by its name there, and by the id that its mark names: else a copy that somebody made by hand would pass
    for it. ``known``: ids that were others' before.
    """
    rows, there = list(rows), list(there)
    ids, taken = {vm.external_id for vm in there}, {vm.external_id for vm in rows}
    bearers: defaultdict[UUID, list[VmFound]] = defaultdict(list)
    for one in there:
        is_free = one.external_id not in taken and one.external_id not in known
        if one.marker is not None and one.marker.portal_id == ours and is_free:
            bearers[one.marker.uid].append(one)
    lost = [vm for vm in rows if vm.external_id and vm.external_id not in ids]
    named = {vm.pk: [one for one in bearers[vm.pk] if _is_named(vm, one) and _is_put_on(vm, one)] for vm in lost}
    return {uid: found[0] for uid, found in named.items() if len(found) == 1}


def _is_named(vm: Vm, found: VmFound) -> bool:
    """As it was named when it was made or adopted."""
    if vm.adopted:
        return adopted_name(found.name, taken=()) == vm.name
    return found.name.endswith(f"-{vm.pk.hex[:8]}")


def _is_put_on(vm: Vm, found: VmFound) -> bool:
    """Whether the mark names no machine, or the one that the row had, or the very one that bears it."""
    return vm.external_id.lower().startswith(found.put_on) or found.external_id.lower().startswith(found.put_on)


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
