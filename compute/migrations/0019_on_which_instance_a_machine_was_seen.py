"""On which instance of its manager a machine was seen last."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0018_disks_by_their_id_there"),
    ]

    operations = [
        migrations.AddField(
            model_name="vm",
            name="seen_on",
            field=models.CharField(blank=True, db_default="", max_length=255),
        ),
    ]
