from django.db import migrations, models


def book(apps, _schema_editor):
    """Until now a charge was booked on its data center's account and on its user's."""
    charges = apps.get_model("tenants", "QuotaCharge")
    accounts = apps.get_model("tenants", "QuotaAccount")
    known = {
        (row.data_center_id, row.subject_uid, row.dimension): row.pk
        for row in accounts.objects.filter(subject_kind__in=["data_center", "user"])
    }
    bookings = charges.accounts.through
    for row in charges.objects.iterator(2000):
        keys = [(row.data_center_id, uid, row.dimension) for uid in (row.data_center_id, row.user_uid)]
        bookings.objects.bulk_create(
            bookings(quotacharge_id=row.pk, quotaaccount_id=known[key]) for key in keys if key in known
        )


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0002_login_tries"),
    ]

    operations = [
        migrations.RemoveField(model_name="quotacharge", name="group_uid"),
        migrations.AddField(
            model_name="quotacharge",
            name="accounts",
            field=models.ManyToManyField(
                help_text="On which it is booked.", related_name="charges", to="tenants.quotaaccount"
            ),
        ),
        migrations.RunPython(book, migrations.RunPython.noop),
    ]
