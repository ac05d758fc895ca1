"""``recount_quota``: compare the quota ledger with what there is."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compute.services.recount import Drift, recount
from portal.common.actor import system_actor
from tenants.models import DataCenter


class Command(BaseCommand):
    """Report where accounts, charges and things do not agree; nothing is changed."""

    help = "Compare the quota ledger with machines, disks, images and templates; ends with an error where they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which data center."""
        parser.add_argument("data_center", nargs="?", help="a name; without one, all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print each difference."""
        rows = DataCenter.objects.order_by("name")
        if options["data_center"]:
            rows = rows.filter(name=options["data_center"])
            if not rows:
                raise CommandError(f"There is no data center {options['data_center']}.")
        differing = [center.name for center in rows if not self._agrees(center)]
        if differing:
            raise CommandError(f"The ledger does not agree with what there is in: {', '.join(differing)}.")
        self.stdout.write("The ledger agrees with what there is.")

    def _agrees(self, center: DataCenter) -> bool:
        found = recount(system_actor(), center)
        for account in found.accounts:
            self.stdout.write(f"{center.name}: account {account}")
        for drift in found.charges:
            self.stdout.write(f"{center.name}: {_said(drift)}")
        return found.agrees


def _said(drift: Drift) -> str:
    return f"{drift.kind} {drift.uid} {drift.dimension}: charged {drift.charged}, costs {drift.costs}"
