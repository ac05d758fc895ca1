from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0016_what_an_engine_has"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="template",
            name="only_cluster",
        ),
    ]
