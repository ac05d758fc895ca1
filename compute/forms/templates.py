"""The forms of templates' pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.utils.translation import gettext_lazy as _

from compute import rules
from compute.choices import ICON_TITLES
from compute.services.template_rows import TemplateTraits
from portal.common.forms import PageForm

LARGEST = 2**31 - 1
INSTITUTE = "institute"  # among the data centers to choose from


class TemplateForm(PageForm):
    """What can be said of a template; ``version`` is the one that was looked at."""

    name = forms.CharField(
        label=_("Name"),
        max_length=200,
        help_text=_("Such as Debian 12. Letters A-Z, digits, '-', '_', '.', '+' and blanks"),
    )
    description = forms.CharField(
        label=_("Notes"), required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 3})
    )
    icon = forms.ChoiceField(label=_("Icon"), choices=[(name, ICON_TITLES[name]) for name in rules.ICONS])
    memory_mib = forms.IntegerField(
        label=_("Memory in MiB"),
        min_value=-LARGEST,
        max_value=LARGEST,
        help_text=_("What a machine gets unless its maker asks for more"),
    )
    memory_min_mib = forms.IntegerField(label=_("Least memory in MiB"), min_value=-LARGEST, max_value=LARGEST)
    vcpus = forms.IntegerField(label=_("vCPUs"), min_value=-LARGEST, max_value=LARGEST)
    has_cloud_init = forms.BooleanField(
        label=_("cloud-init is in it"), required=False, help_text=_("Host name, user and SSH keys reach the machine")
    )
    has_agent = forms.BooleanField(
        label=_("The QEMU guest agent is in it"),
        required=False,
        help_text=_("Addresses are known, and it shuts down when asked"),
    )
    has_serial_console = forms.BooleanField(label=_("It talks on the serial console"), required=False)
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    def fix(self, names: Iterable[str]) -> None:
        """These are shown, and not to be changed here."""
        for name in names:
            self.fields[name].disabled = True
            self.fields[name].help_text = _("As its engine says it")

    def traits(self) -> TemplateTraits:
        """As the service takes them."""
        return TemplateTraits(**{name: self.cleaned_data[name] for name in TemplateTraits.__dataclass_fields__})


class NewTemplateForm(TemplateForm):
    """A template to make from an image; ``places`` are the choices of data centers and of storage domains."""

    data_center = forms.ChoiceField(label=_("Data center"), help_text=_("Whose it is"))
    storage_domain = forms.ChoiceField(
        label=_("Storage domain"), help_text=_("Where its disk lies, and those of its machines")
    )

    next_version = forms.BooleanField(
        label=_("The next version of the template of this name"),
        required=False,
        help_text=_("New machines are made from it then; those of earlier versions stay as they are"),
    )

    field_order = ("name", "next_version", "data_center", "storage_domain")

    def __init__(self, data: Any, *, initial: dict[str, Any], places: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__(data, initial=initial)
        for name, choices in places.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101  for the type checker
            field.choices = choices

    def place(self) -> tuple[UUID, UUID | None, bool]:
        """Storage domain, data center (None: the institute) and whether it is a next version."""
        center = self.cleaned_data["data_center"]
        owner = None if center == INSTITUTE else UUID(center)
        return UUID(self.cleaned_data["storage_domain"]), owner, self.cleaned_data["next_version"]


class CopiedTemplateForm(NewTemplateForm):
    """The same of a machine or a volume, which is copied with all that is in it."""

    # Of machines alone, and only where that can be done (``offer_seal``).
    seal = forms.BooleanField(
        label=_("Seal it"),
        required=False,
        initial=True,
        help_text=_(
            "virt-sysprep takes out of the copy what makes the machine that machine; the machine stays as it is. That lasts some "
            "minutes more. Users, their passwords and files, programs and settings stay in it. SSH host keys are made anew by "
            "cloud-init; without it the system must make them at its own start (Fedora's does, many do not), or SSH lets nobody in."
        ),
    )

    accept_unsealed = forms.BooleanField(
        label=_("It is not sealed, and I accept that"),
        required=False,
        help_text=_(
            "The machine's identity, keys and logs are in it, and come into every machine made from it: host keys, machine id, "
            "users, passwords. cloud-init makes new SSH host keys; take out the rest in the machine itself before."
        ),
    )

    def offer_seal(self, *, is_offered: bool) -> None:
        """With the choice to seal, or without."""
        if is_offered:
            self.fields["accept_unsealed"].label = _("Do not seal it, and I accept that")
        else:
            del self.fields["seal"]
