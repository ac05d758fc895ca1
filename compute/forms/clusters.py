"""The form of a cluster's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from compute.models import Host
from portal.common.forms import PageForm


class ClusterForm(PageForm):
    """Its name, its hosts, and how much of their memory may be promised; ``version`` is the one that was looked at."""

    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("Letters A-Z, digits, '-', '_' and '.'"))
    memory_overcommit_percent = forms.IntegerField(
        label=_("Memory overcommit"),
        min_value=0,
        max_value=9999,
        help_text=_("How much of the hosts' memory running machines may be given in all: 100 to 400 percent."),
    )
    hosts = forms.TypedMultipleChoiceField(label=_("Hosts"), required=False, widget=forms.CheckboxSelectMultiple)
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, hosts: Sequence[Host], initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        if not hosts:
            del self.fields["hosts"]
        else:
            self.fields["hosts"].choices = [(str(row.pk), row.name) for row in hosts]  # type: ignore[attr-defined]
