"""What of the institute's can be shared out to data centers, kind by kind: services and operations ask here alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q, QuerySet

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
from tenants.models import DataCenter


@dataclass(frozen=True, slots=True)
class Shareable:
    """A kind of thing that is shared out. ``users`` finds the machines of a data center that could not do without it."""

    name: str
    model: type[Model]
    assignment: type[Model]
    field: str
    users: Callable[[DataCenter, Any], QuerySet[Vm]]
    conveys_rights: bool = False  # its assignment widens what people of the data center may see


def _in(data_center: DataCenter, **where: Any) -> QuerySet[Vm]:
    return Vm.objects.filter(Q(**where), data_center=data_center).distinct().order_by("name", "uid")


SHAREABLE = {
    kind.name: kind
    for kind in (
        Shareable("cluster", Cluster, ClusterAssignment, "cluster", lambda dc, row: _in(dc, cluster=row)),
        Shareable(
            "storage_domain",
            StorageDomain,
            StorageAssignment,
            "storage_domain",
            lambda dc, row: _in(dc, disks__storage_domain=row),
        ),
        Shareable(
            "network",
            Network,
            NetworkAssignment,
            "network",
            lambda dc, row: _in(dc, nics__vnic_profile__network=row),
            conveys_rights=True,
        ),
        # A machine that was made from a template stays what it is without the right to make more.
        Shareable(
            "template",
            Template,
            TemplateAssignment,
            "template",
            lambda _dc, _row: Vm.objects.none(),
            conveys_rights=True,
        ),
    )
}
