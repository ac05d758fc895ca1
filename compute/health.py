"""How the things that data centers stand on are: storage and how full it is, hosts that do not answer. Rows alone are read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from compute import selectors
from compute.models import Cluster, ClusterAssignment, Host, StorageAssignment, StorageDomain, Template
from portal.common.actor import Actor
from portal.common.errors import Reason
from portal.hypervisors.models import silent
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.selectors import where_to_ask

ALMOST_FULL = 80
FULL = 90
MOST_NAMED = 10


def authorize_storage(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever runs neither the hypervisors nor a data center."""
    if policy.holds_everywhere(actor, Permit.PROVIDER_VIEW) or policy.holds_anywhere(actor, Permit.DATA_CENTER_EDIT):
        return
    policy.authorize(actor, Permit.DATA_CENTER_EDIT, where_to_ask(actor) or policy.system())


def storage_of(actor: Actor) -> QuerySet[StorageDomain]:
    """The storage domains one may see, with the zones of their engines.

    Each has its assignments to data centers that one may see (``seen``).
    """
    centers = policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all())
    seen = StorageAssignment.objects.filter(data_center__in=centers).select_related("data_center")
    ordered = Prefetch("assignments", seen.order_by("data_center__name"), to_attr="seen")
    return selectors.storage_domains(actor).prefetch_related(ordered, "provider__zones")


def filled(rows: QuerySet[StorageDomain], *, least: int) -> int:
    """How many of them are used to this percentage or more."""
    return rows.filter(total_bytes__gt=0, used_bytes__gte=F("total_bytes") * least / 100).count()


def clusters_told(rows: QuerySet[Cluster]) -> QuerySet[Cluster]:
    """Clusters, each with whether a provider of hosts of it is silent (``is_stale``)."""
    return rows.annotate(is_stale=Exists(Host.objects.filter(silent(), cluster=OuterRef("pk"))))


# -- data centers that miss something


def _not_answering() -> Q:
    # One that was taken out of use on purpose has no machines that could be missed.
    return ~Q(status__in=["up", "maintenance"]) | silent()


def _is_elsewhere() -> Q:
    """Of assignments of storage: to a data center that has clusters, and none of them on the storage's provider."""
    clusters = ClusterAssignment.objects.filter(data_center=OuterRef("data_center"))
    near = Host.objects.filter(
        cluster__assignments__data_center=OuterRef("data_center"), provider=OuterRef("storage_domain__provider")
    )
    return Q(Exists(clusters)) & ~Q(Exists(near))


def stranded() -> QuerySet[Template]:
    """The templates of data centers' own that lie where these can use nothing now: not assigned to them, not active, or gone."""
    usable = StorageAssignment.objects.filter(
        data_center=OuterRef("owner"),
        storage_domain=OuterRef("storage_domain"),
        storage_domain__status="active",
        storage_domain__provider__enabled=True,
    )
    return Template.objects.filter(~Exists(usable), owner__isnull=False, provider=None, status="ok")


def why_stranded(template: Template, *, names_storage: bool) -> str:
    """Why no machine can be made from a template where it lies, and what would help; empty where one can.

    ``names_storage``: the reader may know where that is.
    """
    domain = template.storage_domain
    if template.is_engines or template.status != "ok":
        return ""
    if domain.status != "active" or not domain.provider.enabled:
        if not names_storage:
            return _("The storage that it lies in cannot be used now: no machine can be made from it until it can.")
        text = _(
            "It lies in the storage domain %(name)s, which cannot be used now: no machine can be made from it until it can."
        )
        return text % {"name": domain.name}
    if template.owner is None or domain.assignments.filter(data_center=template.owner_id).exists():
        return ""
    text = _(
        "It lies in storage that %(center)s may not use any more: no machine can be made from it. A super-admin can assign that "
        "storage again, or an administrator of the data center can make it anew elsewhere."
    )
    return text % {"center": template.owner.name}


def degradations(data_center: DataCenter) -> list[Reason]:
    """What a data center may use and cannot just now: hosts that do not answer, storage that is not active or elsewhere, and
    templates of its own that lie in such storage or in what was taken back.
    """
    hosts = Host.objects.filter(_not_answering(), cluster__assignments__data_center=data_center)
    domains = StorageDomain.objects.filter(assignments__data_center=data_center).exclude(status="active")
    found = []
    if names := _names(hosts):
        text = _("No answer from %(hosts)s. Its machines are shown as unknown until it is back; the others run on.")
        found.append(Reason("hosts_silent", text % {"hosts": ", ".join(names)}, data={"hosts": names}))
    if names := _names(domains):
        text = _("Storage that is not active: %(names)s. No machine can be made there until it is.")
        found.append(Reason("storage_inactive", text % {"names": ", ".join(names)}, data={"storage_domains": names}))
    elsewhere = StorageAssignment.objects.filter(_is_elsewhere(), data_center=data_center)
    if names := _names(StorageDomain.objects.filter(pk__in=elsewhere.values("storage_domain"))):
        text = _(
            "Storage of a provider on which the data center has no cluster: %(names)s. No machine of it can lie there. A "
            "super-admin can assign a cluster of that provider, or take the storage back."
        )
        found.append(Reason("storage_elsewhere", text % {"names": ", ".join(names)}, data={"storage_domains": names}))
    if names := _names(stranded().filter(owner=data_center)):
        text = _(
            "Templates of its own that lie in storage which it cannot use now: %(names)s. No machine can be made from them until "
            "that storage can be used, and is assigned to the data center by a super-admin; or make them anew elsewhere."
        )
        found.append(Reason("templates_stranded", text % {"names": ", ".join(names)}, data={"templates": names}))
    return found


def _names(rows: QuerySet[Any]) -> list[str]:
    return list(rows.order_by("name").values_list("name", flat=True).distinct()[:MOST_NAMED])


def degraded(data_centers: Collection[UUID]) -> set[UUID]:
    """Which of these data centers miss something, in three queries."""
    of_hosts = Host.objects.filter(_not_answering(), cluster__assignments__data_center__in=data_centers)
    of_storage = StorageAssignment.objects.filter(
        ~Q(storage_domain__status="active") | _is_elsewhere(), data_center__in=data_centers
    )
    uids = of_hosts.order_by().values_list("cluster__assignments__data_center", flat=True).distinct()
    more = of_storage.order_by().values_list("data_center", flat=True).distinct()
    owners = stranded().filter(owner__in=data_centers).order_by().values_list("owner", flat=True).distinct()
    return {*uids, *more, *owners} & set(data_centers)
