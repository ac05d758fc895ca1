"""SQLite replaces a row without a word to its triggers of deletion; one of insertion says no (docs/decisions/0046)."""

from django.db import migrations

TRIGGER = """CREATE TRIGGER events_append_only_REPLACE BEFORE INSERT ON events_event
    WHEN EXISTS (SELECT 1 FROM events_event WHERE uid = NEW.uid) AND NOT EXISTS (SELECT 1 FROM events_opening)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"""


def refuse(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(TRIGGER)


def allow(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER events_append_only_REPLACE")


class Migration(migrations.Migration):
    dependencies = [("events", "0002_append_only")]

    operations = [migrations.RunPython(refuse, allow)]
