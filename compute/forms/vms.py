"""The form of the create wizard: types and choices, which are what this actor may use; the rules are the service's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from compute.models import Template
from compute.services.wishes import VmRequest, can_clone
from network.models import VnicProfile
from portal.common.forms import PageForm
from portal.common.kinds import kind_title
from portal.common.units import mib_text
from tenants.models import DataCenter

MEMORY_MIB = (256, 512, 1024, 2048, 4096, 8192, 16384)
VCPUS = (1, 2, 4, 8)
LONGEST_KEYS = 20_000  # characters
MOST_NICS = 8
MOST_NAMED = 10
USUAL, NO_NIC = "", "none"  # what a card can be on besides vNIC profiles, by uid


class VmForm(PageForm):
    """Binds what was posted; ``request()`` is what the service gets."""

    name = forms.CharField(label=_("Name"), max_length=64)
    template = forms.ChoiceField(label=_("Template"))
    data_center = forms.ChoiceField(label=_("Data center"))
    memory_mib = forms.TypedChoiceField(label=_("Memory"), required=False, coerce=int, empty_value=None)
    vcpus = forms.TypedChoiceField(label=_("vCPUs"), required=False, coerce=int, empty_value=None)
    user_name = forms.CharField(label=_("User name"), required=False, max_length=32)
    ssh_authorized_keys = forms.CharField(
        label=_("SSH public key"), required=False, max_length=LONGEST_KEYS, widget=forms.Textarea
    )
    description = forms.CharField(label=_("Description"), required=False, max_length=2000)
    nics = forms.MultipleChoiceField(
        label=_("Network cards"),
        required=False,
        error_messages={
            "invalid_choice": _(
                "A network that was chosen is not for machines of this template in this data center, or not for you. "
                "Choose another."
            )
        },
    )
    run = forms.BooleanField(label=_("Run it when it is ready"), required=False)
    clone = forms.BooleanField(label=_("Copy the template's disks whole"), required=False)

    def __init__(
        self,
        data: Any,
        *,
        templates: Sequence[Template],
        data_centers: Sequence[DataCenter],
        homes: Mapping[UUID, Collection[UUID]] | None = None,
        initial: dict[str, Any] | None = None,
        profiles: Sequence[VnicProfile] = (),
        names_providers: bool = False,
    ) -> None:
        super().__init__(data, initial=initial)
        self._templates = {str(row.pk): row for row in templates}
        self.places = differences(templates, names_providers=names_providers)
        self._centers = {str(row.pk): row for row in data_centers}
        self._homes = homes
        self._field("template").choices = [(str(row.pk), _label(row, self.places)) for row in templates]
        self._field("data_center").choices = [(str(row.pk), row.name) for row in data_centers]
        self.profiles = {str(row.pk): str(row) for row in profiles}
        self._found = {str(row.pk) for row in profiles if row.network.offered}
        self._field("nics").choices = [(USUAL, ""), (NO_NIC, ""), *self.profiles.items()]
        as_template = [("", gettext("As the template has it"))]
        self._field("memory_mib").choices = as_template + [(str(mib), mib_text(mib)) for mib in MEMORY_MIB]
        self._field("vcpus").choices = as_template + [(str(count), str(count)) for count in VCPUS]

    def _field(self, name: str) -> Any:
        return self.fields[name]

    @property
    def offers_clone(self) -> bool:
        """Whether the disks of the template that is chosen now can be copied whole."""
        chosen = self._templates.get(str(self["template"].value()))
        return chosen is not None and can_clone(chosen)

    def request(self) -> VmRequest:
        """What is asked for; sizes that were left to the template are the template's."""
        values = self.cleaned_data
        template = self._templates[values["template"]]
        keys = tuple(line.strip() for line in values["ssh_authorized_keys"].splitlines() if line.strip())
        return VmRequest(
            name=values["name"],
            data_center_uid=UUID(values["data_center"]),
            template_uid=template.pk,
            memory_mib=values["memory_mib"] or template.memory_mib,
            vcpus=values["vcpus"] or template.vcpus,
            user_name=values["user_name"],
            hostname="",
            ssh_authorized_keys=keys,
            description=values["description"],
            vnic_profile_uids=self._nics(),
            run=values["run"],
            clone=values["clone"],
        )

    def clean_nics(self) -> list[str]:
        """The cards in their order, without those that are none."""
        found = [value for value in self.cleaned_data["nics"] if value != NO_NIC]
        if len(found) > MOST_NICS:
            raise forms.ValidationError(
                gettext("A machine is made with %(most)d network cards at most.") % {"most": MOST_NICS}
            )
        return found

    def clean(self) -> dict[str, Any]:
        """A template that the data center may not use is refused here, with those of the offered ones that may."""
        template = self._templates.get(self.cleaned_data.get("template", ""))
        center = self._centers.get(self.cleaned_data.get("data_center", ""))
        if template and center and self._homes is not None and center.pk not in self._homes[template.pk]:
            self.add_error("data_center", self._not_here(template, center))
        return self.cleaned_data

    def _not_here(self, template: Template, center: DataCenter) -> str:
        homes = (self._homes or {})[template.pk]
        names = [row.name for row in self._centers.values() if row.pk in homes][:MOST_NAMED]
        told = {"name": template.name, "data_center": center.name, "others": ", ".join(names)}
        if not names:
            return gettext("%(data_center)s may not use the template %(name)s. Choose another template.") % told
        text = gettext(
            "%(data_center)s may not use the template %(name)s. Choose another template, or a data center that may use "
            "this one: %(others)s."
        )
        return text % told

    def _nics(self) -> tuple[UUID, ...] | None:
        """None where it was left to the portal, the one card being as usual. Where nothing is offered there is no card."""
        found: list[str] = self.cleaned_data["nics"]
        if not self.profiles:
            return ()
        if "nics" not in self.data or found == [USUAL]:
            return None
        return tuple(UUID(uid) for value in found if (uid := value or next(iter(self.profiles), "")))

    def chosen_nics(self) -> list[str]:
        """The vNIC profiles that the cards will be on, by uid, that of a card as usual too."""
        uids = self._nics()
        return [*self.profiles][:1] if uids is None else [str(uid) for uid in uids]

    def nic_names(self) -> list[str]:
        """On what the cards will be, in words."""
        return [self.profiles[uid] for uid in self.chosen_nics()]

    def found_names(self) -> list[str]:
        """Of what is offered, the networks that were on their host before the portal."""
        return [name for uid, name in self.profiles.items() if uid in self._found]

    def found_chosen(self) -> list[str]:
        """Those of them that a card will be on."""
        chosen = self.chosen_nics()
        return [name for uid, name in self.profiles.items() if uid in self._found and uid in chosen]

    def nic_rows(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """A choice for each card, what is chosen and what is offered, and one for another card.

        What is not offered any more is not shown: another template or data center was chosen meanwhile.
        """
        before = [value for value in self["nics"].value() or [USUAL] if value != NO_NIC]
        chosen = [value for value in before if value == USUAL or value in self.profiles][:MOST_NICS]
        if before and not chosen:
            chosen = [USUAL]
        usual = gettext("As usual: %(name)s") % {"name": next(iter(self.profiles.values()), "")}
        none, profiles = (NO_NIC, gettext("No network card")), list(self.profiles.items())
        rows = [(value, [(USUAL, usual), none, *profiles]) for value in chosen or [NO_NIC]]
        return rows + [(NO_NIC, [none, *profiles])] * (0 < len(chosen) < MOST_NICS)

    def cards(self) -> list[tuple[Template, str]]:
        """The templates to choose from, each with what tells it from others that are called the same."""
        return [(row, self.places.get(row.pk, "")) for row in self._templates.values()]


def differences(templates: Sequence[Template], *, names_providers: bool) -> dict[UUID, str]:
    """Of templates that are called the same what tells each from the others, and no more of it than is needed.

    That is the kind of hypervisor, the owner and the version, and a number where these are alike; the version is told
    wherever there are several. ``names_providers``: for those who may see providers also which one it is.
    """
    named: dict[str, list[Template]] = {}
    for row in templates:
        named.setdefault(row.name, []).append(row)
    told: dict[UUID, str] = {}
    for alike in named.values():
        if len(alike) > 1:
            told |= _told_apart(alike, names_providers=names_providers)
    return told


def called_alike(uids: Collection[UUID], names_providers: bool) -> dict[UUID, str]:  # noqa: FBT001
    """The same of these, for lists of objects of any kind."""
    rows = Template.objects.filter(pk__in=uids).select_related("owner", "storage_domain__provider")
    return differences(list(rows.order_by("name", "uid")), names_providers=names_providers)


def told_apart(rows: Iterable[Template], *, names_providers: bool) -> list[Template]:
    """The same rows, each with what tells it from the others (``place``), as the form for machines says it."""
    told = list(rows)
    places = differences(told, names_providers=names_providers)
    for row in told:
        row.place = places.get(row.pk, "")  # type: ignore[attr-defined]
    return told


def _told_apart(rows: Sequence[Template], *, names_providers: bool) -> dict[UUID, str]:
    looks = [_kind, _owner, _version, *([_provider] if names_providers else [])]
    told: dict[UUID, tuple[str, ...]] = {row.pk: () for row in rows}
    for look in looks:
        seen = {row.pk: look(row) for row in rows}
        needed = look is _version or len(set(told.values())) < len(rows)
        if needed and len(set(seen.values())) > 1:
            told = {uid: (*words, seen[uid]) for uid, words in told.items()}
    counted = Counter(told.values())
    numbers: Counter[tuple[str, ...]] = Counter()
    for uid, words in told.items():
        if counted[words] > 1:
            numbers[words] += 1
            told[uid] = (*words, gettext("number %(number)d") % {"number": numbers[words]})
    return {uid: ", ".join(words) for uid, words in told.items()}


def _kind(row: Template) -> str:
    return gettext("on %(place)s") % {"place": kind_title(row.storage_domain.provider.kind)}


def _owner(row: Template) -> str:
    if row.owner is None:
        return pgettext("template", "of the institute")
    return pgettext("template", "of %(name)s") % {"name": row.owner.name}


def _version(row: Template) -> str:
    return gettext("version %(number)s") % {"number": row.version}


def _provider(row: Template) -> str:
    return gettext("on %(place)s") % {"place": row.storage_domain.provider.name}


def _label(row: Template, places: Mapping[UUID, str]) -> str:
    return f"{row.name} ({places[row.pk]})" if row.pk in places else row.name


def proposed_name(username: str, *, taken: Sequence[str]) -> str:
    """A name for the next machine, such as maria-2."""
    base = re.sub(r"[^A-Za-z0-9_.-]+", "-", username)[:56].strip("-.") or "vm"
    known = set(taken)
    return next(name for number in range(1, len(known) + 2) if (name := f"{base}-{number}") not in known)
