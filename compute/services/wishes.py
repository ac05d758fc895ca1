"""What is asked for when a machine is made: its names become rows that the actor may use, or reasons why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from compute import rules, selectors
from compute.models import StorageDomain, Template, Vm
from network.models import Network, VnicProfile
from network.selectors import usable_vnic_profiles
from portal.common.actor import Actor
from portal.common.errors import NotFound, Reason
from portal.hypervisors.known import capabilities_of
from tenants import policy
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tenants.policy import Permit

FREE_SHARE = 0.05  # a storage domain keeps this share free


@dataclass(frozen=True, slots=True)
class VmRequest:
    """What is asked for; sizes None are the template's."""

    name: str
    data_center_uid: UUID
    template_uid: UUID
    memory_mib: int | None = None
    vcpus: int | None = None
    user_name: str = ""
    hostname: str = ""
    ssh_authorized_keys: tuple[str, ...] = ()
    description: str = ""
    vnic_profile_uids: tuple[UUID, ...] | None = None
    run: bool = True
    clone: bool = False  # whole copies of the template's disks, where its engine can make such


@dataclass(frozen=True, slots=True)
class Wish:
    """A request whose names have become rows that the actor may use."""

    request: VmRequest
    data_center: DataCenter
    template: Template
    memory_mib: int
    vcpus: int
    profiles: tuple[VnicProfile, ...]

    def amounts(self) -> dict[Dimension, int]:
        """What the machine costs from its definition on; its disk is charged by itself."""
        return {
            Dimension.MACHINES: 1,
            Dimension.VCPUS_DEFINED: self.vcpus,
            Dimension.MEMORY_DEFINED_MIB: self.memory_mib,
        }

    def running(self) -> dict[Dimension, int]:
        """What it costs while it runs; nothing where it is only to be made."""
        return (
            {Dimension.VCPUS_RUNNING: self.vcpus, Dimension.MEMORY_RUNNING_MIB: self.memory_mib}
            if self.request.run
            else {}
        )


@policy.one_look()
def resolved(actor: Actor, request: VmRequest) -> Wish:
    """The request with its rows. Raises ``NotFound`` for what the actor may not see, ``NotPermitted`` for what he may not use."""
    data_center = (
        policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all())
        .filter(pk=request.data_center_uid)
        .first()
    )
    if data_center is None:
        raise NotFound(_("There is no such data center, or you may not see it."))
    policy.authorize(actor, Permit.VM_CREATE, data_center)
    policy.authorize(actor, Permit.QUOTA_CONSUME, data_center)
    template = selectors.usable_templates(actor, data_center).filter(pk=request.template_uid).first()
    if template is None:
        text = _("There is no such template, or you may not use it in this data center.")
        raise NotFound(text, reasons=(Reason("template_unknown", text, "template"),))
    return Wish(
        request,
        data_center,
        template,
        template.memory_mib if request.memory_mib is None else request.memory_mib,
        template.vcpus if request.vcpus is None else request.vcpus,
        _profiles(actor, data_center, template, request.vnic_profile_uids),
    )


def _profiles(
    actor: Actor, data_center: DataCenter, template: Template, uids: tuple[UUID, ...] | None
) -> tuple[VnicProfile, ...]:
    """Those that were chosen, or the first that is offered; if there is none, the first: why not is told of that one."""
    usable = _usable(actor, data_center, template)
    if uids is None:
        return tuple(_reached(usable, data_center, template)[:1] or usable[:1])
    found = {profile.pk: profile for profile in usable.filter(pk__in=uids)}
    if len(found) != len(set(uids)):
        raise _no_profile()
    return tuple(found[uid] for uid in uids)


def _no_profile() -> NotFound:
    text = _("There is no such vNIC profile, or you may not use it in this data center.")
    return NotFound(text, reasons=(Reason("vnic_profile_unknown", text, "nics"),))


def refuse_taken_back(wish: Wish) -> None:
    """``NotFound`` where a network was taken from the data center since the wish was looked at. The data center is held."""
    wanted = {profile.network_id for profile in wish.profiles}
    own = Q(owner=wish.data_center) | Q(pk__in=wish.data_center.network_assignments.values("network"))
    if wanted and Network.objects.filter(own, pk__in=wanted).count() < len(wanted):
        raise _no_profile()


def offered_profiles(actor: Actor, data_center: DataCenter, template: Template) -> list[VnicProfile]:
    """The vNIC profiles on which the cards of a machine of this template can be there; the first is where one is by itself."""
    return _reached(_usable(actor, data_center, template), data_center, template)


def _usable(actor: Actor, data_center: DataCenter, template: Template) -> QuerySet[VnicProfile]:
    """Of networks on the template's own provider, and in its zone: the machine will be there."""
    domain = template.storage_domain
    usable = usable_vnic_profiles(actor, data_center).filter(network__provider=domain.provider_id)
    return usable.filter(network__zone__in=domain.zones) if template.is_engines else usable


def _reached(usable: QuerySet[VnicProfile], data_center: DataCenter, template: Template) -> list[VnicProfile]:
    """Of an engine's those whose network is attached to a cluster of the data center."""
    if not template.is_engines:
        return list(usable)
    mine = set(data_center.cluster_assignments.values_list("cluster__external_id", flat=True))
    return [row for row in usable if any(row.network.is_in(cluster) for cluster in mine)]


def rule_reasons(wish: Wish) -> list[Reason]:
    """Why names, sizes or first-boot data cannot be as they were asked for."""
    request = wish.request
    found = rules.name_reasons(request.name) + rules.text_reasons(request.description)
    found += rules.size_reasons(rules.Sizes(wish.memory_mib, wish.vcpus, wish.template.memory_min_mib))
    found += _clone_reasons(wish)
    hostname = request.hostname or rules.default_hostname(request.name)
    return found + rules.initial_run_reasons(hostname, request.user_name, request.ssh_authorized_keys)


def _clone_reasons(wish: Wish) -> list[Reason]:
    if not wish.request.clone or can_clone(wish.template):
        return []
    text = _("Whole copies of this template's disks cannot be made. Leave that out: the machine's disk lies over them.")
    return [Reason("clone_unsupported", text, "clone")]


def can_clone(template: Template) -> bool:
    """Whether a machine's disks can be whole copies of this template's, by what its provider told."""
    return template.is_engines and capabilities_of(template.storage_domain.provider).full_clone


def name_reasons(wish: Wish) -> list[Reason]:
    """Whether another machine of the data center has the name."""
    there = Vm.objects.filter(data_center=wish.data_center, name=wish.request.name).exists()
    return [name_taken()] if there else []


@dataclass(frozen=True, slots=True)
class NewDisk:
    """A disk that the machine gets, and where it lies. ``source``: the disk of an engine's template that it comes from."""

    name: str
    size_gib: int
    domain: StorageDomain
    bootable: bool = True
    source: str = ""


@dataclass(frozen=True, slots=True)
class Laid:
    """The disks of a machine, each in its storage domain, or the reasons why one has no place."""

    disks: tuple[NewDisk, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def zones(self) -> set[str]:
        """The engine's zones, by external id, that have all of them."""
        return set.intersection(*(set(disk.domain.zones) for disk in self.disks)) if self.disks else set()


def lay_disks(wish: Wish) -> Laid:
    """Where its disks lie: beside the template's, for a linked clone lies beside its base. In one query."""
    template = wish.template
    provider = template.storage_domain.provider_id
    usable = {row.external_id: row for row in selectors.usable_storage(wish.data_center).filter(provider=provider)}
    own = template.storage_domain.external_id
    if not template.is_engines:
        wanted = [("disk1", template.disk_gib, True, "", [own])]
    else:
        wanted = [_wanted(number, disk, own) for number, disk in enumerate(template.disks, start=1)]
    disks: list[NewDisk] = []
    for name, size, bootable, source, places in wanted:
        fitting = [usable[key] for key in places if key in usable]
        if not fitting:  # of a disabled provider the look for a place tells
            return Laid(reasons=(_no_storage(),) if template.storage_domain.provider.enabled else ())
        zones = Laid(tuple(disks)).zones
        domain = next((one for one in fitting if zones & set(one.zones)), fitting[0])
        disks.append(NewDisk(name, size, domain, bootable, source))
    full = {disk.domain.pk: disk.domain for disk in disks if _is_full(disk.domain)}
    return Laid(tuple(disks), tuple(_full(domain) for domain in full.values()))


def _wanted(number: int, disk: dict[str, Any], first: str) -> tuple[str, int, bool, str, list[str]]:
    places = sorted(disk["storage_domains"], key=lambda key: key != first)
    return f"disk{number}", max(1, rules.gib_of(disk["size_bytes"])), disk["bootable"], disk["id"], places


def _no_storage() -> Reason:
    text = _("The data center has no active storage domain that holds this template. Ask its administrator.")
    return Reason("no_storage", text, "template")


def _is_full(domain: StorageDomain) -> bool:
    return bool(domain.total_bytes) and domain.free_bytes < domain.total_bytes * FREE_SHARE


def _full(domain: StorageDomain) -> Reason:
    text = _("The storage domain is full. Ask the administrator to free or add space.")
    figures = {"free_bytes": domain.free_bytes, "total_bytes": domain.total_bytes}
    return Reason("storage_full", text, "template", figures)


def name_taken() -> Reason:
    """The refusal of a name that another machine of the data center has."""
    return Reason(
        "name_taken", _("A machine of this name is already in this data center. Choose another name."), "name"
    )
