"""``manage.py reset_factor``: take a lost second factor from somebody, where no super-admin can log in to do it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.common.actor import system_actor
from portal.common.errors import PortalError
from tenants.selectors import user_named
from tenants.services.factors import reset


class Command(BaseCommand):
    help = "Take a lost second factor from somebody; the next log-in is by the password, and may ask for a new one."

    def add_arguments(self, parser: Any) -> None:
        """Whose."""
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take it, or say what is wrong."""
        try:
            reset(system_actor(), user_named(options["username"]))
        except PortalError as error:
            raise CommandError(str(error.detail)) from error
        self.stdout.write(f"{options['username']} has no second factor any more")
