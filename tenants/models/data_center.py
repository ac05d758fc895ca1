"""A department's own small data center, and the one row that stands for the whole system."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.common.models import UidModel

SYSTEM_UID = UUID("00000000-0000-4000-8000-000000000001")


class System(UidModel):
    """The singleton scope above all data centers; a role granted on it holds everywhere."""

    name = models.CharField(max_length=64, default="system")
    # Up to when ends of grants that passed were told (``services.grant_ends``).
    ends_told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "system"

    def __str__(self) -> str:
        return self.name


class DataCenter(UidModel):
    """The tenant: what a department admin runs. Ours, not oVirt's data center."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    description = models.TextField(_("description"), blank=True, max_length=2000)
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
