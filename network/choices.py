"""Statuses of this app's nouns."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class NetworkStatus(TextChoices):
    """Last observed status of a network."""

    CREATING = "creating", _("being made")
    OPERATIONAL = "operational", _("operational")
    NON_OPERATIONAL = "non_operational", _("not operational")
