"""Where a machine runs: a host of the data center's clusters that reaches its disk, answers, and has the memory.

An engine chooses the host itself: there a cluster is chosen, by the memory of all its hosts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute.choices import RUNNING
from compute.models import Cluster, FoundVm, Host, Vm
from compute.rules import HostRoom, memory_reasons
from compute.services.wishes import Laid, Wish
from portal.common.actor import Actor
from portal.common.errors import Reason
from portal.hypervisors.models import Provider, ProviderStatus
from tenants import policy
from tenants.permits import Permit

SILENT = (ProviderStatus.UNREACHABLE, ProviderStatus.DENIED)


@dataclass(frozen=True, slots=True)
class Place:
    """What was chosen, or the reasons why there is none. ``host`` None with a cluster: its engine chooses."""

    cluster: Cluster | None = None
    host: Host | None = None
    reasons: tuple[Reason, ...] = ()


def place_for(actor: Actor, wish: Wish, laid: Laid) -> Place:
    """The host (or the engine's cluster) with the most free memory of those that reach the disks.

    Silent hosts, disabled providers and full hosts are passed over. Reasons name hosts to those who may see providers.
    """
    template = wish.template
    provider = template.storage_domain.provider_id
    if not template.storage_domain.provider.enabled:
        return Place(reasons=(_out_of_use(actor, template.storage_domain.provider),))
    if template.is_engines and laid.disks and not laid.zones:
        return Place(reasons=(_apart(wish),))
    reached = Host.objects.filter(provider_id=provider, cluster__assignments__data_center=wish.data_center)
    if template.is_engines:
        reached = reached.filter(cluster__zone__external_id__in=laid.zones or template.storage_domain.zones)
    hosts = list(reached.select_related("cluster", "provider").order_by("-memory_free_mib", "name"))
    if not hosts:
        text = _("The data center has no cluster that reaches this template's storage. Ask its administrator.")
        return Place(reasons=(Reason("no_cluster", text, "template"),))
    hosts, cut_off = _with_networks(wish, hosts)
    if cut_off:
        return Place(reasons=(cut_off,))
    answering = [host for host in hosts if is_answering(host)]
    if not answering:
        return Place(reasons=(_silent(actor, hosts),))
    wanted = wish.memory_mib if wish.request.run else 0
    return (_cluster_with_room if template.is_engines else _with_room)(actor, answering, wanted)


def _apart(wish: Wish) -> Reason:
    text = _(
        "The disks of the template %(name)s lie in storage domains of different zones, and no cluster reaches them all. "
        "Ask the data center's administrator for storage domains of one zone that have all of them."
    )
    return Reason("disks_apart", text % {"name": wish.template.name}, "template")


def _with_networks(wish: Wish, hosts: list[Host]) -> tuple[list[Host], Reason | None]:
    """The hosts of the clusters that have all networks of the wish, or which of these stand in the way.

    An engine attaches networks to its clusters one by one.
    """
    wired = {profile.network for profile in wish.profiles}
    left = [host for host in hosts if all(network.is_in(host.cluster.external_id) for network in wired)]
    if left:
        return left, None
    nowhere = [row for row in wired if not any(row.is_in(host.cluster.external_id) for host in hosts)]
    names = sorted(row.name for row in nowhere or wired)
    text = ngettext(
        "None of the data center's clusters that reach this template has the network %(names)s. Choose another network, or ask "
        "the administrator to attach it to such a cluster in the engine.",
        "None of the data center's clusters that reach this template has all of the networks %(names)s. Choose others, or ask "
        "the administrator to attach them to one such cluster in the engine.",
        len(names),
    )
    return [], Reason("network_not_in_cluster", text % {"names": ", ".join(names)}, "nics", {"networks": names})


def is_answering(host: Host) -> bool:
    """Whether a machine can be made there now, as it was last seen."""
    return host.status == "up" and host.provider.enabled and host.provider.status not in SILENT


def _may_know_hosts(actor: Actor) -> bool:
    return policy.holds_everywhere(actor, Permit.PROVIDER_VIEW)


def _out_of_use(actor: Actor, provider: Provider) -> Reason:
    """Waiting does not help, unlike with one that is silent."""
    if not _may_know_hosts(actor):
        text = _(
            "The hypervisor that holds this template's disk was taken out of use by a super-admin. Choose a template elsewhere."
        )
        return Reason("provider_disabled", text, "template")
    text = _(
        "The provider %(name)s, which holds this template's disk, is disabled. Enable it, or choose a template elsewhere."
    )
    return Reason("provider_disabled", text % {"name": provider.name}, "template", {"provider": str(provider.pk)})


def _silent(actor: Actor, hosts: list[Host]) -> Reason:
    if not _may_know_hosts(actor):
        text = _(
            "No hypervisor that holds this template's disk answers now. Try again when it is back, "
            "or choose a template on another storage domain."
        )
        return Reason("no_host_up", text, "template")
    text = _(
        "No hypervisor that holds this template's disk answers now (%(hosts)s). Try again when it is back, "
        "or choose a template on another storage domain."
    )
    names = ", ".join(host.name for host in hosts)
    return Reason("no_host_up", text % {"hosts": names}, "template", {"hosts": [host.name for host in hosts]})


def _with_room(actor: Actor, hosts: list[Host], memory_mib: int) -> Place:
    """``memory_mib`` 0: it is not to run, and any will do."""
    if not memory_mib:
        return Place(hosts[0].cluster, hosts[0])
    rooms = rooms_of(hosts)
    for host in hosts:
        if not rooms[host.pk].physical_mib or rooms[host.pk].free_mib >= memory_mib:
            return Place(host.cluster, host)
    best = max((rooms[host.pk] for host in hosts), key=lambda room: room.free_mib)
    return Place(reasons=tuple(_memory_reasons(actor, best, memory_mib)))


def _cluster_with_room(actor: Actor, hosts: list[Host], memory_mib: int) -> Place:
    clusters = {host.cluster_id: host.cluster for host in hosts}
    if len(clusters) == 1 and not memory_mib:
        return Place(hosts[0].cluster)
    rooms = rooms_of_clusters(clusters.values())
    best = max(rooms, key=lambda uid: rooms[uid].free_mib)
    if not memory_mib or not rooms[best].physical_mib or rooms[best].free_mib >= memory_mib:
        return Place(clusters[best])
    return Place(reasons=tuple(_memory_reasons(actor, rooms[best], memory_mib)))


def _memory_reasons(actor: Actor, room: HostRoom, memory_mib: int) -> list[Reason]:
    return memory_reasons(room if _may_know_hosts(actor) else replace(room, host=""), memory_mib)


def rooms_of(hosts: Iterable[Host]) -> dict[UUID, HostRoom]:
    """The memory of each host, in two queries: what it has, what may be promised of it, and what machines have there."""
    rows = list(hosts)
    providers = {host.provider_id for host in rows}
    ours = _running(Vm.objects.filter(provider__in=providers))
    others = _running(FoundVm.objects.filter(provider__in=providers))
    return {
        host.pk: HostRoom(
            host.name,
            physical_mib=host.memory_mib,
            overcommit_percent=host.cluster.memory_overcommit_percent,
            running_mib=ours.get(host.provider_id, 0) + others.get(host.provider_id, 0),
        )
        for host in rows
    }


def rooms_of_clusters(clusters: Iterable[Cluster]) -> dict[UUID, HostRoom]:
    """The same of an engine's clusters, in three queries: of each the sum of its hosts that are up."""
    rows = list(clusters)
    of_them = {"cluster__in": [row.pk for row in rows]}
    hosts = Host.objects.filter(status="up", **of_them).order_by().values_list("cluster")
    there = dict(hosts.annotate(total=Sum("memory_mib")))
    ours = _running(Vm.objects.filter(**of_them), by="cluster")
    others = _running(FoundVm.objects.filter(**of_them), by="cluster")
    return {
        row.pk: HostRoom(
            row.name,
            physical_mib=there.get(row.pk, 0),
            overcommit_percent=row.memory_overcommit_percent,
            running_mib=ours.get(row.pk, 0) + others.get(row.pk, 0),
        )
        for row in rows
    }


def _running(rows: QuerySet[Vm] | QuerySet[FoundVm], *, by: str = "provider") -> dict[UUID, int]:
    """Those that are unknown run, perhaps."""
    of_those = rows.filter(status__in=RUNNING | {"creating"}).order_by()
    return dict(of_those.values_list(by).annotate(total=Sum("memory_mib")))


def run_reasons(actor: Actor, vm: Vm) -> list[Reason]:
    """Why a machine that is off has no room on its host now, or in its engine's cluster."""
    if vm.cluster.is_engines:
        return _memory_reasons(actor, rooms_of_clusters([vm.cluster])[vm.cluster_id], vm.memory_mib)
    hosts = Host.objects.filter(provider=vm.provider_id).select_related("cluster", "provider")
    host = (hosts.filter(pk=vm.host_id).first() if vm.host_id else None) or hosts.first()
    return _memory_reasons(actor, rooms_of([host])[host.pk], vm.memory_mib) if host else []
