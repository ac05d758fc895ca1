"""``manage.py sync_roles``: write the predefined roles as this version has them. Safe to run again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tenants.roles import sync_roles


class Command(BaseCommand):
    requires_system_checks = ()  # a worker makes them at each start; here they would cost more than the start itself
    help = "Write the predefined roles as this version has them; part of every upgrade."

    def handle(self, *args: Any, **options: Any) -> None:
        """All of them, or none."""
        sync_roles()
