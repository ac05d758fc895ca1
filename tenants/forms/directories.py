"""The forms by which directories are connected, changed, mapped and tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm
from tenants.forms.ends import EndingForm
from tenants.models import DataCenter, DirectoryKind, Role

LONGEST_PEM = 40_000


def _lines(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "spellcheck": "false", "class": "form-control font-monospace"})


class DirectoryForm(PageForm):
    """Where a directory is and how the portal reads it. A password that was given is never shown again.

    Between a try and the saving it travels in ``kept``, sealed, so that it need not be given twice: for half an hour,
    for who typed it, and for the same servers, CA (one may be added) and account.
    """

    name = forms.CharField(
        label=_("Name"), max_length=32, help_text=_("Short: people may log in as NAME\\user or user@NAME.")
    )
    kind = forms.ChoiceField(label=_("Kind"), choices=DirectoryKind.choices)
    urls = forms.CharField(
        label=_("Servers"), max_length=2000, widget=_lines(2), help_text=_("One on each line: ldaps://ldap.uni.example")
    )
    starts_tls = forms.ChoiceField(
        label=_("Encryption"),
        choices=[("no", _("TLS from the start (ldaps://)")), ("yes", _("StartTLS (ldap://)"))],
    )
    ca_pem = forms.CharField(
        label=_("Certificate of the CA"),
        required=False,
        max_length=LONGEST_PEM,
        widget=_lines(3),
        help_text=_("That signed the servers' certificates; empty for those that this machine trusts anyway."),
    )
    bind_dn = forms.CharField(
        label=_("Account that reads the directory"),
        max_length=512,
        help_text=_("Its whole name: cn=portal,ou=services,dc=uni,dc=example. It needs no right to write."),
    )
    password = forms.CharField(
        label=_("Its password"), required=False, max_length=1024, widget=forms.PasswordInput(render_value=False)
    )
    base_dn = forms.CharField(label=_("Base of people"), max_length=512, help_text=_("ou=people,dc=uni,dc=example"))
    group_base_dn = forms.CharField(
        label=_("Base of groups"), required=False, max_length=512, help_text=_("Empty: the base of people.")
    )
    domains = forms.CharField(
        label=_("Domains"),
        required=False,
        max_length=2000,
        help_text=_("What people may write after the at sign, with commas between: uni.example, cs.uni.example"),
    )
    login_attribute = forms.CharField(
        label=_("Attribute of log-in"), required=False, max_length=64, help_text=_("Empty: uid, or sAMAccountName.")
    )
    is_default = forms.BooleanField(label=_("Means those who name no directory"), required=False)
    brake_percent = forms.IntegerField(
        label=_("Brake"),
        min_value=1,
        max_value=100,
        help_text=_("Percent. A sync that would take something from more of those signed in is held until you look."),
    )
    user = forms.CharField(
        label=_("A user to look for in the test"), required=False, max_length=150, help_text=_("No password is needed.")
    )
    kept = forms.CharField(required=False, max_length=10_000, widget=forms.HiddenInput)
    version = forms.CharField(required=False, widget=forms.HiddenInput)


class MappingForm(EndingForm):
    """A group of the directory, the role it is to hold, where, and until when."""

    group = forms.CharField(
        label=_("Group"),
        max_length=512,
        help_text=_("Its name in the directory, or its DN where several are called so."),
    )
    role = forms.ChoiceField(label=_("Role"))
    target = forms.ChoiceField(label=_("On"))
    field_order = ("group", "role", "target", "ends_on")

    def __init__(
        self,
        data: Any,
        *,
        roles: Sequence[Role],
        centers: Sequence[DataCenter],
        found: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (),
        initial: dict[str, Any] | None = None,
    ) -> None:
        """``found``: objects that were looked for, by the title of their kind; the first of them is chosen."""
        super().__init__(data, initial=initial)
        places = [(str(row.pk), row.name) for row in centers]
        groups = [*found, *([(gettext("Data centers"), places)] if places else [])]
        self.fields["role"].choices = [(row.codename, gettext(row.name)) for row in roles]  # type: ignore[attr-defined]
        self.fields["target"].choices = [*groups, ("system", _("the whole system"))]  # type: ignore[attr-defined]


class LookForm(PageForm):
    """What a group's and an object's name are to hold: what is found is offered by the form of mappings."""

    group_like = forms.CharField(label=_("Group whose name holds"), min_length=2, max_length=256, required=False)
    on_like = forms.CharField(
        label=_("Object whose name holds"),
        max_length=150,
        required=False,
        help_text=_("A machine, template, image, network or vNIC profile."),
    )
    all_optional = True
