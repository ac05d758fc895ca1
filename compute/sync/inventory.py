"""The full compare: hosts, storage domains and machines of a provider into rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from compute.choices import ABSENT, HELD
from compute.models import Host, StorageDomain, Vm
from compute.sync.clusters import check_clusters, own_cluster
from compute.sync.engines import (
    LARGEST_NUMBER,
    Places,
    forget_gone_clusters,
    forget_unused_storage,
    write_clusters,
    write_instance_types,
    write_templates,
)
from compute.sync.found import write_found
from compute.sync.leftovers import remove_leftovers
from compute.sync.rebuilt import follow_machines, follow_places
from compute.sync.upgrades import is_to_be_followed, note_about
from compute.sync.vms import being_made, observe_all, settle_all
from network.sync import write_networks
from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.connect import driver_for
from portal.hypervisors.identity import portal_id
from portal.hypervisors.known import as_stored
from portal.hypervisors.models import Provider, ProviderStatus
from portal.hypervisors.registry import driver_class
from portal.hypervisors.rows import batches, bring
from portal.hypervisors.specs import Capabilities, HostFound, Inventory

log = logging.getLogger(__name__)

MOST_ADDRESSES = 64  # of one host
LARGEST_BYTES = 2**63 - 1
MOST_VANISHED = 5
MOST_VANISHED_SHARE = 0.1
BELIEVED_AFTER = timedelta(days=1)  # hosts that stay away


def sync_provider(provider: Provider) -> Inventory:
    """Read everything and write it down. Raises the driver's errors; nothing is written then."""
    began, ours = timezone.now(), portal_id()
    driver = driver_for(provider)
    inventory, able = driver.inventory(), driver.capabilities()
    news = note_about(provider, inventory.about)
    follows = is_to_be_followed(provider, news)
    with transaction.atomic():
        if follows:
            follow_places(provider, inventory)
        _write_hosts(provider, inventory, write_clusters(provider, inventory))
        forget_gone_clusters(provider)
        _write_storage(provider, inventory)
        write_networks(provider, inventory, ours=ours, began=began)
        write_templates(provider, inventory)
        write_instance_types(provider, inventory)
        check_clusters(provider)
    is_whole = not follows or follow_machines(provider, inventory, driver)
    held = _compare_vms(provider, inventory, ours=ours, began=began)
    write_found(provider, inventory, ours)
    settle_all(provider)
    remove_leftovers(provider, inventory, able, ours=ours, waits=news is not None)
    instance = inventory.about.instance
    unseen = _unseen(provider, instance)
    _write_provider(provider, able, held=held, unseen=unseen, written_from=instance if is_whole else "")
    return inventory


def _write_provider(provider: Provider, able: Capabilities, *, held: int, unseen: int, written_from: str) -> None:
    """It answers. A compare that begins to be held is an alarm, once; ``held``: how many machines seem to have vanished.

    ``unseen``: how many were never seen on the instance that answers; ``written_from``: that instance, if all was read whose ids
    may be others there.
    """
    row, now = Provider.objects.filter(pk=provider.pk), timezone.now()
    if held and row.exclude(status_detail=HELD).exists():
        record(
            system_actor(),
            "PROVIDER_COMPARE_HELD",
            outcome=Outcome.NOTED,
            severity=Severity.ALERT,
            subject=Subject("provider", provider.pk, provider.name),
            data={"machines": held},
        )
    values = {"held": held, "unseen": unseen, "capabilities": as_stored(able), "status_detail": HELD if held else ""}
    if written_from:
        values["written_from"] = written_from
    row.update(status=ProviderStatus.UP, status_at=now, **values)


def _unseen(provider: Provider, instance: str) -> int:
    if not instance or not driver_class(provider.kind).waits_after_upgrade:
        return 0
    return Vm.objects.filter(provider=provider).exclude(seen_on__in=["", instance]).count()


def _write_hosts(provider: Provider, inventory: Inventory, clusters: Mapping[str, UUID]) -> None:
    """A host is in the cluster that its engine says; where there is no engine, it stays in the one that it was put into."""
    now = timezone.now()
    seen, first = {}, {}
    for host in inventory.hosts:
        seen[host.external_id] = {
            "name": host.name[:255],
            "status": host.status[:20],
            "status_at": now,
            "cpus": _bounded(host.cpus),
            "memory_mib": _bounded(host.memory_mib),
            "memory_free_mib": _bounded(host.memory_free_mib),
            "version": host.version[:60],
            "accelerator": host.accelerator[:10],
            "arch": host.cpu.arch[:20],
            "cpu_model": host.cpu.model[:100],
            "cpu_vendor": host.cpu.vendor[:100],
            "cpu_features": list(host.cpu.features),
            "tells_bridges": host.tells_bridges,
            "addresses": [address[:255] for address in host.addresses[:MOST_ADDRESSES]],
        }
    following = {host.external_id: clusters[host.cluster] for host in inventory.hosts if host.cluster in clusters}
    if len(following) < len(seen):
        own = own_cluster(provider).pk
        first = {key: {"cluster_id": own} for key in seen.keys() - following.keys()}
    rows = Host.objects.filter(provider=provider)
    gone = bring(rows, seen, of={"provider": provider}, at_first=first | _in_clusters(following))
    _move_hosts(rows, following)
    left = rows.filter(pk__in=[row.pk for row in gone])
    if clusters:  # an engine's host that is not told any more was removed there
        (_unseen_for_long(left) if _is_too_many(gone, inventory.hosts) else left).delete()
    left.update(status="unknown")


def _bounded(told: int, largest: int = LARGEST_NUMBER) -> int:
    return max(0, min(told, largest))


def _is_too_many(gone: Sequence[Host], told: Sequence[HostFound]) -> bool:
    """So many hosts gone at once, or all, that it is not believed: an account that lost a right is told of none."""
    return bool(gone) and (not told or len(gone) > max(MOST_VANISHED, MOST_VANISHED_SHARE * (len(gone) + len(told))))


def _unseen_for_long(rows: QuerySet[Host]) -> QuerySet[Host]:
    return rows.filter(status_at__lt=timezone.now() - BELIEVED_AFTER)


def _in_clusters(following: Mapping[str, UUID]) -> dict[str, dict[str, UUID]]:
    return {key: {"cluster_id": uid} for key, uid in following.items()}


def _move_hosts(rows: QuerySet[Host], following: Mapping[str, UUID]) -> None:
    """Those whose engine has them in another cluster now."""
    for host in rows.filter(external_id__in=following):
        if host.cluster_id != following[host.external_id]:
            rows.filter(pk=host.pk).update(cluster=following[host.external_id])


def _write_storage(provider: Provider, inventory: Inventory) -> None:
    now = timezone.now()
    seen = {
        domain.external_id: {
            "name": domain.name[:128],
            "type": domain.type[:20],
            "status": domain.status,
            "status_at": now,
            "holds_disks": domain.holds_disks,
            "shared_source": domain.shared_source[:1000],
            "total_bytes": _bounded(domain.total_bytes, LARGEST_BYTES),
            "used_bytes": _bounded(domain.used_bytes, LARGEST_BYTES),
            "free_bytes": _bounded(domain.free_bytes, LARGEST_BYTES),
            "zones": sorted(domain.zones),
        }
        for domain in inventory.storage_domains
    }
    rows = StorageDomain.objects.filter(provider=provider)
    left = rows.filter(pk__in=[row.pk for row in bring(rows, seen, of={"provider": provider})])
    if inventory.clusters:
        forget_unused_storage(left)
    left.update(status="unknown")


def _compare_vms(provider: Provider, inventory: Inventory, *, ours: UUID, began: datetime) -> int:
    """Ours alone, and of these not what was seen meanwhile: the inventory is older. How many seem to have vanished when these
    are more than a few, or all: then the answer is not believed, and they stay as they were. One that lost our mark is none
    of ours any more, as for every other look.
    """
    marked = [(vm, vm.marker) for vm in inventory.vms if vm.marker is not None and vm.marker.portal_id == ours]
    found = {(vm.external_id, marker.uid): vm for vm, marker in marked}
    older = Q(status_at__isnull=True) | Q(status_at__lt=began)
    rows = list(Vm.objects.filter(older, provider=provider).exclude(being_made()).select_related("data_center"))
    there = [vm for vm in rows if vm.status_detail != ABSENT]
    gone = [vm for vm in there if (vm.external_id, vm.pk) not in found]
    is_held = len(gone) > max(MOST_VANISHED, MOST_VANISHED_SHARE * len(rows)) or len(gone) == len(there) > 1
    if is_held:
        told = (provider.name, len(gone), len(rows))
        log.error("provider %s: %d of %d machines seem to have vanished at once; the compare is held", *told)
    absent = set() if is_held else {vm.pk for vm in gone}
    places = Places(provider.pk) if inventory.clusters else None
    now = [(vm, found.get((vm.external_id, vm.pk))) for vm in rows]
    seen = [(vm, one) for vm, one in now if one is not None or vm.pk in absent]
    observe_all(seen, places=places, began=began)
    _write_seen_on(inventory.about.instance, (vm for vm, one in now if one is not None))
    return len(gone) if is_held else 0


def _write_seen_on(instance: str, machines: Iterable[Vm]) -> None:
    others = [vm.pk for vm in machines if instance and vm.seen_on != instance]
    for some in batches(others):
        Vm.objects.filter(pk__in=some).update(seen_on=instance)
