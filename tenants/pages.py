"""Pages of objects that are there: what a job or an event is about may be gone since, or not be for the reader to see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from portal.common.actor import Actor
from portal.jobs.models import Job
from tenants import policy
from tenants.kinds import kind_named


class Way(NamedTuple):
    """A link: its address, its words and its icon."""

    address: str
    title: Any  # gettext_lazy
    icon: str


# By the kind of a job's target: what the link to its page says, and the page that lists such objects.
ONE = {"vm": _("Show the machine"), "template": _("Show the template"), "data_center": _("Show the data center")}
ALL = {
    "vm": ("home", _("Machines"), "device-desktop"),
    "template": ("compute:templates", _("Templates"), "template"),
    "data_center": ("compute:data-centers", _("Data centers"), "building"),
    "image": ("compute:images", _("Images"), "disc"),
    "system": ("compute:readiness", _("Readiness"), "checkup-list"),
}


def still_there(actor: Actor, kind: str, uids: Iterable[UUID]) -> set[UUID]:
    """Those of these objects that are there and that this actor may see."""
    noun, wanted = kind_named(kind), set(uids)
    if noun is None or not wanted:
        return set()
    rows = policy.visible(actor, policy.SEE[kind], noun.model._default_manager.filter(pk__in=wanted))
    return set(rows.values_list("pk", flat=True))


def way_to(actor: Actor, job: Job) -> Way:
    """To what a job is about: the object's page while it is there, else the list of its like. A network is shown with its
    data center.
    """
    kind, uid = job.target_kind, job.target_uid
    if kind == "network" and job.data_center_uid:
        kind, uid = "data_center", job.data_center_uid
    name, title, icon = ALL.get(kind, ALL["vm"])
    noun = kind_named(kind)
    if noun is not None and kind in ONE and still_there(actor, kind, [uid]):
        return Way(reverse(noun.page, args=[uid]), ONE[kind], icon)
    return Way(reverse(name), title, icon)
