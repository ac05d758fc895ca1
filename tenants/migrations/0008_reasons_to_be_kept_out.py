from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0007_second_factors"),
    ]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="kept_out",
            field=models.CharField(
                blank=True,
                choices=[
                    ("disabled", "disabled"),
                    ("expired", "expired"),
                    ("locked", "locked after wrong passwords"),
                    ("must_change", "must change its password first"),
                    ("password_expired", "its password has expired"),
                    ("gone", "no longer there"),
                    ("groups", "is in more groups than are read"),
                    ("directory", "its directory is disabled here"),
                    ("unasked", "its directory was disabled here and is to be asked again first"),
                ],
                max_length=24,
            ),
        ),
    ]
