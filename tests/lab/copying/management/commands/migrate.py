"""Django's command; what it would do to an empty database was done before where `tests.lab.migrated` has a copy."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from tests.lab import migrated

# With any of them it is not the whole of the tables that is asked for.
PARTS = ("app_label", "migration_name", "check_unapplied", "plan", "fake", "fake_initial", "prune")


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        if any(options.get(part) for part in PARTS) or not migrated.is_copied_to(connection):
            super().handle(*args, **options)
        else:
            migrated.give_tables(connection, lambda: super(Command, self).handle(*args, **options))
