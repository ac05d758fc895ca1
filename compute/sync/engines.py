"""What only an engine has, into rows: zones, clusters, templates and instance types.

What is gone there is forgotten here too, unless something depends on it: then it is marked, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from compute.choices import TemplateStatus
from compute.models import (
    Cluster,
    ClusterAssignment,
    Disk,
    Host,
    InstanceType,
    StorageAssignment,
    StorageDomain,
    Template,
    TemplateAssignment,
    Vm,
    Zone,
)
from compute.rules import gib_of
from portal.hypervisors.engine_found import ClusterFound, TemplateDiskFound, TemplateFound
from portal.hypervisors.models import Provider
from portal.hypervisors.rows import batches, bring
from portal.hypervisors.specs import Inventory

LARGEST_OVERCOMMIT = 32767
LARGEST_NUMBER = 2**31 - 1


def write_clusters(provider: Provider, inventory: Inventory) -> dict[str, UUID]:
    """Zones and clusters; the rows of clusters by their external ids."""
    zones = {one.external_id: {"name": one.name[:255], "status": one.status[:20]} for one in inventory.zones}
    gone = bring(Zone.objects.filter(provider=provider), zones, of={"provider": provider})
    there = dict(Zone.objects.filter(provider=provider).values_list("external_id", "pk"))
    seen = {one.external_id: _cluster(one, there) for one in inventory.clusters}
    rows = Cluster.objects.filter(provider=provider).exclude(external_id="")
    left = bring(rows, seen, of={"provider": provider})
    Cluster.objects.filter(pk__in=[row.pk for row in left], is_gone=False).update(is_gone=True)
    Zone.objects.filter(pk__in=[row.pk for row in gone]).delete()
    return dict(rows.values_list("external_id", "pk"))


def _cluster(one: ClusterFound, zones: Mapping[str, UUID]) -> dict[str, Any]:
    return {
        "name": one.name[:64],
        "zone_id": zones.get(one.zone),
        "arch": one.arch[:20],
        "cpu_type": one.cpu_type[:100],
        "version": one.version[:20],
        "memory_overcommit_percent": max(1, min(one.memory_overcommit_percent, LARGEST_OVERCOMMIT)),
        "is_gone": False,
    }


def forget_gone_clusters(provider: Provider) -> None:
    """Those that are gone and have nothing in them any more; after the hosts were written."""
    gone = Cluster.objects.filter(provider=provider, is_gone=True)
    for model in (Host, Vm, ClusterAssignment):
        gone = gone.exclude(Exists(model._default_manager.filter(cluster=OuterRef("pk"))))
    gone.delete()


def forget_unused_storage(gone: QuerySet[StorageDomain]) -> None:
    """Storage domains that are gone and that nothing here needs."""
    for model in (Disk, Template, StorageAssignment):
        gone = gone.exclude(Exists(model._default_manager.filter(storage_domain=OuterRef("pk"))))
    gone.delete()


def write_instance_types(provider: Provider, inventory: Inventory) -> None:
    """Sizes under a name, for the provider's page."""
    seen = {
        one.external_id: {
            "name": one.name[:255],
            "description": one.description[:500],
            "memory_mib": max(0, one.memory_mib),
            "vcpus": max(0, min(one.vcpus, LARGEST_NUMBER)),
        }
        for one in inventory.instance_types
    }
    gone = bring(InstanceType.objects.filter(provider=provider), seen, of={"provider": provider})
    InstanceType.objects.filter(pk__in=[row.pk for row in gone]).delete()


# -- templates


def write_templates(provider: Provider, inventory: Inventory) -> None:
    """Templates with their versions. One without a disk, or none of whose disks can be reached, makes no machine."""
    rows = Template.objects.filter(provider=provider)
    lying = dict(rows.values_list("external_id", "storage_domain_id"))
    domains = list(StorageDomain.objects.filter(provider=provider).order_by("name", "uid"))
    seen, first = {}, {}
    for one in inventory.templates:
        domain = _domain_of(one, domains, lying.get(one.external_id))
        if domain is not None:
            seen[one.external_id] = _template(one) | {"storage_domain_id": domain}
            first[one.external_id] = _at_first(one)
    gone = bring(rows, seen, of={"provider": provider}, at_first=first)
    _forget_templates(rows, [row.pk for row in gone])


def _domain_of(one: TemplateFound, domains: Iterable[StorageDomain], lies: UUID | None) -> UUID | None:
    """Of the domains that have all its disks (else the first disk) the one that it lies in already, else an active one."""
    if not one.disks:
        return None
    sets = [set(disk.storage_domains) for disk in _sorted(one.disks)]
    fitting = set.intersection(*sets) or sets[0]
    found = [row for row in domains if row.external_id in fitting]
    found.sort(key=lambda row: (row.pk != lies, row.status != "active"))
    return found[0].pk if found else None


def _sorted(disks: Iterable[TemplateDiskFound]) -> list[TemplateDiskFound]:
    return sorted(disks, key=lambda disk: (not disk.bootable, disk.name, disk.external_id))


def _template(one: TemplateFound) -> dict[str, Any]:
    """What its engine says of it, at every compare."""
    disks = [
        {**asdict(disk), "id": disk.external_id, "storage_domains": sorted(disk.storage_domains)}
        for disk in _sorted(one.disks)
    ]
    for disk in disks:
        del disk["external_id"]
    return {
        "name": one.name[:64],
        "description": one.description[:500],
        "base": (one.base or one.external_id)[:100],
        "version": max(1, min(one.version, LARGEST_OVERCOMMIT)),
        "version_name": one.version_name[:100],
        "status": one.status if one.status in TemplateStatus.values else TemplateStatus.ILLEGAL.value,
        "memory_mib": max(0, min(one.memory_mib, LARGEST_NUMBER)),
        "vcpus": max(1, min(one.vcpus, LARGEST_OVERCOMMIT)),
        "disk_gib": sum(max(1, gib_of(disk.size_bytes)) for disk in one.disks),
        "disks": disks,
    }


def _at_first(one: TemplateFound) -> dict[str, Any]:
    """What is proposed when it is first seen, and can be changed here: an engine tells no more than its own guess."""
    least = min(one.memory_min_mib or one.memory_mib, one.memory_mib)
    return {"memory_min_mib": max(0, min(least, LARGEST_NUMBER)), "has_cloud_init": one.has_cloud_init}


def _forget_templates(rows: QuerySet[Template], gone: list[UUID]) -> None:
    for some in batches(gone):
        left = rows.filter(pk__in=some)
        left.exclude(status=TemplateStatus.GONE).update(status=TemplateStatus.GONE)
        used = Exists(Vm.objects.filter(template=OuterRef("pk")))
        left.exclude(used | Exists(TemplateAssignment.objects.filter(template=OuterRef("pk")))).delete()


# -- where machines are


class Places:
    """The clusters and hosts of an engine by external id, read once for many machines."""

    def __init__(self, provider_uid: UUID) -> None:
        clusters = Cluster.objects.filter(provider=provider_uid).exclude(external_id="")
        self._clusters = dict(clusters.values_list("external_id", "pk"))
        self._hosts = dict(Host.objects.filter(provider=provider_uid).values_list("external_id", "pk"))

    def of(self, cluster: str, host: str) -> dict[str, UUID | None]:
        """The columns of a machine that is seen there; none where the cluster is not known (yet), or none is told."""
        if cluster not in self._clusters:
            return {}
        return {"cluster_id": self._clusters[cluster], "host_id": self._hosts.get(host)}
