"""The last day of a role that is given, as forms ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.common.errors import Reason
from portal.common.forms import PageForm

DAY_ENDS = time(23, 59, 59)


class EndingForm(PageForm):
    """Something that may end with a day; empty is without an end."""

    ends_on = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        input_formats=["%Y-%m-%d"],
        help_text=_("From the next day on it is worth nothing. Empty: no end."),
    )

    def expires_at(self) -> datetime | None:
        """The end of the last day, where the portal is."""
        day = self.cleaned_data["ends_on"]
        return timezone.make_aware(datetime.combine(day, DAY_ENDS)) if day else None

    def add_reasons(self, reasons: Sequence[Reason]) -> bool:
        """The services speak of the moment, ``expires_at``."""
        return super().add_reasons(
            [
                Reason(one.code, one.text, "ends_on" if one.field == "expires_at" else one.field, one.data)
                for one in reasons
            ]
        )
