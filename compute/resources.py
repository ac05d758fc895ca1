"""What of the institute's a data center may use, and what it could be given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from compute.models import ANOTHER_PORTALS, Cluster, Host, StorageDomain, Template, Zone
from compute.versions import latest_first
from network.models import Network
from portal.common.actor import Actor
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit

MOST_OFFERED = 200


@dataclass(frozen=True, slots=True)
class Resources:
    """Things of one kind that a data center may use, and those that could be assigned (for whoever may assign).

    ``more``: how many could be assigned besides those that are named here.
    """

    kind: str
    title: str
    assigned: tuple[Any, ...]
    others: tuple[Any, ...] = ()
    more: int = 0


def resources_of(actor: Actor, data_center: DataCenter) -> list[Resources]:
    """What of the institute's a data center may use, kind by kind; for super-admins also what it could be given."""
    giving = policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE)
    has_hosts = Exists(Host.objects.filter(cluster=OuterRef("pk")))
    named: dict[str, tuple[str, QuerySet[Any]]] = {
        # One whose hosts are all in another has nothing to give.
        "cluster": (_("Clusters"), Cluster.objects.select_related("provider", "zone").filter(has_hosts)),
        "storage_domain": (
            _("Storage domains"),
            StorageDomain.objects.select_related("provider").prefetch_related("provider__zones"),
        ),
        "network": (_("Networks"), Network.objects.filter(owner=None).select_related("provider")),
        "template": (
            _("Templates"),
            Template.objects.filter(owner=None).select_related("provider", "storage_domain__provider"),
        ),
    }
    gone = {"network": {"status": "gone"}, "template": {"status": "gone"}}
    found = []
    for kind, (title, rows) in named.items():
        assigned = tuple(rows.filter(assignments__data_center=data_center).order_by("name"))
        free = rows.exclude(assignments__data_center=data_center).exclude(**gone.get(kind, {"pk": None}))
        if kind == "storage_domain":
            ordered: QuerySet[Any] = without_use(free)
        elif kind == "template":
            ordered = latest_first(free)
        else:
            ordered = free.order_by(*(("is_management",) if kind == "network" else ()), "name", "uid")
        found.append(Resources(kind, title, assigned, *(first_of(ordered) if giving else ())))
    return found


def first_of(rows: QuerySet[Any]) -> tuple[tuple[Any, ...], int]:
    """As many as are offered at once, and how many there are besides."""
    shown = tuple(rows[:MOST_OFFERED])
    return shown, rows.count() - len(shown) if len(shown) == MOST_OFFERED else 0


def without_use(rows: QuerySet[StorageDomain]) -> QuerySet[StorageDomain]:
    """Without what nothing can be copied from here: an engine's domains that hold no disks (for images and exports), and what
    another portal made for itself. Those that machines' disks can lie in come first.
    """
    engines = Q(holds_disks=False) & Exists(Zone.objects.filter(provider=OuterRef("provider")))
    return rows.exclude(engines).exclude(ANOTHER_PORTALS).order_by("-holds_disks", "name", "uid")
