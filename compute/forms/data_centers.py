"""The forms of data centers' pages."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm


class DataCenterForm(PageForm):
    """A new data center, or another name and description; ``version`` is the one that was looked at."""

    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("Letters A-Z, digits, '-', '_' and '.'"))
    description = forms.CharField(
        label=_("Description"), required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 3})
    )
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    def fix_name(self) -> None:
        """It is shown, and not to be changed by this reader."""
        self.fields["name"].disabled = True
        self.fields["name"].help_text = _("Super-admins change it.")
