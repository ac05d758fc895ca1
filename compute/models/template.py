"""Templates: sealed machines to copy from."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from compute.choices import TemplateStatus
from compute.models.inventory import StorageDomain
from portal.common.models import UidModel
from portal.hypervisors.models import Provider
from tenants.models import DataCenter


class Template(UidModel):
    """A sealed image in one storage domain. ``owner`` None: the institute's, usable where it is assigned.

    The image's disk bears the template's own uid. Versions of one template share owner and name; the one with the highest
    number that is ready is its latest, which machines are made from unless another is named.

    An engine's own (``provider``) was found there: the engine says what it is called and how large it is. Its versions share
    ``base``, the external id of the first, for two engines may well have templates of one name.
    """

    name = models.CharField(_("name"), max_length=64)
    owner = models.ForeignKey(DataCenter, null=True, blank=True, on_delete=models.PROTECT, related_name="templates")
    version = models.PositiveSmallIntegerField(default=1)
    description = models.CharField(_("description"), max_length=500, blank=True)
    icon = models.CharField(max_length=32, default="device-desktop")
    storage_domain = models.ForeignKey(StorageDomain, on_delete=models.PROTECT, related_name="templates")
    status = models.CharField(max_length=8, choices=TemplateStatus.choices, default=TemplateStatus.LOCKED)
    disk_gib = models.PositiveIntegerField(default=1)
    memory_mib = models.PositiveIntegerField(_("memory"), default=256)
    vcpus = models.PositiveSmallIntegerField(_("vCPUs"), default=1)
    memory_min_mib = models.PositiveIntegerField(default=128)
    has_agent = models.BooleanField(default=False)
    has_cloud_init = models.BooleanField(default=False)
    has_serial_console = models.BooleanField(default=False)
    # False: copied from a machine or a volume as it was, with its identity, keys and logs.
    is_sealed = models.BooleanField(default=True)
    provider = models.ForeignKey(Provider, null=True, blank=True, on_delete=models.PROTECT, related_name="templates")
    external_id = models.CharField(max_length=100, blank=True, db_default="")
    base = models.CharField(max_length=100, blank=True, db_default="")
    version_name = models.CharField(max_length=100, blank=True, db_default="")
    # Of an engine's own, each with id, name, size_bytes, bootable, and the external ids of the storage_domains that have it.
    disks = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name", "version"], name="template_name_per_owner"),
            models.UniqueConstraint(
                fields=["name", "version"],
                condition=models.Q(owner=None, provider=None),
                name="template_name_of_institute",
            ),
            models.UniqueConstraint(fields=["provider", "external_id"], name="engine_template_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_engines(self) -> bool:
        """Whether an engine has it, and makes machines from it with their disks."""
        return self.provider_id is not None


class TemplateAssignment(UidModel):
    """Another data center that may make machines from a template; conveys use only."""

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="assignments")
    data_center = models.ForeignKey(DataCenter, on_delete=models.CASCADE, related_name="template_assignments")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["template", "data_center"], name="template_assigned_once")
        ]

    def __str__(self) -> str:
        return f"{self.template_id} -> {self.data_center_id}"
