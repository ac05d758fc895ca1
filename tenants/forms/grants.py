"""The form by which a role is given on an object."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.common.errors import Reason
from portal.common.forms import PageForm
from tenants.models import Role

DAY_ENDS = time(23, 59, 59)
FIELDS = {"user": "name", "group": "name", "expires_at": "ends_on"}  # of the service's, by our fields


class GrantForm(PageForm):
    """A user or a group by name, the role to give, and the last day on which it counts (empty: no end)."""

    who = forms.ChoiceField(label=_("To"), choices=[("user", _("a user")), ("group", _("a group"))])
    name = forms.CharField(
        label=_("Name"), max_length=150, help_text=_("A user name, or a group's name as DIRECTORY\\group.")
    )
    role = forms.ChoiceField(label=_("Role"))
    ends_on = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        input_formats=["%Y-%m-%d"],
        help_text=_("From the next day on it is worth nothing. Empty: no end."),
    )

    def __init__(self, data: Any, *, roles: Sequence[Role]) -> None:
        super().__init__(data)
        self.fields["role"].choices = [(row.codename, gettext(row.name)) for row in roles]  # type: ignore[attr-defined]

    def expires_at(self) -> datetime | None:
        """The end of the last day, where the portal is."""
        day = self.cleaned_data["ends_on"]
        return timezone.make_aware(datetime.combine(day, DAY_ENDS)) if day else None

    def add_reasons(self, reasons: Sequence[Reason]) -> bool:
        """Beside this form's own fields."""
        return super().add_reasons(
            [Reason(one.code, one.text, FIELDS.get(one.field, one.field), one.data) for one in reasons]
        )
