"""The full compare: hosts, storage domains and machines of a provider into rows."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from compute.choices import ABSENT, HELD
from compute.models import Host, StorageDomain, Vm
from compute.sync.clusters import check_clusters, own_cluster
from compute.sync.found import write_found
from compute.sync.leftovers import remove_leftovers
from compute.sync.vms import being_made, observe, settle_all
from network.sync import write_networks
from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.connect import driver_for
from portal.hypervisors.models import Provider, ProviderStatus
from portal.hypervisors.specs import Inventory

log = logging.getLogger(__name__)

MOST_VANISHED = 5
MOST_VANISHED_SHARE = 0.1


def sync_provider(provider: Provider) -> Inventory:
    """Read everything and write it down. Raises the driver's errors; nothing is written then."""
    began = timezone.now()
    inventory = driver_for(provider).inventory()
    with transaction.atomic():
        _write_hosts(provider, inventory)
        _write_storage(provider, inventory)
        write_networks(provider, inventory, began=began)
        check_clusters(provider)
    held = _compare_vms(provider, inventory, began=began)
    write_found(provider, inventory)
    settle_all(provider)
    remove_leftovers(provider)
    _write_provider(provider, held=held)
    return inventory


def _write_provider(provider: Provider, *, held: int) -> None:
    """It answers. A compare that begins to be held is an alarm, once; ``held``: how many machines seem to have vanished."""
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
    row.update(status=ProviderStatus.UP, status_at=now, status_detail=HELD if held else "")


def _write_hosts(provider: Provider, inventory: Inventory) -> None:
    cluster = own_cluster(provider)
    for host in inventory.hosts:
        values = {
            "name": host.name,
            "status": host.status,
            "status_at": timezone.now(),
            "cpus": host.cpus,
            "memory_mib": host.memory_mib,
            "memory_free_mib": host.memory_free_mib,
            "version": host.version[:60],
            "accelerator": host.accelerator,
            "arch": host.cpu.arch[:20],
            "cpu_model": host.cpu.model[:100],
            "cpu_vendor": host.cpu.vendor[:100],
            "cpu_features": list(host.cpu.features),
            "tells_bridges": host.tells_bridges,
        }
        Host.objects.update_or_create(
            provider=provider,
            external_id=host.external_id,
            defaults=values,
            # One that is known stays in the cluster that it was put into.
            create_defaults={**values, "cluster": cluster},
        )
    there = [host.external_id for host in inventory.hosts]
    Host.objects.filter(provider=provider).exclude(external_id__in=there).update(status="unknown")


def _write_storage(provider: Provider, inventory: Inventory) -> None:
    seen = []
    for domain in inventory.storage_domains:
        seen.append(domain.external_id)
        StorageDomain.objects.update_or_create(
            provider=provider,
            external_id=domain.external_id,
            defaults={
                "name": domain.name,
                "type": domain.type,
                "status": domain.status,
                "status_at": timezone.now(),
                "holds_disks": domain.holds_disks,
                "shared_source": domain.shared_source[:1000],
                "total_bytes": domain.total_bytes,
                "used_bytes": domain.used_bytes,
                "free_bytes": domain.free_bytes,
            },
        )
    StorageDomain.objects.filter(provider=provider).exclude(external_id__in=seen).update(status="unknown")


def _compare_vms(provider: Provider, inventory: Inventory, *, began: datetime) -> int:
    """Ours alone, and of these not what was seen meanwhile: the inventory is older. How many seem to have vanished when these
    are more than a few, or all: then the answer is not believed, and they stay as they were.
    """
    found = {vm.external_id: vm for vm in inventory.vms}
    older = Q(status_at__isnull=True) | Q(status_at__lt=began)
    rows = list(Vm.objects.filter(older, provider=provider).exclude(being_made()).select_related("data_center"))
    there = [vm for vm in rows if vm.status_detail != ABSENT]
    gone = [vm for vm in there if vm.external_id not in found]
    is_held = len(gone) > max(MOST_VANISHED, MOST_VANISHED_SHARE * len(rows)) or len(gone) == len(there) > 1
    if is_held:
        told = (provider.name, len(gone), len(rows))
        log.error("provider %s: %d of %d machines seem to have vanished at once; the compare is held", *told)
    absent = set() if is_held else {vm.pk for vm in gone}
    for vm in rows:
        if vm.external_id in found:
            observe(vm, found[vm.external_id])
        elif vm.pk in absent:
            observe(vm, None)
    return len(gone) if is_held else 0
