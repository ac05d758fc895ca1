"""The form by which a provider is connected and changed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm

LONGEST = 20_000


class PemField(forms.CharField):
    """A text that is needed or not as the address has it, so that no label says which."""

    is_conditional = True


def _pem(label: Any, hint: Any = "") -> forms.CharField:
    attrs = {"rows": 3, "spellcheck": "false", "class": "form-control font-monospace"}
    widget = forms.Textarea(attrs=attrs)
    return PemField(label=label, help_text=hint, required=False, max_length=LONGEST, widget=widget)


class ProviderForm(PageForm):
    """Where a hypervisor is and how the portal logs in. A secret that was given is never shown again.

    Between a try and the saving they travel in ``kept``, sealed, so that they need not be given twice.
    """

    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("Letters A-Z, digits, '-', '_' and '.'"))
    kind = forms.ChoiceField(label=_("Kind"))
    address = forms.CharField(
        label=_("Address"),
        max_length=512,
        help_text=_("qemu+ssh://user@host/system, qemu+tls://host/system, or qemu:///system for the portal's machine"),
    )
    ssh_key = _pem(_("Private key"), _("Its public half belongs into the user's authorized_keys on the host."))
    ca_pem = _pem(_("Certificate of the CA"), _("That signed the host's certificate."))
    client_certificate = _pem(_("Client certificate"), _("That the host knows the portal by."))
    client_key = _pem(_("Key of the client certificate"))
    host_key = forms.CharField(required=False, max_length=5000, widget=forms.HiddenInput)
    kept = forms.CharField(required=False, max_length=4 * LONGEST, widget=forms.HiddenInput)
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None, kinds: tuple[str, ...]) -> None:
        super().__init__(data, initial=initial)
        self.fields["kind"].choices = [(kind, kind) for kind in kinds]  # type: ignore[attr-defined]
        if len(kinds) == 1:
            self.fields["kind"].widget = forms.HiddenInput()
            self.fields["kind"].initial = kinds[0]
