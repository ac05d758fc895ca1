"""The forms by which a provider is connected and changed, one for each kind."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.common.forms import PageForm
from portal.common.kinds import kind_title

LONGEST = 20_000


class PemField(forms.CharField):
    """A text that is needed or not as the address has it, or what is stored already, so that no label says which."""

    is_conditional = True


def _pem(label: Any, hint: Any = "") -> forms.CharField:
    attrs = {"rows": 3, "spellcheck": "false", "class": "form-control font-monospace"}
    widget = forms.Textarea(attrs=attrs)
    return PemField(label=label, help_text=hint, required=False, max_length=LONGEST, widget=widget)


class ProviderForm(PageForm):
    """What every kind of provider is asked for. A secret that was given is never shown again.

    Between a try and the saving they travel in ``kept``, sealed, so that they need not be given twice.
    """

    # The template with the fields of this kind, and its secrets by their fields; ``shown_secrets`` may be sent back.
    partial: ClassVar[str]
    secrets: ClassVar[tuple[str, ...]]
    shown_secrets: ClassVar[tuple[str, ...]] = ()

    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("Letters A-Z, digits, '-', '_' and '.'"))
    kind = forms.ChoiceField(label=_("Kind"), widget=forms.HiddenInput)
    address = forms.CharField(label=_("Address"), max_length=512)
    kept = forms.CharField(required=False, max_length=4 * LONGEST, widget=forms.HiddenInput)
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None, kinds: tuple[str, ...]) -> None:
        super().__init__(data, initial=initial)
        self.fields["kind"].choices = [(kind, kind_title(kind)) for kind in kinds]  # type: ignore[attr-defined]

    @property
    def trusted_ca(self) -> str:
        """The CA that is to be trusted."""
        return str(self.cleaned_data.get("ca_pem", ""))


class LibvirtForm(ProviderForm):
    """Where a libvirt is, and the keys or certificates by which the portal logs in."""

    partial = "compute/partials/_provider_libvirt.html"
    secrets = ("ssh_key", "client_certificate", "client_key")
    shown_secrets = ("host_key",)

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


class EngineForm(ProviderForm):
    """Where an oVirt engine is, and the service account by which the portal logs in."""

    partial = "compute/partials/_provider_engine.html"
    secrets = ("password",)

    address = forms.CharField(
        label=_("Address"), max_length=512, help_text=_("https://engine.example/ovirt-engine/api")
    )
    username = forms.CharField(
        label=_("User name"),
        max_length=255,
        help_text=_("A service account with its profile, like portal@internal. It needs a role of the type admin."),
    )
    password = PemField(
        label=_("Password"),
        required=False,
        max_length=LONGEST,
        strip=False,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )
    ca_pem = _pem(_("Certificate of the CA"), _("Leave it empty: the engine's own is shown to be compared and pinned."))
    found_ca = forms.CharField(required=False, max_length=LONGEST, widget=forms.HiddenInput)

    @property
    def trusted_ca(self) -> str:
        """The one that was compared and ticked, else what stands in its field."""
        return str(self.cleaned_data.get("found_ca") or super().trusted_ca)


FORMS: dict[str, type[ProviderForm]] = {"ovirt": EngineForm}


def form_of(kind: str) -> type[ProviderForm]:
    """The form by which this kind is connected."""
    return FORMS.get(kind, LibvirtForm)
