"""The hallway of templates that are copied on their hypervisor: from a machine of ours, or from a volume that lies there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from compute import rules, sealing, selectors
from compute.diagnosis import FOUND
from compute.models import StorageDomain, Template, Vm
from compute.operations.copies import TemplateOfMachine, TemplateOfVolume
from compute.operations.sealed_copies import SealedTemplateOfMachine
from compute.services.template_rows import (
    TemplateTraits,
    gate_of,
    owner_of,
    refuse,
    start,
    storage_of,
    subject_of,
    version_before,
    write,
)
from compute.services.vms import refuse_moved
from portal.common.actor import Actor
from portal.common.errors import Conflict, NotFound, Reason
from portal.common.units import bytes_text
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import VolumeFound
from portal.jobs.models import Job
from portal.jobs.start import Lock
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.services.makers import give_to_maker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """A template to copy. ``data_center_uid`` None: the institute's.

    ``seal``: identity, keys and logs are taken out, of machines alone; else ``accept_unsealed``: that they come along.
    """

    traits: TemplateTraits
    storage_domain_uid: UUID
    data_center_uid: UUID | None = None
    next_version: bool = False
    accept_unsealed: bool = False
    seal: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A volume, and why it cannot be copied."""

    volume: VolumeFound
    reasons: tuple[Reason, ...]


def template_of_machine(actor: Actor, vm_uid: UUID, request: CopyRequest) -> tuple[Template, Job]:
    """Make a template of a machine's disk: the row now, the copy by the job; nothing starts or deletes it meanwhile.

    Raises ``Conflict`` for a machine that is not off or was adopted, and as ``make_template`` does.
    """
    with attempt(actor, "TEMPLATE_CREATE", Subject("template", None, request.traits.name)) as trial:
        vm = get_machine(actor, vm_uid)
        owner, domain, before = place_of(actor, request, vm.provider)
        _refuse([*why_not(vm), *_other_center_reasons(vm, owner), *_seal_reasons(request)])
        disk = vm.disks.first()
        size = disk.size_gib if disk is not None else 1
        template = write(request.traits, owner, domain, disk_gib=size, before=before, is_sealed=False)
        give_to_maker(actor, template)
        trial.subject = subject_of(template)
        locks = (Lock("vm", vm.pk, exclusive=False),)
        gate = gate_of(Permit.TEMPLATE_CREATE, owner)
        operation = SealedTemplateOfMachine if request.seal else TemplateOfMachine
        job = start(actor, operation, template, gate, locks=locks, params={"vm": str(vm.pk)})
        refuse_moved(vm)
        trial.data = {"vm": str(vm.pk), "seal": request.seal}
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return template, job


def _other_center_reasons(vm: Vm, owner: DataCenter | None) -> list[Reason]:
    """What is in a machine stays in its department, whoever was given rights on it; the institute's admins decide beyond."""
    if owner is None or owner.pk == vm.data_center_id:
        return []
    text = _("A template of this machine belongs to its own data center, %(name)s.") % {"name": vm.data_center.name}
    return [Reason("other_data_center", text, "data_center")]


def get_machine(actor: Actor, vm_uid: UUID) -> Vm:
    """A machine of which this actor may read the disk: he may change it. ``NotFound``, ``NotPermitted``."""
    vm = selectors.get_vm(actor, vm_uid)
    policy.authorize(actor, Permit.VM_EDIT, vm)
    return vm


def why_not(vm: Vm) -> list[Reason]:
    """Why no template can be made of a machine as it was last seen."""
    if vm.adopted:
        text = _(
            "This machine was adopted: its disks are not the portal's. Super-admins can copy its volume, or let go of it: Give back."
        )
        return [Reason("adopted", text)]
    if not capabilities_of(vm.provider).disk_copy:
        text = _("The hypervisor of this machine copies no disks for the portal. Make the template there.")
        return [Reason("copy_unsupported", text)]
    if vm.status != "down":
        text = _("The machine is %(status)s. Shut it down first.") % {"status": vm.get_status_display()}
        return [Reason("not_down", text, data={"status": vm.status})]
    return []


def offers(actor: Actor, storage_domain_uid: UUID) -> tuple[StorageDomain, list[Offer]]:
    """The volumes in a storage domain that are nobody's disks here. For super-admins: they may be any department's.

    The hypervisor is asked, so it belongs into no transaction. Raises ``Conflict`` when it does not answer.
    """
    domain = _copied_from(actor, storage_domain_uid)
    with _listing(domain):
        found = driver_for(domain.provider).volumes(domain.external_id)
    return domain, [_offer(row) for row in found if row.uid is None]


def _copied_from(actor: Actor, uid: UUID) -> StorageDomain:
    """A storage domain of which volumes can be copied. Raises ``Conflict``."""
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    domain = StorageDomain.objects.select_related("provider").filter(pk=uid).first()
    if domain is None:
        raise NotFound(_("There is no such storage domain."))
    if not capabilities_of(domain.provider).disk_copy:
        text = _("%(name)s copies no disks for the portal. Make the template there.") % {"name": domain.provider.name}
        raise Conflict(text, reasons=(Reason("copy_unsupported", text),))
    if domain.type in capabilities_of(domain.provider).unread_storage:
        text = _(
            "%(name)s is of the type %(type)s, whose volumes the hypervisor does not read: none can be copied. %(remedy)s"
        )
        remedy = _("Copy what is wanted into another storage domain there.")
        text %= {"name": domain.name, "type": domain.type, "remedy": remedy}
        raise Conflict(text, reasons=(Reason("copy_unsupported", text),))
    return domain


@contextmanager
def _listing(domain: StorageDomain) -> Iterator[None]:
    """Raise ``Conflict`` where its hypervisor does not tell."""
    try:
        yield
    except HypervisorError as error:
        log.info("volumes are not listed: %s", error.detail or error.public)
        text = _("The volumes of %(name)s cannot be listed now: %(why)s") % {
            "name": domain.name,
            "why": _(error.public),
        }
        raise Conflict(text, reasons=(Reason(error.code, text),)) from error


def _offer(volume: VolumeFound) -> Offer:
    return Offer(volume, (*rules.volume_reasons(volume), *size_reasons(volume)))


def size_reasons(volume: VolumeFound) -> list[Reason]:
    """Why a disk of the size that the volume says cannot be copied: whoever wrote into it says what he likes of that."""
    most = settings.IMAGE_MOST_VIRTUAL_BYTES
    if volume.size_bytes <= most:
        return []
    text = _("The disk in it has %(size)s; at most %(most)s can be copied. Make it smaller first.") % {
        "size": bytes_text(volume.size_bytes),
        "most": bytes_text(most),
    }
    data = {"size_bytes": volume.size_bytes, "most_bytes": most}
    return [Reason("volume_too_large", text, data=data)]


def get_offer(actor: Actor, storage_domain_uid: UUID, name: str) -> tuple[StorageDomain, Offer]:
    """One of them. Raises ``NotFound`` for one that is not there or bears a disk of ours."""
    domain = _copied_from(actor, storage_domain_uid)
    with _listing(domain):
        found = driver_for(domain.provider).find_volume(domain.external_id, name)
    if found is None or found.uid is not None:
        text = _("There is no such volume.")
        raise NotFound(text, reasons=(Reason("volume_not_found", text, "volume"),))
    return domain, _offer(found)


def template_of_volume(actor: Actor, domain: StorageDomain, offer: Offer, request: CopyRequest) -> tuple[Template, Job]:
    """Make a template of a volume (``get_offer``, before any transaction): looked at by the job before it is copied.

    Adopted machines that have it are neither started nor let go of meanwhile. For super-admins. Raises ``Conflict`` for one that cannot be copied, and as ``make_template`` does.
    """
    with attempt(actor, "TEMPLATE_CREATE", Subject("template", None, request.traits.name)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        owner, target, before = place_of(actor, request, domain.provider)
        refuse_volume(request, target, offer.volume.allocated_bytes, reasons=offer.reasons)
        size = rules.gib_of(offer.volume.size_bytes)
        template = write(request.traits, owner, target, disk_gib=max(1, size), before=before, is_sealed=False)
        give_to_maker(actor, template)
        trial.subject = subject_of(template)
        gate = gate_of(Permit.PROVIDER_MANAGE, None)
        params = {"storage_domain": domain.external_id, "volume": offer.volume.external_id}
        locks = tuple(_locks_of(domain.provider, offer.volume))
        job = start(actor, TemplateOfVolume, template, gate, locks=locks, params=params)
        trial.data = params
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return template, job


def _locks_of(provider: Provider, volume: VolumeFound) -> Iterator[Lock]:
    machines = Vm.objects.filter(provider=provider, external_id__in=volume.user_ids)
    return (Lock("vm", uid, exclusive=False) for uid in machines.values_list("pk", flat=True))


def place_of(
    actor: Actor, request: CopyRequest, provider: Provider
) -> tuple[DataCenter | None, StorageDomain, Template | None]:
    """Whose it is to be, where it lies, and the version before; the wish itself is held against the rules."""
    owner = owner_of(actor, request.data_center_uid)
    domain = storage_of(owner, request.storage_domain_uid, ability="disk_copy")
    refuse([*rules.template_reasons(**asdict(request.traits)), *_unsealed_reasons(request)])
    if domain.provider_id != provider.pk:
        text = _("The copy is made where its source is, and %(name)s is elsewhere. Choose another storage domain.")
        text %= {"name": domain.name}
        raise Conflict(text, reasons=(Reason("other_provider", text, "storage_domain"),))
    return owner, domain, version_before(actor, owner, request)


def cannot_seal() -> str:
    """Why copies of machines cannot be sealed here, for whoever would like to; empty where they can."""
    found = sealing.lacking()
    return str(FOUND[found][0]) if found else ""


def _seal_reasons(request: CopyRequest) -> list[Reason]:
    if not request.seal or not (why := cannot_seal()):
        return []
    text = _("%(why)s Make it without sealing, or ask a super-admin.") % {"why": why}
    return [Reason("sealing_unavailable", text, "seal")]


def refuse_volume(
    request: CopyRequest, target: StorageDomain, size_bytes: int, *, reasons: tuple[Reason, ...] = ()
) -> None:
    """What is asked of every copy of a volume: ``Invalid`` for one to be sealed, ``Conflict`` without room or with a reason."""
    refuse(_volume_reasons(request))
    _refuse([*reasons, *_room_reasons(target, size_bytes)])


def _volume_reasons(request: CopyRequest) -> list[Reason]:
    text = _("Copies of volumes are not sealed: make a machine from it, and a sealed template of that machine.")
    return [Reason("volume_not_sealed", text, "seal")] if request.seal else []


def _unsealed_reasons(request: CopyRequest) -> list[Reason]:
    if request.accept_unsealed or request.seal:
        return []
    text = _("The copy is not sealed: the machine's identity, keys and logs are in it. Say that you accept that.")
    return [Reason("not_sealed", text, "accept_unsealed")]


def _room_reasons(domain: StorageDomain, size_bytes: int) -> list[Reason]:
    if not domain.total_bytes or domain.free_bytes >= size_bytes:
        return []
    text = _("The storage domain has %(free)s left, and the volume has %(size)s. Choose another, or free some.") % {
        "free": bytes_text(domain.free_bytes),
        "size": bytes_text(size_bytes),
    }
    data = {"free_bytes": domain.free_bytes, "size_bytes": size_bytes}
    return [Reason("storage_full", text, "storage_domain", data)]


def _refuse(reasons: list[Reason]) -> None:
    if reasons:
        raise Conflict(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
