"""The house stands: settings load, models and migrations agree, the app checks are clean."""

from django.core.management import call_command


def test_django_finds_nothing_wrong():
    call_command("check", fail_level="WARNING")
