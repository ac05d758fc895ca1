"""``manage.py create_data_center``: make a data center."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.common.actor import system_actor
from portal.common.errors import PortalError
from tenants.services.data_centers import create_data_center


class Command(BaseCommand):
    help = "Make a data center."

    def add_arguments(self, parser: Any) -> None:
        """Its name."""
        parser.add_argument("name")
        parser.add_argument("--description", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, or say what is wrong."""
        try:
            create_data_center(system_actor(), name=options["name"], description=options["description"])
        except PortalError as error:
            raise CommandError(str(error.detail)) from error
        self.stdout.write(f"made the data center {options['name']}")
