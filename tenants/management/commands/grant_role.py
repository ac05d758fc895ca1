"""``manage.py grant_role``: give a user a role."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.common.actor import system_actor
from portal.common.errors import PortalError
from tenants import policy
from tenants.roles import sync_roles
from tenants.selectors import data_center_named, user_named
from tenants.services.grants import grant_role


class Command(BaseCommand):
    help = "Give a user a role on a data center, or (without --data-center) on the whole system."

    def add_arguments(self, parser: Any) -> None:
        """Which role, to whom, where."""
        parser.add_argument("role")
        parser.add_argument("username")
        parser.add_argument("--data-center", help="its name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Give it, or say what is wrong."""
        actor = system_actor()
        try:
            sync_roles()
            name = options["data_center"]
            target = data_center_named(name) if name else policy.system()
            grant_role(actor, options["role"], user_named(options["username"]), target)
        except PortalError as error:
            raise CommandError(str(error.detail)) from error
        self.stdout.write(f"{options['username']} is {options['role']} of {target}")
