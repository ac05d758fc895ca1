"""The hallway of clusters of the portal's own: hosts of several providers among which machines may move."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from compute import selectors
from compute.cluster_rules import Leaving, Problem, cluster_problems, leaving_reasons
from compute.models import Cluster, ClusterAssignment, Host, Vm
from compute.services.placement import rooms_of, rooms_of_clusters
from compute.sync.clusters import facts_of, own_cluster
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, PreconditionFailed, Reason
from portal.common.versions import version_of
from portal.events.record import Subject, attempt
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Portal
from portal.hypervisors.registry import driver_class
from tenants import policy, quota
from tenants.permits import Permit

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MOST_HOSTS = 200
OVERCOMMIT = range(100, 401)


@dataclass(frozen=True, slots=True)
class ClusterEdit:
    """What is to be changed; None stays as it is. ``version`` of the row that was looked at; empty: whatever it is now."""

    name: str | None = None
    hosts: Collection[UUID] | None = None
    memory_overcommit_percent: int | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What would come of it: why it cannot be, what would not work, and whose machines could then run on all its hosts."""

    reasons: tuple[Reason, ...]
    problems: tuple[Problem, ...]
    data_centers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterMemory:
    """Of all its hosts: what there is, what may be given of it, and what running machines were given."""

    physical_mib: int
    effective_mib: int
    running_mib: int


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster as it is now. ``problems`` None: they are not for this actor to see."""

    cluster: Cluster
    hosts: tuple[Host, ...]
    memory: ClusterMemory
    problems: tuple[Problem, ...] | None

    @property
    def is_stale(self) -> bool:
        """Whether a provider of its hosts is silent."""
        return any(host.is_silent for host in self.hosts)


def look_at_cluster(actor: Actor, uid: UUID) -> ClusterView:
    """A cluster with its hosts, and (for those who see all providers) what does not work among them."""
    row = selectors.get_cluster(actor, uid)
    hosts = tuple(selectors.hosts(actor).filter(cluster=row).order_by("name", "uid"))
    rooms = (rooms_of_clusters([row]) if row.is_engines else rooms_of(hosts)).values()
    memory = ClusterMemory(
        sum(room.physical_mib for room in rooms),
        sum(room.effective_mib for room in rooms),
        sum(room.running_mib for room in rooms),
    )
    sees_all = policy.holds_everywhere(actor, Permit.PROVIDER_VIEW)
    # What fits together in an engine's cluster, the engine sees to.
    problems = () if row.is_engines else tuple(cluster_problems(facts_of(hosts)))
    return ClusterView(row, hosts, memory, problems if sees_all else None)


def authorize_list(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may not see all of them."""
    policy.authorize(actor, Permit.PROVIDER_VIEW, policy.system())


def authorize_clusters(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may not make clusters."""
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())


def free_hosts(cluster: Cluster | None = None) -> QuerySet[Host]:
    """The hosts that a cluster may have: those that no engine groups, and that are not in another of the portal's."""
    kinds = [kind for kind in _kinds() if not driver_class(kind).has_clusters]
    rows = Host.objects.filter(provider__kind__in=kinds).select_related("provider", "cluster")
    alone = rows.filter(cluster__provider__isnull=False)
    return (alone | rows.filter(cluster=cluster) if cluster else alone).order_by("name", "uid")


def _kinds() -> list[str]:
    return list(Host.objects.order_by().values_list("provider__kind", flat=True).distinct())


def plan_cluster(actor: Actor, edit: ClusterEdit, uid: UUID | None = None) -> ClusterPlan:
    """The dry run of making (without ``uid``) or changing one: everything checked, nothing written."""
    row = selectors.get_cluster(actor, uid) if uid else None
    authorize_clusters(actor)
    reasons = _input_reasons(edit, row) + _taken_reasons(edit, row)
    if row is not None and row.is_engines:
        reasons.append(_engines_reason(row))
    wanted = _wanted(edit, row) if not any(reason.field == "hosts" for reason in reasons) else []
    problems = cluster_problems(facts_of(wanted))
    refusals = [problem.reason("hosts") for problem in problems if problem.is_refusal]
    leaving = leaving_reasons(_leaving(row, wanted)) if row and edit.hosts is not None else []
    gaining = _assignments(row, wanted).values_list("data_center__name", flat=True).order_by("data_center__name")
    warnings = tuple(problem for problem in problems if not problem.is_refusal)
    return ClusterPlan((*reasons, *refusals, *leaving), warnings, tuple(dict.fromkeys(gaining)))


def create_cluster(actor: Actor, edit: ClusterEdit) -> Cluster:
    """Make a cluster of these hosts; their machines, and the data centers that used a host alone, come along.

    Raises ``Invalid`` for a bad name, no hosts, or hosts of different architectures; ``Conflict`` for a taken name.
    """
    edit = replace(edit, name=edit.name or "", hosts=edit.hosts or ())
    with attempt(actor, "CLUSTER_CREATE", Subject("cluster", None, str(edit.name)[:64])) as trial:
        authorize_clusters(actor)
        _one_at_a_time()
        _refuse(edit, None)
        row = Cluster.objects.create(name=str(edit.name), **_overcommit(edit))
        trial.subject = Subject("cluster", row.pk, row.name)
        trial.data = {"hosts": _join(row, _wanted(edit, None))}
        _note_problems(row)
    return row


def edit_cluster(actor: Actor, uid: UUID, edit: ClusterEdit) -> Cluster:
    """Rename it, or give it other hosts. ``Conflict`` lists the machines on hosts that were to leave."""
    with attempt(actor, "CLUSTER_EDIT", Subject("cluster", uid)) as trial:
        row = selectors.get_cluster(actor, uid)
        trial.subject = Subject("cluster", uid, row.name)
        authorize_clusters(actor)
        _one_at_a_time()
        _hold_users([row.pk])
        if edit.hosts is not None or row.is_engines:
            _refuse_engines(row)
        row.refresh_from_db()
        if edit.version and edit.version != cluster_version(row):
            raise PreconditionFailed(_("Somebody else changed this cluster meanwhile. Look at it again."))
        _refuse(edit, row)
        row.name = row.name if edit.name is None else edit.name
        row.memory_overcommit_percent = edit.memory_overcommit_percent or row.memory_overcommit_percent
        row.save(update_fields=["name", "memory_overcommit_percent"])
        if edit.hosts is not None:
            wanted = _wanted(edit, row)
            _leave(row, but=wanted)
            trial.data = {"hosts": _join(row, wanted)}
            _note_problems(row)
    return row


def remove_cluster(actor: Actor, uid: UUID) -> None:
    """Dissolve it; its hosts stand alone again. ``Conflict`` lists the machines and data centers that depend on it."""
    with attempt(actor, "CLUSTER_REMOVE", Subject("cluster", uid)) as trial:
        row = selectors.get_cluster(actor, uid)
        trial.subject = Subject("cluster", uid, row.name)
        authorize_clusters(actor)
        _one_at_a_time()
        _hold_users([row.pk])
        _refuse_engines(row)
        if reasons := selectors.cluster_depends(row):
            text = _("%(name)s is in use. Remove what depends on it first.") % {"name": row.name}
            raise Conflict(text, reasons=tuple(reasons))
        _leave(row, but=())
        row.delete()


def cluster_version(row: Cluster) -> str:
    """The version of what can be edited."""
    hosts = sorted(str(uid) for uid in row.hosts.values_list("pk", flat=True))
    return version_of(row.name, row.memory_overcommit_percent, ",".join(hosts))


def _overcommit(edit: ClusterEdit) -> dict[str, Any]:
    wanted = edit.memory_overcommit_percent
    return {} if wanted is None else {"memory_overcommit_percent": wanted}


# -- what refuses


def _one_at_a_time() -> None:
    """Held until the transaction ends: a host that two clusters take at once is in one of them."""
    Portal.objects.select_for_update().get(uid=portal_id())


def _refuse(edit: ClusterEdit, row: Cluster | None) -> None:
    if reasons := _input_reasons(edit, row):
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
    if reasons := _taken_reasons(edit, row):
        raise Conflict(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
    if edit.hosts is None:
        return
    wanted = _wanted(edit, row)
    if reasons := [one.reason("hosts") for one in cluster_problems(facts_of(wanted)) if one.is_refusal]:
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
    if row and (reasons := leaving_reasons(_leaving(row, wanted))):
        raise Conflict(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))


def _refuse_engines(row: Cluster) -> None:
    if row.is_engines:
        reason = _engines_reason(row)
        raise Conflict(reason.text, reasons=(reason,))
    if row.provider_id is not None:
        text = _("%(name)s is the cluster of one provider alone. Make one of the hosts of several instead.")
        raise Conflict(text % {"name": row.name}, reasons=(Reason("cluster_of_provider", text % {"name": row.name}),))


def _engines_reason(row: Cluster) -> Reason:
    text = _("%(name)s is a cluster of its engine's. Change it there; what is changed is seen here soon.")
    return Reason("cluster_of_engine", text % {"name": row.name})


def _input_reasons(edit: ClusterEdit, row: Cluster | None) -> list[Reason]:
    found = []
    if edit.name is not None and not NAME.fullmatch(edit.name):
        text = _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'.")
        found.append(Reason("name_invalid", text, "name"))
    if edit.memory_overcommit_percent is not None and edit.memory_overcommit_percent not in OVERCOMMIT:
        figures = {"least": OVERCOMMIT.start, "most": OVERCOMMIT.stop - 1}
        text = _("Memory overcommit is between %(least)d and %(most)d percent.") % figures
        found.append(Reason("overcommit_invalid", text, "memory_overcommit_percent", figures))
    if edit.hosts is not None and not edit.hosts:
        found.append(Reason("hosts_missing", _("Choose at least one host."), "hosts"))
    if edit.hosts is not None and len(edit.hosts) > MOST_HOSTS:
        text = _("A cluster has at most %(most)d hosts.") % {"most": MOST_HOSTS}
        found.append(Reason("too_many_hosts", text, "hosts", {"limit": MOST_HOSTS}))
    elif edit.hosts and len(_wanted(edit, row)) != len(set(edit.hosts)):
        text = _("There is no such host, or it is in another cluster. Take it out of that one first.")
        found.append(Reason("host_unfit", text, "hosts"))
    return found


def _taken_reasons(edit: ClusterEdit, row: Cluster | None) -> list[Reason]:
    others = Cluster.objects.exclude(pk=row.pk) if row else Cluster.objects.all()
    if edit.name is None or not others.filter(name__iexact=edit.name).exists():
        return []
    text = _("A cluster of this name is already there. Choose another name.")
    return [Reason("name_taken", text, "name")]


def _wanted(edit: ClusterEdit, row: Cluster | None) -> list[Host]:
    if edit.hosts is None:
        return list(row.hosts.select_related("provider")) if row else []
    return list(free_hosts(row).filter(pk__in=list(edit.hosts)))


def _leaving(row: Cluster | None, wanted: Iterable[Host]) -> list[Leaving]:
    if row is None:
        return []
    found = []
    for host in row.hosts.exclude(pk__in=[one.pk for one in wanted]).order_by("name"):
        machines = selectors.machines_on(host)
        names = tuple(machines.order_by("name").values_list("name", flat=True)[: selectors.MOST_NAMED])
        found.append(Leaving(host.name, names, machines.count()))
    return found


# -- what changes


def _assignments(row: Cluster | None, wanted: Iterable[Host]) -> QuerySet[ClusterAssignment]:
    """Of the clusters that the new hosts leave empty: who used a host alone uses the cluster it is in now."""
    clusters = {host.cluster_id for host in wanted if row is None or host.cluster_id != row.pk}
    return ClusterAssignment.objects.filter(cluster__in=clusters, cluster__provider__isnull=False)


def _join(row: Cluster, wanted: Iterable[Host]) -> list[str]:
    """The names of those that are new in it."""
    new = [host for host in wanted if host.cluster_id != row.pk]
    _hold_users([row.pk, *(host.cluster_id for host in new)])
    for assignment in _assignments(row, new):
        ClusterAssignment.objects.get_or_create(cluster=row, data_center_id=assignment.data_center_id)
        assignment.delete()  # else whoever is denied this cluster later would come back by the host's own
    for host in new:
        Vm.objects.filter(provider=host.provider_id, cluster=host.cluster_id).update(cluster=row)
        Host.objects.filter(pk=host.pk).update(cluster=row)
    return [host.name for host in new]


def _hold_users(clusters: Iterable[UUID]) -> None:
    """No machine is being placed on these clusters until the transaction ends."""
    using = ClusterAssignment.objects.filter(cluster__in=list(clusters))
    quota.hold(using.values_list("data_center_id", flat=True))


def _note_problems(row: Cluster) -> None:
    """What whoever made it was told already is no news to the next compare."""
    row.problems = sorted(problem.code for problem in cluster_problems(facts_of(row.hosts.all())))
    row.save(update_fields=["problems"])


def _leave(row: Cluster, *, but: Iterable[Host]) -> None:
    for host in row.hosts.exclude(pk__in=[one.pk for one in but]).select_related("provider"):
        Host.objects.filter(pk=host.pk).update(cluster=own_cluster(host.provider))
