"""``manage.py create_user``: make a local account. The password comes from a file or from standard input, never from argv."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.common.actor import system_actor
from portal.common.errors import PortalError
from tenants.services.users import create_user


class Command(BaseCommand):
    help = "Make a local account; the password is the first line of standard input or of a file."

    def add_arguments(self, parser: Any) -> None:
        """Who, and where the password is."""
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="the name to show")
        parser.add_argument("--password-file", help="a file that holds the password (default: standard input)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, or say what is wrong."""
        try:
            file = options["password_file"]
            password = (Path(file).read_text() if file else sys.stdin.readline()).split("\n", maxsplit=1)[0]
            create_user(system_actor(), username=options["username"], password=password, display_name=options["name"])
        except OSError as error:
            raise CommandError(f"The password file cannot be read: {error.strerror}.") from error
        except PortalError as error:
            raise CommandError(str(error.detail)) from error
        self.stdout.write(f"made the user {options['username']}")
