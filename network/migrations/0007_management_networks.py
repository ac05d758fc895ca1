"""Which network an engine reaches its hosts by; nobody knows until its next compare."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("network", "0006_clusters_of_engine_networks"),
    ]

    operations = [
        migrations.AddField(
            model_name="network",
            name="is_management",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
