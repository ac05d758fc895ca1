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
        help_text=_(
            "Somebody of a directory, who need not have been here, as DIRECTORY\\user. Empty: nobody will own it, and the data "
            "center's admins look after it."
        ),
    )

    despite_unknown = forms.BooleanField(
        label=_("The other data center may use its storage and its networks"),
        required=False,
        help_text=_(
            "The machine was adopted: the portal cannot tell in which storage domains its disks are, and on which networks its cards. See on its hypervisor."
        ),
        widget=forms.CheckboxInput(attrs={"required": True}),
    )

    def __init__(self, data: Any, *, data_centers: Iterable[DataCenter]) -> None:
        super().__init__(data)
        choices = [(str(row.pk), row.name) for row in data_centers]
        self.fields["data_center"].choices = choices  # type: ignore[attr-defined]

    def move(self) -> Move:
        """What was asked for."""
        data = self.cleaned_data
        return Move(UUID(data["data_center"]), data["owner"], data["despite_unknown"])
