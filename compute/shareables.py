"""What of the institute's can be shared out to data centers, kind by kind: services and operations ask here alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from compute.models import (
    Cluster,
    ClusterAssignment,
    StorageAssignment,
    StorageDomain,
    Template,
    TemplateAssignment,
    Vm,
)
from network.models import Network, NetworkAssignment
from portal.common.errors import Reason
from tenants.models import DataCenter

# What would be left hanging, by kind: "machines", "templates", "networks".
Needs = dict[str, QuerySet[Any]]


@dataclass(frozen=True, slots=True)
class Shareable:
    """A kind of thing that is shared out. ``needed_by`` finds what of a data center could not do without it, by kind."""

    name: str
    model: type[Model]
    assignment: type[Model]
    field: str
    needed_by: Callable[[DataCenter, Any], Needs]
    conveys_rights: bool = False  # its assignment widens what people of the data center may see


def _machines(data_center: DataCenter, **where: Any) -> QuerySet[Vm]:
    return Vm.objects.filter(Q(**where), data_center=data_center).distinct()


def _of_cluster(data_center: DataCenter, cluster: Cluster) -> Needs:
    """Its machines, and what the data center made on hypervisors that no other cluster of its reaches."""
    others = Cluster.objects.filter(assignments__data_center=data_center).exclude(pk=cluster.pk)
    lost = _providers(Cluster.objects.filter(pk=cluster.pk)) - _providers(others)
    return {
        "machines": _machines(data_center, cluster=cluster),
        "templates": Template.objects.filter(owner=data_center, storage_domain__provider__in=lost),
        "networks": Network.objects.filter(owner=data_center, provider__in=lost),
    }


def _providers(clusters: QuerySet[Cluster]) -> set[Any]:
    """The hypervisors of clusters: an engine's has its own, others have those of their hosts."""
    return {uid for pair in clusters.values_list("provider", "hosts__provider") for uid in pair if uid}


def _of_storage_domain(data_center: DataCenter, domain: StorageDomain) -> Needs:
    return {
        "machines": _machines(data_center, disks__storage_domain=domain),
        "templates": Template.objects.filter(owner=data_center, storage_domain=domain),
    }


def _of_network(data_center: DataCenter, network: Network) -> Needs:
    return {"machines": _machines(data_center, nics__vnic_profile__network=network)}


def _of_template(_data_center: DataCenter, _template: Template) -> Needs:
    """A machine that was made from a template stays what it is without the right to make more."""
    return {}


def why_not_shared(row: Model) -> Reason | None:
    """Why something is assigned to no data center, whoever asks; None for what can be."""
    if getattr(row, "owner", None) is not None:
        text = _("%(name)s belongs to a data center; only the institute's own is shared out.") % {"name": row}
        return Reason("of_a_data_center", text)
    if getattr(row, "is_another_portals", False):
        text = _(
            "%(name)s is another portal's own: no disks are made in it, and nothing in it is copied. Choose another."
        )
        return Reason("another_portals", text % {"name": row})
    return None


SHAREABLE = {
    kind.name: kind
    for kind in (
        Shareable("cluster", Cluster, ClusterAssignment, "cluster", _of_cluster),
        Shareable("storage_domain", StorageDomain, StorageAssignment, "storage_domain", _of_storage_domain),
        Shareable("network", Network, NetworkAssignment, "network", _of_network, conveys_rights=True),
        Shareable("template", Template, TemplateAssignment, "template", _of_template, conveys_rights=True),
    )
}
