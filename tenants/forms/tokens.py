"""The forms of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm, Ticks
from tenants.forms.people import LONGEST_PASSWORD
from tenants.forms.roles import by_noun
from tenants.models import Role
from tenants.permits import EVERYTHING, Permit

DAY = 24 * 3600
LIVES = [(DAY, _("one day")), (7 * DAY, _("a week")), (30 * DAY, _("30 days")), (365 * DAY, _("a year"))]
KINDS = {
    "data_center": _("Data centers"),
    "vm": _("Machines"),
    "template": _("Templates"),
    "network": _("Networks"),
    "vnic_profile": _("vNIC profiles"),
}


def _password() -> forms.Field:
    shown = {"class": "form-control", "autocomplete": "current-password", "aria-describedby": "password-hint"}
    return forms.CharField(
        label=_("Your password"),
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs=shown),
        help_text=_("A token outlives this log-in, so it takes what a log-in takes."),
    )


def _code() -> forms.Field:
    shown = {"class": "form-control", "autocomplete": "one-time-code", "aria-describedby": "code-hint"}
    return forms.CharField(
        label=_("Code of your second factor"),
        max_length=32,
        widget=forms.TextInput(attrs=shown),
        help_text=_("The next one of your app, or a recovery code: a token outlives this log-in."),
    )


PROOFS = {"password": _password, "code": _code}


class TokenForm(PageForm):
    """What a token is to be. ``key``: sent twice, the form makes one. ``proof``: what is to be told once more."""

    name = forms.CharField(label=_("Name"), max_length=64, help_text=_("What it is for: the program or the computer."))
    scope = forms.ChoiceField(
        label=_("May"), choices=[("read", _("read")), ("write", _("read and change"))], initial="read"
    )
    expires_in = forms.TypedChoiceField(label=_("Ends after"), choices=LIVES, coerce=int, initial=30 * DAY)
    permits = forms.MultipleChoiceField(
        label=_("These permits alone"),
        required=False,
        choices=[(EVERYTHING, _("Everything, roles and accounts too")), *by_noun(Permit)],
        widget=Ticks(shows_codes=True),
        help_text=_(
            "None chosen: all that its user holds, but for giving roles (GRANT) and looking after accounts (USER_MANAGE): what is "
            "done by these stays when the token is gone. What is needed to see comes with what is chosen."
        ),
    )
    objects = forms.TypedMultipleChoiceField(
        label=_("These objects alone"),
        required=False,
        coerce=UUID,
        widget=Ticks(),
        help_text=_("None chosen: all. A data center stands for everything in it."),
    )
    key = forms.CharField(widget=forms.HiddenInput)

    def __init__(
        self,
        data: Any,
        *,
        choosable: Mapping[str, Sequence[tuple[UUID, str]]],
        initial: dict[str, Any],
        roles: Sequence[Role] = (),
        proof: str = "",
    ) -> None:
        super().__init__(data, initial=initial)
        offered = [(title, list(choosable[kind])) for kind, title in KINDS.items() if choosable.get(kind)]
        self.fields["objects"].choices = offered  # type: ignore[attr-defined]
        if roles:
            choices = [(row.codename, gettext(row.name)) for row in roles]
            self.fields["role"] = forms.ChoiceField(
                label=_("Role"), choices=choices, widget=forms.Select(attrs={"class": "form-select"})
            )
            self.order_fields(["name", "role"])
        if proof:
            self.fields[proof] = PROOFS[proof]()
