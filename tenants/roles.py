"""The predefined roles as rows."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from tenants.models import Role
from tenants.permits import PREDEFINED, PredefinedRole


def sync_roles() -> None:
    """Write the predefined roles as this version has them."""
    with transaction.atomic():
        for role in PREDEFINED:
            Role.objects.update_or_create(codename=role.codename, defaults=_as_row(role))


def _as_row(role: PredefinedRole) -> dict[str, Any]:
    return {
        "name": role.name,
        "description": role.description,
        "administrative": role.administrative,
        "predefined": True,
        "views_children": role.views_children,
        "permits": sorted(role.permits),
    }
