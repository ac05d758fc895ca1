"""Which version and instance of a provider somebody has looked at. Those of rows of before are taken from what is told next."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hypervisors", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="accepted",
            field=models.JSONField(blank=True, default=dict, db_default=models.Value({}, models.JSONField())),
        ),
        migrations.AddField(
            model_name="provider",
            name="changed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
