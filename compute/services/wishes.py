"""What is asked for when a machine is made: its names become rows that the actor may use, or reasons why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

from compute import rules, selectors
from compute.models import StorageDomain, Template, Vm
from network.models import VnicProfile
from network.selectors import usable_vnic_profiles
from portal.common.actor import Actor
from portal.common.errors import NotFound, Reason
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
        raise NotFound(_("There is no such template, or you may not use it in this data center."))
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
    """Of networks on the template's own provider: the machine will be there."""
    usable = usable_vnic_profiles(actor, data_center).filter(network__provider=template.storage_domain.provider_id)
    if uids is None:
        return tuple(usable[:1])
    found = {profile.pk: profile for profile in usable.filter(pk__in=uids)}
    if len(found) != len(set(uids)):
        raise NotFound(_("There is no such vNIC profile, or you may not use it in this data center."))
    return tuple(found[uid] for uid in uids)


def rule_reasons(wish: Wish) -> list[Reason]:
    """Why names, sizes or first-boot data cannot be as they were asked for."""
    request = wish.request
    found = rules.name_reasons(request.name) + rules.text_reasons(request.description)
    found += rules.size_reasons(rules.Sizes(wish.memory_mib, wish.vcpus, wish.template.memory_min_mib))
    hostname = request.hostname or rules.default_hostname(request.name)
    return found + rules.initial_run_reasons(hostname, request.user_name, request.ssh_authorized_keys)


def name_reasons(wish: Wish) -> list[Reason]:
    """Whether another machine of the data center has the name."""
    there = Vm.objects.filter(data_center=wish.data_center, name=wish.request.name).exists()
    return [name_taken()] if there else []


def _storage(wish: Wish) -> StorageDomain | None:
    """The template's own storage domain: a linked clone lives beside its base."""
    return selectors.usable_storage(wish.data_center).filter(pk=wish.template.storage_domain_id).first()


def place_reasons(wish: Wish) -> list[Reason]:
    """Why its disk has no place."""
    domain = _storage(wish)
    if domain is None:
        return [
            Reason(
                "no_storage",
                _("The data center has no active storage domain that holds this template. Ask its administrator."),
                "template",
            )
        ]
    if domain.total_bytes and domain.free_bytes < domain.total_bytes * FREE_SHARE:
        return [
            Reason(
                "storage_full",
                _("The storage domain is full. Ask the administrator to free or add space."),
                "template",
                {"free_bytes": domain.free_bytes, "total_bytes": domain.total_bytes},
            )
        ]
    return []


def name_taken() -> Reason:
    """The refusal of a name that another machine of the data center has."""
    return Reason(
        "name_taken", _("A machine of this name is already in this data center. Choose another name."), "name"
    )
