"""Machines, their disks and network cards."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from compute.choices import ABSENT, FoundMark, VmStatusChoice, detail_words
from compute.models.inventory import Cluster, Host, StorageDomain
from compute.models.template import Template
from compute.rules import gib_of
from network.models import VnicProfile
from portal.common.models import UidModel
from portal.hypervisors.models import Provider
from tenants.models import DataCenter, User

STATUS_WORDS: dict[str, Any] = dict(VmStatusChoice.choices)


class Vm(UidModel):
    """A virtual machine. ``status`` is the last observation, ``status_at`` its time; who and how much is ours."""

    name = models.CharField(_("name"), max_length=64)
    description = models.TextField(_("description"), max_length=2000, blank=True)
    data_center = models.ForeignKey(DataCenter, on_delete=models.PROTECT, related_name="vms")
    owner = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="vms")
    template = models.ForeignKey(Template, null=True, blank=True, on_delete=models.PROTECT, related_name="vms")
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="vms")
    host = models.ForeignKey(Host, null=True, blank=True, on_delete=models.SET_NULL, related_name="vms")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="vms")
    external_id = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=20, choices=VmStatusChoice.choices, default=VmStatusChoice.CREATING)
    status_detail = models.CharField(max_length=200, blank=True)
    status_at = models.DateTimeField(null=True, blank=True)
    memory_mib = models.PositiveIntegerField(_("memory"))
    vcpus = models.PositiveSmallIntegerField(_("vCPUs"))
    addresses = models.JSONField(default=list)
    sealed_initial_run = models.TextField(blank=True)
    # Found on its hypervisor, not made here: it keeps its disks and its name there when the portal lets go of it.
    adopted = models.BooleanField(default=False)
    # What the disks of an adopted machine promised when it was adopted; those of one that was made here have rows.
    found_disk_gib = models.PositiveIntegerField(null=True, blank=True)
    # The instance of its manager on which it was seen last; empty: not seen yet, or it does not matter any more.
    seen_on = models.CharField(max_length=255, blank=True, db_default="")
    # Others depend on it (directory, DNS, mail): what would end it needs a super-admin who types its name.
    protected = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["data_center", "name"], name="vm_name_per_data_center")
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "name"], name="vm_by_owner"),
            models.Index(fields=["provider", "external_id"], name="vm_by_external_id"),
            models.Index(fields=["name", "uid"], name="vm_by_name"),
        ]

    def get_status_display(self) -> str:  # type: ignore[no-redef]  # Django adds it where it is missing
        """In words. Django's own translates every choice each time, and a list asks it several times for each machine."""
        return str(STATUS_WORDS.get(self.status, self.status))

    def __str__(self) -> str:
        return self.name

    @property
    def status_words(self) -> str:
        """What is to be said besides the status; often nothing."""
        return detail_words(self.status_detail)

    @property
    def template_here(self) -> Template | None:
        """Its template, as far as its data center may know of it: none of another's, from where the machine was moved."""
        template = self.template
        is_told = template is not None and template.owner_id in {None, self.data_center_id}
        return template if is_told else None

    @property
    def is_absent(self) -> bool:
        """Whether its hypervisor answered and does not have it, which is not the same as not being heard of."""
        return self.status == VmStatusChoice.UNKNOWN and self.status_detail == ABSENT


class FoundVm(UidModel):
    """A machine on a provider that this portal neither made nor adopted, as it was last seen there."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="found_vms")
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=20, choices=VmStatusChoice.choices)
    memory_mib = models.PositiveBigIntegerField(default=0)
    vcpus = models.PositiveIntegerField(default=0)
    mark = models.CharField(max_length=6, choices=FoundMark.choices, blank=True)
    # The uid that our own mark on it says: that of a machine that we had.
    marked_uid = models.UUIDField(null=True, blank=True)
    # In which of its engine's clusters it was seen, and on which host.
    cluster = models.ForeignKey(Cluster, null=True, blank=True, on_delete=models.SET_NULL, related_name="found_vms")
    host = models.ForeignKey(Host, null=True, blank=True, on_delete=models.SET_NULL, related_name="found_vms")

    # What its disks promise, as it was last asked for; asked and null: one is gone, or cannot be read.
    disk_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    measured_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["provider", "external_id"], name="found_vm_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def disk_gib(self) -> int | None:
        """What they would cost of a quota, in GiB begun; None: not known."""
        return None if self.disk_bytes is None else gib_of(self.disk_bytes)


class Disk(UidModel):
    """A virtual disk attached to a VM."""

    name = models.CharField(_("name"), max_length=64)
    vm = models.ForeignKey(Vm, on_delete=models.CASCADE, related_name="disks")
    storage_domain = models.ForeignKey(StorageDomain, on_delete=models.PROTECT, related_name="disks")
    size_gib = models.PositiveIntegerField(_("size"))
    bootable = models.BooleanField(default=False)
    # The external id of the disk of an engine's template that it comes from.
    source = models.CharField(max_length=100, blank=True, db_default="")
    # Its id there, where that is not derived from ours: of a disk that came with its machine.
    external_id = models.CharField(max_length=100, blank=True, db_default="")

    class Meta:
        ordering: ClassVar = ["-bootable", "name", "uid"]

    def __str__(self) -> str:
        return self.name


class Nic(UidModel):
    """A network card of a VM."""

    name = models.CharField(_("name"), max_length=32, default="nic1")
    vm = models.ForeignKey(Vm, on_delete=models.CASCADE, related_name="nics")
    vnic_profile = models.ForeignKey(VnicProfile, on_delete=models.PROTECT, related_name="nics")
    mac = models.CharField(_("MAC address"), max_length=17, unique=True)

    class Meta:
        ordering: ClassVar = ["name", "uid"]

    def __str__(self) -> str:
        return self.name
