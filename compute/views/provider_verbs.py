"""The verbs of pages of providers, as each reader is shown them: who may see hypervisors need not be allowed to change them."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.hypervisors.models import Provider
from tenants.permits import Permit
from tenants.verbs import Verb


@dataclass(frozen=True, slots=True)
class ProviderVerbs:
    """What can be done with a provider; each None for whoever is shown nothing of it."""

    test: Verb | None
    edit: Verb | None
    enable: Verb | None
    disable: Verb | None
    remove: Verb | None
    accept: Verb | None


def of_provider(actor: Actor, row: Provider) -> ProviderVerbs:
    """The verbs of a provider's page."""

    def verb(name: str, title: str, icon: str, address: str = "") -> Verb | None:
        where = reverse(f"compute:provider-{address or name}", args=[row.pk])
        return Verb(name, title, icon, where).asking_above(actor, Permit.PROVIDER_MANAGE)

    return ProviderVerbs(
        test=verb("test", _("Test connection"), "plug-connected"),
        edit=verb("edit", _("Edit"), "pencil"),
        enable=verb("enable", _("Enable again"), "check"),
        disable=verb("disable", _("Disable the provider"), "ban"),
        remove=verb("remove", _("Remove the provider"), "trash"),
        accept=verb("accept", _("Let deletions go on"), "check", "accept-version"),
    )


def connect(actor: Actor) -> Verb | None:
    """Connecting another provider."""
    verb = Verb("connect", _("Connect a provider"), "plus", reverse("compute:provider-create"))
    return verb.asking_above(actor, Permit.PROVIDER_MANAGE)


def make_cluster(actor: Actor) -> Verb | None:
    """Putting hosts of several providers into one cluster."""
    verb = Verb("create", _("Create cluster"), "plus", reverse("compute:cluster-create"))
    return verb.asking_above(actor, Permit.PROVIDER_MANAGE)


def check(actor: Actor, *, again: bool) -> Verb | None:
    """Looking at all of them."""
    title = _("Check again") if again else _("Check")
    return Verb("check", title, "refresh", reverse("compute:readiness")).asking_above(actor, Permit.PROVIDER_MANAGE)
