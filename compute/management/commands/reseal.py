"""``manage.py reseal``: seal every secret with the newest key, so that older keys can be put away."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compute.services.seals import reseal_all
from portal.common.actor import system_actor


class Command(BaseCommand):
    help = "Seal every secret in the database with the first of SEAL_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Fails, naming the rows, when some cannot be opened with any key."""
        result = reseal_all(system_actor())
        self.stdout.write(f"sealed anew: {result.done}")
        if result.broken:
            raise CommandError(f"No key opens these, so give them anew: {', '.join(result.broken)}")
