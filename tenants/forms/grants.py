"""The form by which a role is given on an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.common.errors import Reason
from portal.common.forms import GreySelect, PageForm
from tenants.forms.ends import EndingForm
from tenants.models import Role


class GrantForm(EndingForm):
    """A user or a group by name, the role to give, and the last day on which it counts."""

    who = forms.ChoiceField(label=_("To"), choices=[("user", _("a user")), ("group", _("a group"))], widget=GreySelect)
    name = forms.CharField(
        label=_("Name"),
        max_length=512,
        help_text=_("A user name, or a group's name as DIRECTORY\\group, in full, or its DN."),
    )
    role = forms.ChoiceField(label=_("Role"))
    field_order = ("who", "name", "role", "ends_on")

    def __init__(
        self, data: Any, *, roles: Sequence[Role], groupless: str = "", initial: dict[str, Any] | None = None
    ) -> None:
        """``groupless``: why no group can be named, if so."""
        super().__init__(data, initial=initial)
        if groupless:
            who, name = self.fields["who"], self.fields["name"]
            who.help_text, name.help_text = groupless, _("A user name.")
            who.widget.attrs["aria-describedby"] = "who-hint"
            who.widget.greyed = frozenset({"group"})
        self.fields["role"].choices = [(row.codename, gettext(row.name)) for row in roles]  # type: ignore[attr-defined]

    def add_reasons(self, reasons: Sequence[Reason]) -> bool:
        """The services speak of ``user`` and ``group``, which have one field here."""
        return super().add_reasons(
            [
                Reason(one.code, one.text, "name" if one.field in {"user", "group"} else one.field, one.data)
                for one in reasons
            ]
        )


class GroupSearchForm(PageForm):
    """What the name of a directory's group is to hold."""

    group_like = forms.CharField(label=_("Group whose name holds"), min_length=2, max_length=256)
