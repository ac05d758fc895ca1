"""``manage.py set_quota``: set limits of a data center or of a user's or group's share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.common.actor import system_actor
from portal.common.errors import PortalError
from tenants.models.quota import Dimension
from tenants.selectors import data_center_named, group_named, user_named
from tenants.services.grants import set_quota


class Command(BaseCommand):
    help = "Set limits of a data center or, with --user or --group, of a share of it."

    def add_arguments(self, parser: Any) -> None:
        """Which limits, of what."""
        parser.add_argument("data_center")
        parser.add_argument(
            "limits", nargs="+", metavar="DIMENSION=LIMIT", help=f"one of {', '.join(Dimension)}; or none"
        )
        share = parser.add_mutually_exclusive_group()
        share.add_argument("--user", help="a user name")
        share.add_argument("--group", help="a group's name: what its members use together")

    def handle(self, *args: Any, **options: Any) -> None:
        """Set them, or say what is wrong."""
        limits = dict(_limit(word) for word in options["limits"])
        try:
            user = user_named(options["user"]) if options["user"] else None
            group = group_named(options["group"]) if options["group"] else None
            set_quota(system_actor(), data_center_named(options["data_center"]), limits, user=user, group=group)
        except PortalError as error:
            raise CommandError(str(error.detail)) from error
        self.stdout.write(f"limits of {options['data_center']}: {' '.join(options['limits'])}")


def _limit(word: str) -> tuple[Dimension, int | None]:
    name, _sign, value = word.partition("=")
    try:
        return Dimension(name), None if value == "none" else int(value)
    except ValueError as error:
        raise CommandError(f"{word!r} is not DIMENSION=LIMIT; the dimensions are {', '.join(Dimension)}.") from error
