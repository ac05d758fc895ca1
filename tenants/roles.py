"""The predefined roles as rows."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from tenants.models import Role
from tenants.predefined import PREDEFINED, PredefinedRole


def sync_roles() -> None:
    """Write the predefined roles as this version has them."""
    with transaction.atomic():
        for role in PREDEFINED:
            _make_way(role)
            Role.objects.update_or_create(codename=role.codename, defaults=_as_row(role))


def _make_way(role: PredefinedRole) -> None:
    """A role of the institute's own that has the name already keeps its grants and gets another name."""
    for row in Role.objects.filter(name__iexact=role.name).exclude(codename=role.codename):
        row.name = f"{row.name[:50]} own {row.pk.hex[:8]}"
        row.save(update_fields=["name"])


def _as_row(role: PredefinedRole) -> dict[str, Any]:
    return {
        "name": role.name,
        "description": role.description,
        "administrative": role.administrative,
        "predefined": True,
        "views_children": role.views_children,
        "permits": sorted(role.permits),
    }
