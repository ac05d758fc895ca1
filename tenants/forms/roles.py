"""The forms of roles' pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm, Ticks
from tenants.permit_words import TITLES
from tenants.permits import Permit

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Where each permit stands, by how its name begins.
NOUNS: tuple[tuple[StrOrPromise, tuple[str, ...]], ...] = (
    (_("Machines"), ("VM_",)),
    (_("Templates"), ("TEMPLATE_",)),
    (_("Images"), ("IMAGE_",)),
    (_("Networks"), ("NETWORK_",)),
    (_("Data centers"), ("DATA_CENTER_", "QUOTA_")),
    (_("Roles, jobs and events"), ("GRANT", "JOB_", "EVENT_")),
    (_("The whole system"), ("SYSTEM_", "PROVIDER_", "USER_")),
)


def by_noun(permits: Iterable[str]) -> list[tuple[StrOrPromise, list[tuple[str, StrOrPromise]]]]:
    """These permits with their words, under what they are about; nouns of which there is none are left out."""
    there = set(permits)
    found = []
    for noun, beginnings in NOUNS:
        rows = [
            (permit.value, TITLES[permit]) for permit in Permit if permit in there and permit.startswith(beginnings)
        ]
        if rows:
            found.append((noun, rows))
    return found


class RoleForm(PageForm):
    """A role of the institute's own: its name, what it is for, and the permits in it."""

    name = forms.CharField(
        label=_("Name"), max_length=200, help_text=_("Letters A-Z, digits, and between them blanks, '-', '_' or '.'")
    )
    description = forms.CharField(label=_("What it is for"), required=False, max_length=1000)
    permits = forms.MultipleChoiceField(
        label=_("What it allows"), choices=by_noun(Permit), widget=Ticks(shows_codes=True), required=False
    )
    version = forms.CharField(required=False, widget=forms.HiddenInput)
