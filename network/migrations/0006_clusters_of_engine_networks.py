from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("network", "0005_engine_networks"),
    ]

    operations = [
        migrations.AddField(
            model_name="network",
            name="clusters",
            field=models.JSONField(blank=True, null=True),
        ),
    ]
