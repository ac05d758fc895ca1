"""Roles: named sets of permits, in oVirt's manner."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.common.models import UidModel


class Role(UidModel):
    """A named set of permits. A predefined one is read-only. Its ``codename`` names guardian's object permission."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    codename = models.SlugField(max_length=64, unique=True)
    description = models.CharField(_("description"), max_length=300, blank=True)
    administrative = models.BooleanField(default=False, help_text="oVirt's role type ADMIN, as opposed to USER.")
    predefined = models.BooleanField(default=False)
    views_children = models.BooleanField(default=False, help_text="oVirt's allows_viewing_children.")
    permits = models.JSONField(default=list)
    needs_factor = models.BooleanField(
        default=False, db_default=False, help_text="Whoever holds it logs in with a second factor."
    )

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
