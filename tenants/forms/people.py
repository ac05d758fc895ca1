"""The forms of people's pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.functional import lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.common.errors import Reason
from portal.common.forms import PageForm
from portal.common.templatetags.frame import sentence
from tenants.forms.ends import EndingForm
from tenants.models import Role
from tenants.models.quota import Dimension

LONGEST_PASSWORD = 1024
LARGEST_LIMIT = 2**40


class PersonForm(EndingForm):
    """A user of that name, the role to give him, and the last day on which it counts."""

    username = forms.CharField(
        label=_("User name"), max_length=150, help_text=_("Of somebody of a directory as DIRECTORY\\user.")
    )
    role = forms.ChoiceField(label=_("Role"))
    field_order = ("username", "role", "ends_on")

    def __init__(self, data: Any, *, roles: Sequence[Role]) -> None:
        super().__init__(data)
        self.fields["role"].choices = [(row.codename, gettext(row.name)) for row in roles]  # type: ignore[attr-defined]


class QuotaForm(PageForm):
    """A limit for every dimension; empty is none. ``version`` is the one that was looked at."""

    all_optional = True

    version = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.order_fields([*Dimension, "version"])

    def limits(self) -> Mapping[Dimension, int | None]:
        """What was entered."""
        return {dimension: self.cleaned_data[dimension] for dimension in Dimension}


def _label(dimension: Dimension) -> str:
    return sentence(str(dimension.label))


def _limit_field(dimension: Dimension) -> forms.IntegerField:
    unit = "MiB" if dimension.endswith("_mib") else "GiB" if dimension.endswith("_gib") else ""
    label = lazy(_label, str)(dimension)
    return forms.IntegerField(
        label=format_lazy("{} ({})", label, unit) if unit else label,
        required=False,
        min_value=0,
        max_value=LARGEST_LIMIT,
    )


for _dimension in Dimension:
    QuotaForm.base_fields[_dimension.value] = _limit_field(_dimension)


class UserForm(PageForm):
    """A new local account."""

    username = forms.CharField(
        label=_("User name"), max_length=200, help_text=_("Letters A-Z, digits, '-', '_', '.' and '@'")
    )
    display_name = forms.CharField(label=_("Name"), required=False, max_length=150)
    password = forms.CharField(
        label=_("Password"),
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 12 characters; a few words are best."),
    )


class PasswordForm(PageForm):
    """Another password, typed twice, for nobody sees it; ``present`` of whoever changes his own."""

    present = forms.CharField(
        label=_("Present password"),
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    password = forms.CharField(
        label=_("New password"),
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 12 characters; a few words are best."),
    )
    again = forms.CharField(
        label=_("New password, once more"),
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_again(self) -> str:
        """A slip of the finger would shut its owner out."""
        again = str(self.cleaned_data["again"])
        if again != self.cleaned_data.get("password", again):
            raise forms.ValidationError(_("This is not what stands above. Type both anew."))
        return again

    def add_reasons(self, reasons: Sequence[Reason]) -> bool:
        """The services speak of ``present_password``."""
        return super().add_reasons(
            [
                Reason(one.code, one.text, "present" if one.field == "present_password" else one.field, one.data)
                for one in reasons
            ]
        )
