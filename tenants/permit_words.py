"""Permits in people's words, and on which kinds of objects each means something. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from tenants.permits import Permit, noun_of

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Of the object itself, by the verb that follows its kind's name in the permit's.
OF_IT: dict[str, StrOrPromise] = {
    "VIEW": _("See it"),
    "CONNECT": _("Console"),
    "RUN": _("Run"),
    "SHUT_DOWN": _("Shut down"),
    "REBOOT": _("Reboot"),
    "STOP": _("Stop"),
    "USE": _("Use it"),
    "EDIT": _("Edit"),
    "DELETE": _("Delete"),
    "UPLOAD": _("Upload"),
}
# Of whatever is in a data center or in the whole system.
TITLES: dict[str, StrOrPromise] = {
    "SYSTEM_MANAGE": _("Run the whole institute"),
    "PROVIDER_VIEW": _("See providers"),
    "PROVIDER_MANAGE": _("Connect providers"),
    "USER_MANAGE": _("Manage users"),
    "GRANT": _("Give roles"),
    "DATA_CENTER_VIEW": _("See data centers"),
    "DATA_CENTER_EDIT": _("Change data centers"),
    "QUOTA_VIEW": _("See quotas"),
    "QUOTA_EDIT": _("Set quotas"),
    "QUOTA_CONSUME": _("Use the quota"),
    "TEMPLATE_VIEW": _("See templates"),
    "TEMPLATE_USE": _("Make machines from templates"),
    "TEMPLATE_CREATE": _("Make templates"),
    "TEMPLATE_EDIT": _("Change templates"),
    "TEMPLATE_DELETE": _("Delete templates"),
    "IMAGE_VIEW": _("See images"),
    "IMAGE_UPLOAD": _("Upload images"),
    "IMAGE_DELETE": _("Remove images"),
    "NETWORK_VIEW": _("See networks"),
    "NETWORK_USE": _("Attach machines to networks"),
    "VM_CREATE": _("Create machines"),
    "VM_VIEW": _("See machines"),
    "VM_EDIT": _("Change machines"),
    "VM_DELETE": _("Delete machines"),
    "VM_RUN": _("Run machines"),
    "VM_SHUT_DOWN": _("Shut machines down"),
    "VM_STOP": _("Stop machines"),
    "VM_REBOOT": _("Reboot machines"),
    "VM_CONNECT": _("Sit at consoles"),
    "JOB_VIEW": _("See jobs"),
    "JOB_CANCEL": _("Cancel jobs"),
    "JOB_MANAGE": _("End stuck jobs"),
    "EVENT_VIEW": _("Read events"),
}
ABOVE = ("system", "data_center")  # on these every permit means something, for it reaches what is below
ON_ANYTHING = frozenset({"GRANT", "JOB_VIEW", "JOB_CANCEL", "JOB_MANAGE", "EVENT_VIEW"})
EVERYWHERE = ("SYSTEM_", "PROVIDER_", "USER_")  # what is asked of the whole system alone


def permits_for(kind: str) -> tuple[Permit, ...]:
    """The permits that mean something on an object of this kind. Making new ones is a matter of what they are made in."""
    if kind == "system":
        return tuple(Permit)
    if kind in ABOVE:
        return tuple(permit for permit in Permit if not permit.startswith(EVERYWHERE))
    prefix = f"{noun_of(kind)}_"
    own = {permit for permit in Permit if permit.startswith(prefix) and not permit.endswith("_CREATE")}
    return tuple(permit for permit in Permit if permit in own or permit in ON_ANYTHING)


def permit_title(permit: Permit, kind: str) -> StrOrPromise:
    """What a permit allows, said on an object of this kind; the permit's own name where we have no words."""
    verb = permit.removeprefix(f"{noun_of(kind)}_")
    if verb != permit and verb in OF_IT:
        return OF_IT[verb]
    return TITLES.get(permit, permit.value)


def in_order(permits: Iterable[Permit], kind: str) -> list[Permit]:
    """These permits as people read them: first the verbs of an object of this kind itself, as in ``OF_IT``."""
    verbs = list(OF_IT)
    prefix = f"{noun_of(kind)}_"

    def place(permit: Permit) -> int:
        verb = permit.removeprefix(prefix)
        return verbs.index(verb) if verb in OF_IT and verb != permit else len(verbs)

    return sorted(permits, key=place)


def permit_titles(permits: Iterable[Permit], kind: str) -> list[StrOrPromise]:
    """What these permits allow on an object of this kind, in that order."""
    return [permit_title(permit, kind) for permit in in_order(permits, kind)]
