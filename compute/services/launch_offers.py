"""What a launch can choose from: of each kind only what machines in the chosen clusters could use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from compute import resources
from compute.models import Cluster, Host, StorageDomain, Template
from compute.operations.launch import GIVEN, shared
from compute.resources import first_of, without_use
from compute.selectors import clusters_with_hosts
from compute.shareables import SHAREABLE
from compute.versions import latest_first
from network.choices import NetworkStatus
from network.models import Network
from portal.common.actor import Actor
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Provider


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be chosen for a field. ``more``: how many there are besides; ``apart``: how many more are there that the chosen
    clusters do not reach.
    """

    rows: tuple[Any, ...]
    more: int = 0
    apart: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """What the hosts of clusters reach: their providers and, of engines, the zones of these clusters."""

    clusters: tuple[Cluster, ...]
    providers: frozenset[UUID]
    zones: frozenset[str]

    def has_domain(self, row: StorageDomain) -> bool:
        """Whether disks in it can be used there."""
        return row.provider_id in self.providers and (not row.zones or not self.zones.isdisjoint(row.zones))

    def has_network(self, row: Network) -> bool:
        """Whether machines there can be on it: an engine attaches networks to its clusters one by one."""
        if not row.zone:
            return row.provider_id in self.providers
        return any(
            row.provider_id == one.provider_id
            and one.zone
            and one.zone.external_id == row.zone
            and row.is_in(one.external_id)
            for one in self.clusters
        )

    def has_template(self, row: Template) -> bool:
        """Whether machines can be made from it there: its disk lies where their disks can."""
        return self.has_domain(row.storage_domain)


def reach_of(uids: Collection[UUID]) -> Reach | None:
    """Of these clusters; None where there is none of them."""
    clusters = tuple(Cluster.objects.filter(pk__in=uids).select_related("zone"))
    if not clusters:
        return None
    providers = Host.objects.filter(cluster__in=clusters, provider__enabled=True).values_list("provider", flat=True)
    zones = frozenset(row.zone.external_id for row in clusters if row.zone)
    return Reach(clusters, frozenset(providers), zones)


def offers(actor: Actor, clusters: Collection[UUID] = ()) -> dict[str, Offer]:
    """Field by field, at most 200 each, and the ``providers`` a network can be made on. Without clusters all there is."""
    rows: dict[str, Any] = {name: shared(SHAREABLE[kind]).order_by("name", "uid") for kind, name in GIVEN.items()}
    domains = StorageDomain.objects.select_related("provider")
    ready = rows["templates"].filter(status="ok").select_related("provider", "storage_domain")
    reach = reach_of(clusters)
    able = [
        row for row in Provider.objects.filter(enabled=True).order_by("name", "uid") if capabilities_of(row).networks
    ]
    return {
        "clusters": Offer(*first_of(clusters_with_hosts(actor).order_by("name", "uid"))),
        "storage_domains": _offer(
            without_use(domains).prefetch_related("provider__zones"), reach.has_domain if reach else None
        ),
        "networks": _offer(
            rows["networks"]
            .exclude(status=NetworkStatus.GONE)
            .select_related("provider")
            .order_by("is_management", "name", "uid"),
            reach.has_network if reach else None,
        ),
        "templates": _offer(latest_first(ready), reach.has_template if reach else None),
        "providers": Offer(tuple(row for row in able if reach is None or row.pk in reach.providers)),
    }


def _offer(rows: QuerySet[Any], fits: Callable[[Any], bool] | None) -> Offer:
    if fits is None:
        return Offer(*first_of(rows))
    everything = list(rows)
    fitting = [row for row in everything if fits(row)]
    shown = tuple(fitting[: resources.MOST_OFFERED])
    return Offer(shown, len(fitting) - len(shown), len(everything) - len(fitting))
