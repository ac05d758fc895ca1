"""The form by which a stuck job is closed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm


class ClosingForm(PageForm):
    """Why a job is ended although it could not be undone, and the name that proves that this one is meant."""

    reason = forms.CharField(
        label=_("Why, and what was done about what is left"),
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3, "class": "form-control"}),
        help_text=_("The event log keeps it."),
    )
    confirm = forms.CharField(max_length=150, strip=False)

    def __init__(self, data: Any, *, name: str) -> None:
        super().__init__(data)
        self.fields["confirm"].label = gettext("Type %(name)s to confirm") % {"name": name}
