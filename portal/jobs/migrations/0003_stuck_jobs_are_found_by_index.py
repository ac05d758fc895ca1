from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_step_retry_clocks"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(condition=models.Q(("status", "stuck")), fields=["data_center_uid"], name="job_stuck"),
        ),
    ]
