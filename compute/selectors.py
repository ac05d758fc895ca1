"""Reading machines and what they are made from, always through the policy. No hypervisor is asked here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute.models import Cluster, Disk, Host, InstanceType, StorageDomain, Template, Vm, Zone
from compute.resources import first_of
from compute.versions import latest
from network.models import FoundNetwork, Network
from portal.common.actor import Actor
from portal.common.errors import NotFound, Reason
from portal.events.models import Event
from portal.hypervisors.models import Provider
from portal.jobs.models import Job, JobLock
from portal.jobs.states import RUNNABLE, JobStatus
from tenants import policy
from tenants.models import DataCenter
from tenants.policy import Permit
from tenants.selectors import jobs

MOST_NAMED = 10


def vms(actor: Actor) -> QuerySet[Vm]:
    """The machines this actor may see, by name."""
    related = Vm.objects.select_related("data_center", "owner", "template", "host", "cluster", "provider")
    return policy.visible(actor, Permit.VM_VIEW, related).order_by("name", "uid")


def my_vms(actor: Actor) -> QuerySet[Vm]:
    """The machines this actor may see."""
    return vms(actor)


def get_vm(actor: Actor, uid: UUID) -> Vm:
    """One machine. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    vm = vms(actor).filter(pk=uid).first()
    if vm is None:
        raise NotFound(_("There is no such machine, or you may not see it."))
    return vm


def last_job_of(actor: Actor, uid: UUID) -> Job | None:
    """The newest job about a machine that this actor may see, also when the machine itself is gone."""
    return jobs(actor).filter(target_uid=uid).first()


def visible_templates(actor: Actor) -> QuerySet[Template]:
    """The templates this actor may see, with a token that may only read too, as far as they can be used now."""
    related = Template.objects.select_related("owner", "storage_domain__provider")
    return policy.visible(actor, Permit.TEMPLATE_VIEW, related).filter(status="ok")


def all_templates(actor: Actor) -> QuerySet[Template]:
    """The templates this actor may see; those that are being made, or broken, only where he may change them."""
    related = Template.objects.select_related("owner", "storage_domain__provider", "provider")
    own = policy.visible(actor, Permit.TEMPLATE_EDIT, Template.objects.all()).values("pk")
    seen = policy.visible(actor, Permit.TEMPLATE_VIEW, related)
    return seen.filter(Q(status="ok") | Q(pk__in=own)).order_by("name", "-version", "uid")


def get_template(actor: Actor, uid: UUID) -> Template:
    """One of them. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    template = all_templates(actor).filter(pk=uid).first()
    if template is None:
        raise NotFound(_("There is no such template, or you may not see it."))
    return template


def storage_for_templates(owner: DataCenter | None, *, ability: str = "disk_upload") -> QuerySet[StorageDomain]:
    """Where the disk of a template of this data center, or of the institute's, can lie.

    ``ability``: what the provider must be capable of to bring it there; one that was not read yet is taken for capable.
    """
    told = Q(**{f"provider__capabilities__{ability}": True}) | Q(**{f"provider__capabilities__{ability}__isnull": True})
    return _storage_of(owner).filter(told)


def storage_without(owner: DataCenter | None, *, ability: str = "disk_upload") -> QuerySet[StorageDomain]:
    """Those that it may use, and whose provider cannot do that."""
    return _storage_of(owner).filter(**{f"provider__capabilities__{ability}": False})


def _storage_of(owner: DataCenter | None) -> QuerySet[StorageDomain]:
    rows = usable_storage(owner).distinct() if owner is not None else data_domains()
    return rows.select_related("provider").order_by("name", "uid")


def usable_templates(actor: Actor, data_center: DataCenter | None = None) -> QuerySet[Template]:
    """Templates that can be used now, for a data center when one is named."""
    related = Template.objects.select_related("owner", "storage_domain__provider")
    ready = related.filter(status="ok").order_by("name", "uid")
    if data_center is None:
        return policy.visible(actor, Permit.TEMPLATE_USE, ready)
    assigned = data_center.template_assignments.values("template")
    there = ready.filter(Q(owner=data_center) | Q(pk__in=assigned))
    if policy.holds_in(actor, Permit.TEMPLATE_USE, data_center):
        return there
    return policy.visible(actor, Permit.TEMPLATE_USE, there)


def offered_templates(actor: Actor) -> QuerySet[Template]:
    """What the form for a new machine offers: the latest versions of what this actor may use."""
    return latest(usable_templates(actor), within=usable_data_centers(actor))


def usable_data_centers(actor: Actor) -> QuerySet[DataCenter]:
    """The data centers in which this actor may make machines."""
    return policy.visible(actor, Permit.VM_CREATE, DataCenter.objects.filter(enabled=True)).order_by("name")


def usable_storage(data_center: DataCenter) -> QuerySet[StorageDomain]:
    """The active data domains assigned to a data center."""
    return data_domains().filter(assignments__data_center=data_center)


def data_domains() -> QuerySet[StorageDomain]:
    """The storage domains in which disks can be made now: active, and good for disks."""
    return StorageDomain.objects.filter(status="active", provider__enabled=True, holds_disks=True)


def open_job(vm_uid: UUID) -> Job | None:
    """The job that is at work on a machine, or is stuck with it; one that copies it into a template too."""
    on_it = Q(target_uid=vm_uid) | Q(pk__in=JobLock.objects.filter(kind="vm", uid=vm_uid).values("job"))
    return Job.objects.filter(on_it, status__in=[*RUNNABLE, JobStatus.STUCK]).order_by("-created_at").first()


def open_jobs_of(vm_uids: Sequence[UUID]) -> dict[UUID, Job]:
    """For each of these machines the newest job that is at work on it, or stuck with it, with its steps."""
    rows = Job.objects.filter(target_uid__in=vm_uids, status__in=[*RUNNABLE, JobStatus.STUCK])
    return {job.target_uid: job for job in rows.prefetch_related("steps").order_by("created_at")}


def events_of(actor: Actor, vm: Vm, permits: frozenset[Permit]) -> QuerySet[Event]:
    """What happened to a machine, newest first, for those who may read that; where it was before, in short (``told_in``).

    Not what people tried who may not even see it: it would tell their names, and whoever knows the uid could push out
    everything else. Their attempts bear no data center.
    """
    if Permit.EVENT_VIEW not in permits:
        return Event.objects.none()
    rows = Event.objects.filter(object_kind="vm", object_uid=vm.pk, data_center_uid__isnull=False)
    places = DataCenter.objects.filter(pk__in=rows.order_by().values("data_center_uid"))
    told = policy.visible(actor, Permit.EVENT_VIEW, places).values_list("pk", flat=True)
    return rows.told_in([vm.data_center_id, *told]).order_by("-at", "-uid")


def jobs_of(actor: Actor, vm: Vm, permits: frozenset[Permit]) -> QuerySet[Job]:
    """The jobs on a machine, newest first: all of them for whoever may see its jobs, his own for everybody else."""
    if Permit.JOB_VIEW in permits:
        return Job.objects.filter(target_uid=vm.pk).prefetch_related("steps").order_by("-created_at", "-uid")
    return jobs(actor).filter(target_uid=vm.pk)


def permits_of(actor: Actor, vm: Vm) -> frozenset[Permit]:
    """What this actor may do with a machine, whatever its status."""
    return policy.permits_on(actor, [vm])[vm.pk]


def permits_on_center(actor: Actor, row: DataCenter) -> frozenset[Permit]:
    """What this actor may do with a data center."""
    return policy.permits_on(actor, [row])[row.pk]


@dataclass(frozen=True, slots=True)
class DataCenterRights:
    """What an actor may do to data centers: make and share out all of them, change the one in question, give roles on it."""

    make: bool
    edit: bool = False
    grant: bool = False


def data_centers(actor: Actor, *, after: str = "") -> QuerySet[DataCenter]:
    """The data centers this actor may see, with the number of their machines; those whose names come after one."""
    rows = policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.annotate(machines=Count("vms")))
    return rows.filter(name__gt=after).order_by("name") if after else rows.order_by("name")


def rights_over_data_centers(actor: Actor, row: DataCenter | None = None) -> DataCenterRights:
    """For the buttons; the services decide again."""
    make = policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE)
    permits = permits_on_center(actor, row) if row is not None else frozenset()
    return DataCenterRights(make, Permit.DATA_CENTER_EDIT in permits, Permit.GRANT in permits)


def own_networks(data_center: DataCenter) -> QuerySet[Network]:
    """The networks that a data center owns, by name."""
    return Network.objects.filter(owner=data_center).select_related("provider").order_by("name", "uid")


# -- providers and what they have


def providers(actor: Actor) -> QuerySet[Provider]:
    """The providers, for those who may see them all, with the number of our machines on each and of its hosts."""
    if not policy.holds_everywhere(actor, Permit.PROVIDER_VIEW):
        return Provider.objects.none()
    machines, hosts = (
        Coalesce(Subquery(_counted(model.objects.filter(provider=OuterRef("pk")), "provider")), 0)
        for model in (Vm, Host)
    )
    return Provider.objects.annotate(machines=machines, host_count=hosts).order_by("name", "uid")


def _counted(rows: QuerySet[Any], by: str) -> QuerySet[Any]:
    counted: QuerySet[Any] = rows.order_by().values(by).annotate(count=Count("pk")).values("count")
    return counted


def get_provider(actor: Actor, uid: UUID) -> Provider:
    """One provider. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    row = providers(actor).filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such provider, or you may not see it."))
    return row


def found_networks(actor: Actor, provider_uid: UUID) -> QuerySet[FoundNetwork]:
    """The networks on a provider, anybody's, and its host's own bridges, by name. Raises ``NotFound`` as ``get_provider``."""
    return FoundNetwork.objects.filter(provider=get_provider(actor, provider_uid)).select_related("provider")


@dataclass(frozen=True, slots=True)
class OfEngine:
    """What only an engine has. ``more_templates``: how many are not among those."""

    zones: tuple[Zone, ...]
    clusters: tuple[Cluster, ...]
    templates: tuple[Template, ...]
    more_templates: int
    instance_types: tuple[InstanceType, ...]


def of_engine(provider: Provider) -> OfEngine | None:
    """What was found on a provider if it is an engine, at most 200 templates of it; for who may see the provider."""
    zones = tuple(provider.zones.order_by("name", "uid"))
    if not zones:
        return None
    templates = provider.templates.select_related("storage_domain").order_by("name", "-version", "uid")
    rows = provider.clusters.exclude(external_id="").select_related("zone").annotate(host_count=Count("hosts"))
    shown, more = first_of(templates)
    clusters = tuple(rows.order_by("zone__name", "name", "uid"))
    return OfEngine(zones, clusters, shown, more, tuple(provider.instance_types.order_by("name", "uid")))


def clusters(actor: Actor) -> QuerySet[Cluster]:
    """The clusters this actor may see: all of them, or those assigned to data centers of his."""
    return _assigned(actor, Cluster.objects.select_related("provider", "zone"), "assignments")


def clusters_with_hosts(actor: Actor) -> QuerySet[Cluster]:
    """The clusters that have hosts, each with their number and memory (``host_count``, ``physical_mib``)."""
    counted = Count("hosts"), Coalesce(Sum("hosts__memory_mib"), 0)
    return clusters(actor).annotate(host_count=counted[0], physical_mib=counted[1]).filter(host_count__gt=0)


def get_cluster(actor: Actor, uid: UUID) -> Cluster:
    """One cluster. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    row = clusters(actor).filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such cluster, or you may not see it."))
    return row


def machines_on(host: Host) -> QuerySet[Vm]:
    """The machines on a host; of those whose host is not known, the ones on its provider."""
    return Vm.objects.filter(Q(host=host) | Q(host=None, provider=host.provider_id))


def cluster_depends(cluster: Cluster) -> list[Reason]:
    """What would be left hanging without a cluster, kind by kind, with the first names."""
    of_it: dict[str, QuerySet[Any]] = {
        "machines": Vm.objects.filter(cluster=cluster),
        "data_centers": DataCenter.objects.filter(cluster_assignments__cluster=cluster).distinct(),
    }
    return depend(of_it)


def hosts(actor: Actor) -> QuerySet[Host]:
    """The hosts this actor may see, as their clusters."""
    return _assigned(actor, Host.objects.select_related("provider", "cluster"), "cluster__assignments")


def storage_domains(actor: Actor) -> QuerySet[StorageDomain]:
    """The storage domains this actor may see, each with what is promised on it (``promised_gib``, of our disks)."""
    disks = Disk.objects.filter(storage_domain=OuterRef("pk")).order_by().values("storage_domain")
    promised = Coalesce(Subquery(disks.annotate(total=Sum("size_gib")).values("total")), 0)
    rows = StorageDomain.objects.select_related("provider").annotate(promised_gib=promised)
    return _assigned(actor, rows, "assignments")


def _assigned(actor: Actor, rows: QuerySet[Any], assignments: str) -> QuerySet[Any]:
    if policy.holds_everywhere(actor, Permit.PROVIDER_VIEW):
        return rows
    centers = policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all())
    through = rows.model._default_manager.filter(**{f"{assignments}__data_center__in": centers}).values("pk")
    return rows.filter(pk__in=through)


def depends_on(provider: Provider) -> list[Reason]:
    """What would be left hanging without a provider, kind by kind, with the first names."""
    of_it = {"provider": provider}
    names: dict[str, QuerySet[Any]] = {
        "machines": Vm.objects.filter(**of_it),
        # What was found there goes with it; what was made here does not.
        "templates": Template.objects.filter(storage_domain__provider=provider, provider=None),
        "networks": Network.objects.filter(**of_it, is_found=False),
        "data_centers": (
            DataCenter.objects.filter(cluster_assignments__cluster__provider=provider)
            | DataCenter.objects.filter(cluster_assignments__cluster__hosts__provider=provider)
            | DataCenter.objects.filter(storage_assignments__storage_domain__provider=provider)
            | DataCenter.objects.filter(template_assignments__template__provider=provider)
            | DataCenter.objects.filter(network_assignments__network__in=Network.objects.filter(**of_it, is_found=True))
        ).distinct(),
    }
    return depend(names)


def depend(found: dict[str, QuerySet[Any]]) -> list[Reason]:
    """What depends on something, by kind ("machines", "templates", "networks", "data_centers"), as reasons with names."""
    return [_dependents(kind, rows) for kind, rows in found.items() if rows.exists()]


def _dependents(kind: str, rows: QuerySet[Any]) -> Reason:
    count = rows.count()
    sentences = {
        "machines": ngettext("%(count)d machine: %(names)s", "%(count)d machines: %(names)s", count),
        "templates": ngettext("%(count)d template: %(names)s", "%(count)d templates: %(names)s", count),
        "networks": ngettext("%(count)d network: %(names)s", "%(count)d networks: %(names)s", count),
        "data_centers": ngettext(
            "Assigned to %(count)d data center: %(names)s", "Assigned to %(count)d data centers: %(names)s", count
        ),
    }
    first = dict(rows.order_by("name").values_list("pk", "name")[:MOST_NAMED])
    names = list(first.values())
    shown = ", ".join(names) + (" …" if count > len(names) else "")
    data = {"count": count, "names": names, "ids": [str(uid) for uid in first]}
    return Reason(kind, sentences[kind] % {"count": count, "names": shown}, data=data)
