"""The form of a network's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm
from portal.hypervisors.models import Provider


class NetworkForm(PageForm):
    """A NAT network of a data center's own."""

    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("Letters A-Z, digits, '-', '_' and '.'"))
    provider = forms.ChoiceField(label=_("Provider"))
    cidr = forms.CharField(
        label=_("Address range"),
        required=False,
        max_length=43,
        help_text=_("As 10.20.0.0/24; empty takes the next free range."),
    )

    def __init__(self, data: Any, *, providers: Sequence[Provider]) -> None:
        super().__init__(data)
        self.fields["provider"].choices = [(str(row.pk), row.name) for row in providers]  # type: ignore[attr-defined]


class OfferForm(PageForm):
    """What departments know a network of a host's by; left empty it is called as it is there."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=200,
        help_text=_(
            "As departments see it: letters A-Z, digits, '-', '_' and '.'. Empty: as it is called on the host."
        ),
    )
