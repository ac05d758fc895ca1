"""What providers have, read into rows: clusters, hosts and storage domains, and to which data centers they are assigned."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from compute.choices import HOST_STATUSES, STORAGE_TYPES, ZONE_STATUSES, StorageFunction, StorageStatus
from portal.common.models import UidModel
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import PORTAL_POOL
from tenants.models import DataCenter


class Zone(UidModel):
    """What an engine calls a data center: its clusters reach storage domains and networks of the same zone alone."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="zones")
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["provider", "external_id"], name="zone_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def status_title(self) -> str:
        """Its status in words; the engine's own word where we know none."""
        return str(ZONE_STATUSES.get(self.status, self.status))


class Cluster(UidModel):
    """Hosts among which a VM may move. Of an engine (``external_id``), of the hosts of one provider, or ours over hosts of
    several (``provider`` None).
    """

    name = models.CharField(_("name"), max_length=64)
    provider = models.ForeignKey(Provider, null=True, blank=True, on_delete=models.PROTECT, related_name="clusters")
    external_id = models.CharField(max_length=100, blank=True)
    # How much of its hosts' memory machines may be given, in percent of what there is (oVirt's memory overcommit).
    memory_overcommit_percent = models.PositiveSmallIntegerField(_("memory overcommit"), default=150)
    # The codes of what was wrong with it at the last compare, with the hosts: news are recorded once.
    problems = models.JSONField(default=list)
    # Of an engine's cluster; ``version`` is its compatibility version.
    zone = models.ForeignKey(Zone, null=True, blank=True, on_delete=models.SET_NULL, related_name="clusters")
    arch = models.CharField(max_length=20, blank=True, db_default="")
    cpu_type = models.CharField(max_length=100, blank=True, db_default="")
    version = models.CharField(max_length=20, blank=True, db_default="")
    # Its engine does not have it any more; it stays while something here is in it.
    is_gone = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider"], condition=Q(external_id=""), name="one_own_cluster"),
            models.UniqueConstraint(
                fields=["provider", "external_id"], condition=~Q(external_id=""), name="engine_cluster_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_engines(self) -> bool:
        """Whether an engine has it, and alone says what it is and which hosts are in it."""
        return bool(self.external_id)


class Host(UidModel):
    """A hypervisor machine."""

    name = models.CharField(_("name"), max_length=255)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="hosts")
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="hosts")
    external_id = models.CharField(max_length=100)
    status = models.CharField(max_length=20, default="unknown")
    status_at = models.DateTimeField(null=True, blank=True)
    cpus = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveBigIntegerField(default=0)
    memory_free_mib = models.PositiveBigIntegerField(default=0)
    version = models.CharField(max_length=60, blank=True)
    accelerator = models.CharField(max_length=10, blank=True)
    arch = models.CharField(max_length=20, blank=True)
    cpu_model = models.CharField(max_length=100, blank=True)
    cpu_vendor = models.CharField(max_length=100, blank=True)
    # All that its processor has; empty: its hypervisor does not tell.
    cpu_features = models.JSONField(default=list)
    # Whether it tells all its bridges; else those are known that networks name.
    tells_bridges = models.BooleanField(default=False)
    # Names and addresses of an engine's host: machines' displays are reached at no other (``displays``).
    addresses = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["provider", "external_id"], name="host_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def status_title(self) -> str:
        """Its status in words; its provider's own word where we know none."""
        return str(HOST_STATUSES.get(self.status, self.status))

    @property
    def is_silent(self) -> bool:
        """Whether its status is only what was seen before its provider fell silent."""
        return self.provider.is_silent


# Storage domains that another portal made for itself (``StorageDomain.is_another_portals``).
ANOTHER_PORTALS = models.Q(holds_disks=False, name__regex=f"^{PORTAL_POOL.pattern}$")


class StorageDomain(UidModel):
    """Where disks live. Figures in bytes, as last observed."""

    name = models.CharField(_("name"), max_length=128)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="storage_domains")
    external_id = models.CharField(max_length=128)
    type = models.CharField(max_length=20, blank=True)
    # Whether its hypervisor can make machines' disks in it.
    holds_disks = models.BooleanField(default=True, db_default=True)
    status = models.CharField(max_length=10, choices=StorageStatus.choices, default=StorageStatus.UNKNOWN)
    status_at = models.DateTimeField(null=True, blank=True)
    # What every host that has it too says of it; empty: one host alone has it.
    shared_source = models.CharField(max_length=1000, blank=True)
    total_bytes = models.PositiveBigIntegerField(default=0)
    used_bytes = models.PositiveBigIntegerField(default=0)
    free_bytes = models.PositiveBigIntegerField(default=0)
    # The external ids of the engine's zones that it is attached to.
    zones = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "external_id"], name="storage_domain_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def type_title(self) -> str:
        """What kind of storage it is, in people's words; of a kind that is not known here its hypervisor's word."""
        return str(STORAGE_TYPES.get(self.type, self.type))

    @property
    def is_engines(self) -> bool:
        """Whether it is of an engine, whose domains are of all hosts of their zones; by the provider's zones."""
        return bool(self.provider.zones.all())

    @property
    def is_silent(self) -> bool:
        """Whether its status is only what was seen before its provider fell silent."""
        return self.provider.is_silent

    @property
    def is_shared(self) -> bool:
        """Whether other hosts may have it too."""
        return self.is_engines or bool(self.shared_source)

    @property
    def zone_names(self) -> list[str]:
        """The engine's zones that it is attached to; for those who may see providers."""
        return [zone.name for zone in self.provider.zones.all() if zone.external_id in self.zones]

    @property
    def is_another_portals(self) -> bool:
        """Whether another portal made it for itself: its name says so, and disks of ours are not made in it."""
        return not self.holds_disks and PORTAL_POOL.fullmatch(self.name) is not None

    @property
    def function(self) -> StorageFunction:
        """Whether machines' disks can lie in it, or what lies in it can at least be copied."""
        if self.holds_disks:
            return StorageFunction.DATA
        if self.is_another_portals:
            return StorageFunction.NONE
        able = capabilities_of(self.provider)
        copies = able.disk_copy and self.type not in able.unread_storage
        return StorageFunction.SOURCE if copies else StorageFunction.NONE

    @property
    def shows_volumes(self) -> bool:
        """Whether what lies in it can be looked at: an engine's is looked at there."""
        return self.status == StorageStatus.ACTIVE and self.function != StorageFunction.NONE and not self.is_engines

    @property
    def tells_use(self) -> bool:
        """Whether how much of it is used means anything (``StorageDomainFound``)."""
        return bool(self.used_bytes or self.free_bytes or not self.total_bytes)

    @property
    def percent(self) -> int:
        """How much of it is used; 0 where its size is not known."""
        return 100 * self.used_bytes // self.total_bytes if self.total_bytes else 0

    @property
    def fullness(self) -> str:
        """What to say of that: nothing, "warning" from 80 % on, "error" from 90 % on."""
        return "error" if self.percent >= 90 else "warning" if self.percent >= 80 else ""


class InstanceType(UidModel):
    """An engine's instance type: sizes under a name, as it was last seen there."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="instance_types")
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    description = models.CharField(max_length=500, blank=True)
    memory_mib = models.PositiveBigIntegerField(default=0)
    vcpus = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["provider", "external_id"], name="instance_type_once")]

    def __str__(self) -> str:
        return self.name


class ClusterAssignment(UidModel):
    """A data center may run machines on a cluster."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="assignments")
    data_center = models.ForeignKey(DataCenter, on_delete=models.CASCADE, related_name="cluster_assignments")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "data_center"], name="cluster_assigned_once")
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} -> {self.data_center_id}"


class StorageAssignment(UidModel):
    """A data center may keep disks in a storage domain."""

    storage_domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="assignments")
    data_center = models.ForeignKey(DataCenter, on_delete=models.CASCADE, related_name="storage_assignments")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["storage_domain", "data_center"], name="storage_assigned_once")
        ]

    def __str__(self) -> str:
        return f"{self.storage_domain_id} -> {self.data_center_id}"
