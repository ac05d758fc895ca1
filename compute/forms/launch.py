"""The form of the launch wizard: every stage's fields in one, of which a page shows one stage's and keeps the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from django import forms
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from compute.models import Cluster, StorageDomain, Template
from compute.services.launch import LaunchRequest, NewAdmin, OwnNetwork
from compute.services.launch_offers import Offer
from network.models import Network
from portal.common.units import bytes_text, mib_text
from tenants.forms.people import LONGEST_PASSWORD, QuotaForm
from tenants.models.quota import Dimension


class Stage(NamedTuple):
    """A page of the wizard: its name, its title for people, and what is entered there."""

    name: str
    title: Any
    fields: tuple[str, ...]


STAGES = (
    Stage("data_center", _("Data center"), ("name", "description")),
    Stage("clusters", _("Clusters"), ("clusters",)),
    Stage("storage", _("Storage"), ("storage_domains", "templates")),
    Stage("network", _("Network"), ("network_provider", "network_name", "network_cidr", "networks")),
    Stage("quota", _("Quota"), tuple(map(str, Dimension))),
    Stage("admin", _("Administrator"), ("admin", "admin_is_new", "admin_name")),
    Stage("review", _("Review"), ("password",)),
)
# Where the wizard is entered again after a step failed; all others at the review.
OF_STEPS = {"templates": "storage", "networks": "network", "verify_network": "network"}


def _several(label: Any, help_text: Any = "") -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label, required=False, widget=forms.CheckboxSelectMultiple, help_text=help_text
    )


class LaunchForm(QuotaForm):
    """All that a launch wants to know. What is missing or unfit is the service's to tell, stage by stage."""

    name = forms.CharField(
        label=_("Name"), required=False, max_length=200, help_text=_("Letters A-Z, digits, '-', '_' and '.'")
    )
    description = forms.CharField(
        label=_("Description"), required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 3})
    )
    clusters = _several(_("Clusters"), _("Its machines run on the hosts of these."))
    storage_domains = _several(_("Storage domains"), _("The disks of its machines lie in these."))
    templates = _several(_("Templates"), _("The institute's own, from which its people make machines."))
    network_provider = forms.ChoiceField(label=_("A network of its own, on"), required=False)
    network_name = forms.CharField(label=_("Name of the network"), required=False, max_length=200)
    network_cidr = forms.CharField(
        label=_("Address range"),
        required=False,
        max_length=43,
        help_text=_("As 10.20.0.0/24; empty takes the next free range."),
    )
    networks = _several(_("Networks of the institute"), _("Others may be on them too."))
    admin = forms.CharField(
        label=_("User name"),
        required=False,
        max_length=200,
        help_text=_("Of somebody who has an account here (of a directory: NAME\\user), or of the account to be made."),
    )
    admin_is_new = forms.BooleanField(label=_("Make a local account of this name"), required=False)
    admin_name = forms.CharField(label=_("Name of the person"), required=False, max_length=150)
    password = forms.CharField(
        label=_("Password of the new account"),
        required=False,
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 12 characters; a few words are best."),
    )
    continues = forms.UUIDField(required=False, widget=forms.HiddenInput)
    reached = forms.CharField(required=False, max_length=1, widget=forms.HiddenInput)  # the last stage that was shown

    def __init__(self, data: Any, *, offered: Mapping[str, Offer], initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        del self.fields["version"]
        for name, label in LABELS.items():
            self._choose(name, [(str(row.pk), label(row)) for row in offered[name].rows])
            self.fields[name].help_text = f"{self.fields[name].help_text} {_rest_of(offered[name])}".strip()
            self.fields[name].left_out = offered[name].apart  # type: ignore[attr-defined]
        none = ("", gettext("None: it has no network of its own"))
        able = [(str(row.pk), row.name) for row in offered["providers"].rows]
        self._choose("network_provider", [*able, none])
        self.makes_networks = bool(able)
        if any(row.is_engines for row in offered["clusters"].rows):
            self.fields["network_provider"].help_text = gettext(
                "On engines none can be made: choose one of those that the engine has."
            )

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def request(self) -> LaunchRequest:
        """What was entered, so far; the form must be valid."""
        data = self.cleaned_data
        kinds = ("clusters", "storage_domains", "networks", "templates")
        chosen = {name: tuple(UUID(uid) for uid in data[name]) for name in kinds}
        on = data["network_provider"]
        return LaunchRequest(
            name=data["name"],
            admin=data["admin"],
            description=data["description"],
            clusters=chosen["clusters"],
            storage_domains=chosen["storage_domains"],
            networks=chosen["networks"],
            templates=chosen["templates"],
            network=OwnNetwork(data["network_name"], UUID(on), data["network_cidr"]) if on else None,
            limits=self.limits(),
            new_admin=NewAdmin(data["admin_name"], data["password"]) if data["admin_is_new"] else None,
            continues=data["continues"],
        )


def _cluster_label(row: Cluster) -> str:
    count = ngettext("%(count)d host", "%(count)d hosts", row.host_count) % {"count": row.host_count}  # type: ignore[attr-defined]
    text = f"{row.name} ({count}, {mib_text(row.physical_mib)})"  # type: ignore[attr-defined]
    return f"{text}: {_where(row.provider, row.zone.name if row.zone else '')}" if row.is_engines else text


def _where(provider: Any, zone: str) -> str:
    return f"{provider.name}, {zone}" if zone else str(provider.name)


def _placed(text: str, row: Network | Template) -> str:
    """With its provider, and its zone there, where it is an engine's."""
    zone = getattr(row, "zone_name", "")
    return f"{text} ({_where(row.provider, zone)})" if getattr(row, "external_id", "") and row.provider else text


def _network_label(row: Network) -> str:
    text = _placed(row.name, row)
    if row.is_management:
        return f"{text}: " + gettext("the engine reaches its hosts by it: machines on it could, too")
    return f"{text}: " + gettext("machines on it reach whatever else is on it") if row.offered else text


def _template_label(row: Template) -> str:
    text = row.name
    if row.version > 1:
        text += ", " + gettext("version %(number)s") % {"number": row.version}
    return _placed(text, row)


def _storage_label(row: StorageDomain) -> str:
    figures = {"free": bytes_text(row.free_bytes), "total": bytes_text(row.total_bytes)}
    room = gettext("%(free)s free of %(total)s") % figures
    where = _where(row.provider, ", ".join(row.zone_names))
    told = f"{row.name} ({where}): {room}, {row.get_status_display()}"
    return told if row.holds_disks else f"{told}; {row.function.label}"


LABELS: dict[str, Callable[[Any], str]] = {
    "clusters": _cluster_label,
    "storage_domains": _storage_label,
    "networks": _network_label,
    "templates": _template_label,
}


def _rest_of(offer: Offer) -> str:
    """What to say of those that are not named."""
    said = []
    if offer.apart:
        text = ngettext(
            "%(count)s is left out: the chosen clusters do not reach it.",
            "%(count)s are left out: the chosen clusters do not reach them.",
            offer.apart,
        )
        said.append(text % {"count": offer.apart})
    if offer.more:
        text = ngettext(
            "%(count)s more is not listed here. It can be given over the API.",
            "%(count)s more are not listed here. They can be given over the API.",
            offer.more,
        )
        said.append(text % {"count": offer.more})
    return " ".join(said)


def proposed(offered: Mapping[str, Offer]) -> dict[str, Any]:
    """What is filled in for what the chosen clusters reach: where there is no choice the one, of every template the latest
    version, and a network of its own where one can be made.
    """
    clusters = offered["clusters"].rows
    ready = [row for row in offered["storage_domains"].rows if row.status == "active" and row.holds_disks]
    return {
        "clusters": [str(row.pk) for row in clusters if len(clusters) == 1],
        "storage_domains": [str(row.pk) for row in ready if len(ready) == 1],
        "templates": [str(row.pk) for row in offered["templates"].rows if not row.has_later],
        "network_provider": next((str(row.pk) for row in offered["providers"].rows), ""),
        "network_name": "lan",
    }


def carried_on(values: Mapping[str, Any], offered: Mapping[str, Offer], *, at: int) -> dict[str, Any]:
    """What was entered up to this stage as the next goes on with it.

    Of later stages what the chosen clusters do not reach is dropped, and a stage that was not shown yet, or where nothing is
    left, has what is proposed.
    """
    carried, proposal = dict(values), proposed(offered)
    reached = stage_in(values.get("reached"))
    for number, stage in enumerate(STAGES[at + 1 :], start=at + 1):
        for name in set(stage.fields) & set(proposal):
            before = values.get(name)
            kept = _kept_of(before, name, offered)
            carried[name] = proposal[name] if number > reached or (before and not kept) else kept
    return carried


def _kept_of(value: Any, name: str, offered: Mapping[str, Offer]) -> Any:
    offer = offered.get({"network_provider": "providers"}.get(name, name))
    if offer is None:
        return value
    there = {str(row.pk) for row in offer.rows}
    if isinstance(value, list):
        return [one for one in value if one in there]
    return value if value in there else ""


def stage_in(text: Any) -> int:
    """The number of the stage that a form names; 0 for what is none."""
    text = str(text or "")
    return min(len(STAGES) - 1, int(text)) if text.isascii() and text.isdigit() and len(text) == 1 else 0


def entered(wanted: LaunchRequest) -> dict[str, Any]:
    """A request as the wizard shows it again."""
    own = wanted.network
    kinds = ("clusters", "storage_domains", "networks", "templates")
    return {
        "name": wanted.name,
        "description": wanted.description,
        "network_provider": str(own.provider) if own else "",
        "network_name": own.name if own else "lan",
        "network_cidr": own.cidr if own else "",
        "admin": wanted.admin,
        "continues": str(wanted.continues or ""),
        "reached": str(len(STAGES) - 1),
        **{name: [str(uid) for uid in getattr(wanted, name)] for name in kinds},
        **{str(name): str(limit) for name, limit in wanted.limits.items() if limit is not None},
    }
