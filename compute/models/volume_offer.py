"""Volumes that were offered: what lies in a storage domain and a super-admin lets a data center make templates of."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from compute.models.inventory import StorageAssignment
from portal.common.models import UidModel
from tenants.models import User


class VolumeOffer(UidModel):
    """One volume, as it was when it was offered to one data center; it goes when the storage domain is taken back.

    ``name`` is what its hypervisor calls it, ``size_bytes`` that of the disk in it, ``allocated_bytes`` what is filled of it.
    ``head_sha256`` of its first bytes: with another beginning it is not what was offered.
    """

    assignment = models.ForeignKey(StorageAssignment, on_delete=models.CASCADE, related_name="volume_offers")
    name = models.CharField(max_length=255)
    format = models.CharField(max_length=20)
    size_bytes = models.PositiveBigIntegerField()
    allocated_bytes = models.PositiveBigIntegerField(default=0)
    head_sha256 = models.CharField(max_length=64)
    offerer = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="volume_offers")

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["assignment", "name"], name="volume_offered_once")]

    def __str__(self) -> str:
        return self.name
