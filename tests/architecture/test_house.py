"""The house stands: settings load, models and migrations agree, the app checks are clean."""

from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.template.loader import get_template

TEMPLATES = Path(settings.BASE_DIR) / "templates"


def test_django_finds_nothing_wrong():
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize("name", sorted(str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html")))
def test_every_template_can_be_read(name):
    get_template(name)
