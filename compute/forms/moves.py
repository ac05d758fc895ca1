"""The form by which a machine is moved to another data center."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.utils.translation import gettext_lazy as _

from compute.services.moves import Move
from portal.common.forms import PageForm
from tenants.models import DataCenter


class MoveForm(PageForm):
    """Where to, and whose it will be there; ``move()`` is what the service gets."""

    data_center = forms.ChoiceField(label=_("Data center"))
    owner = forms.CharField(
        label=_("Owner's user name"),
        required=False,
        max_length=150,
        help_text=_("Empty: nobody will own it, and the data center's admins look after it."),
    )

    def __init__(self, data: Any, *, data_centers: Iterable[DataCenter]) -> None:
        super().__init__(data)
        choices = [(str(row.pk), row.name) for row in data_centers]
        self.fields["data_center"].choices = choices  # type: ignore[attr-defined]

    def move(self) -> Move:
        """What was asked for."""
        return Move(UUID(self.cleaned_data["data_center"]), self.cleaned_data["owner"])
