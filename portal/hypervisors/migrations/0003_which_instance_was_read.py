"""Of which instance the rows are. The version that a provider told last is the one that was accepted before there was a choice."""

from typing import Any

from django.db import migrations, models


def accept_what_was_told(apps: Any, schema_editor: Any) -> None:
    """An upgrade while the portal itself was being upgraded is noticed, too."""
    for row in apps.get_model("hypervisors", "Provider").objects.all():
        version = str(row.about.get("version") or "")
        if version and not row.accepted.get("version"):
            row.accepted = row.accepted | {"version": version}
            row.save(update_fields=["accepted"])


class Migration(migrations.Migration):
    dependencies = [
        ("hypervisors", "0002_what_was_accepted"),
    ]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="instance_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="provider",
            name="written_from",
            field=models.CharField(blank=True, db_default="", max_length=255),
        ),
        migrations.AddField(
            model_name="provider",
            name="held",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="provider",
            name="unseen",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.RunPython(accept_what_was_told, migrations.RunPython.noop, elidable=True),
    ]
