"""The hallway of volumes that are offered: a super-admin looks at one, and lets a data center make templates of it.

What lies in a storage domain may be any department's, so nobody else chooses among it. Departments read rows alone; their
hypervisor is asked by the job that copies (``operations.offered``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute import rules, selectors
from compute.models import StorageAssignment, StorageDomain, Template, VolumeOffer
from compute.operations.copies import TemplateOfVolume
from compute.operations.offered import UsersUnknown, head_of, users_of
from compute.services.template_copies import CopyRequest, get_offer, place_of, refuse_volume, size_reasons
from compute.services.template_rows import gate_of, start, subject_of, write
from portal.common.actor import Actor
from portal.common.errors import Conflict, NotFound, Reason
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.hypervisors import errors
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.specs import VolumeFound
from portal.jobs.models import Job
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.services.makers import give_to_maker

log = logging.getLogger(__name__)

MOST_NAMED = 5  # of the hosts that do not tell


@dataclass(frozen=True, slots=True)
class Looked:
    """A volume as its hypervisor tells of it, the checksum of its first bytes, and why it cannot be offered."""

    domain: StorageDomain
    volume: VolumeFound
    head_sha256: str
    reasons: tuple[Reason, ...]


def look(actor: Actor, storage_domain_uid: UUID, name: str) -> Looked:
    """Look at a volume that is to be offered. For super-admins.

    The hypervisors are asked, so it belongs into no transaction. Raises as ``get_offer``, and ``Conflict`` where one of
    them does not answer.
    """
    domain, found = get_offer(actor, storage_domain_uid, name)
    try:
        users, head = users_of(domain, found.volume), head_of(domain, name)
    except UsersUnknown as error:
        text = _(
            "Whether a machine has %(name)s cannot be told now. The same storage is, or was, on other hosts: %(hosts)s"
        )
        text %= {"name": name, "hosts": " ".join(_silent(error))}
        raise Conflict(text, reasons=(Reason(error.code, text, "name"),)) from error
    except HypervisorError as error:
        log.info("a volume is not looked at: %s", error.detail or error.public)
        text = _("%(name)s cannot be read now: %(why)s") % {"name": name, "why": _(error.public)}
        raise Conflict(text, reasons=(Reason(error.code, text, "name"),)) from error
    reasons = [*rules.offer_reasons(found.volume, users), *size_reasons(found.volume)]
    return Looked(domain, found.volume, head, tuple(reasons))


def _silent(unknown: UsersUnknown) -> Iterator[str]:
    """The hosts that do not tell, each with what would help."""
    for row, error in unknown.silent[:MOST_NAMED]:
        if isinstance(error, errors.NotFound):
            text = _("%(storage)s does not run on %(host)s: define and start it there, or remove the provider.")
        else:
            text = _("%(host)s does not tell (%(why)s): make it answer, or remove the provider if it is gone for good.")
        yield text % {"host": row.provider.name, "storage": row.name, "why": _(error.public).rstrip(".")}
    if more := len(unknown.silent[MOST_NAMED:]):
        yield ngettext("%(count)d more does not tell.", "%(count)d more do not tell.", more) % {"count": more}


def offer_volume(actor: Actor, looked: Looked, data_center_uid: UUID) -> VolumeOffer:
    """Let a data center make templates of a volume (``look``, before any transaction); again takes it as it is now.

    For super-admins. Raises ``Conflict`` for one that cannot be offered, and where the data center has not its storage domain.
    """
    with attempt(actor, "VOLUME_OFFER", Subject("data_center", data_center_uid)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        center = DataCenter.objects.filter(pk=data_center_uid).first()
        if center is None:
            text = _("There is no such data center.")
            raise NotFound(text, reasons=(Reason("data_center_not_found", text, "data_center"),))
        # Not in the department's log before it is offered: a refusal tells of others' machines, volumes and storage.
        trial.subject = Subject("data_center", center.pk, center.name)
        trial.data = {"storage_domain": str(looked.domain), "volume": looked.volume.external_id}
        if looked.reasons:
            raise Conflict(" ".join(reason.text for reason in looked.reasons), reasons=looked.reasons)
        assignment = _assignment(looked.domain, center)
        trial.subject = replace(trial.subject, data_center_uid=center.pk)
        facts: dict[str, Any] = {
            "format": looked.volume.format,
            "size_bytes": looked.volume.size_bytes,
            "allocated_bytes": looked.volume.allocated_bytes,
            "head_sha256": looked.head_sha256,
            "offerer": actor.user,
        }
        offer, _made = VolumeOffer.objects.update_or_create(
            assignment=assignment, name=looked.volume.external_id, defaults=facts
        )
    return offer


def _assignment(domain: StorageDomain, center: DataCenter) -> StorageAssignment:
    row = StorageAssignment.objects.filter(storage_domain=domain, data_center=center).first()
    if row is None:
        text = _("%(data_center)s may not use the storage domain %(name)s. Assign it first.")
        text %= {"data_center": center.name, "name": domain.name}
        raise Conflict(text, reasons=(Reason("storage_not_assigned", text, "data_center"),))
    return row


def withdraw_offer(actor: Actor, uid: UUID) -> VolumeOffer:
    """Offer it no longer: a copy that is under way fails, templates that were made stay. For super-admins."""
    with attempt(actor, "VOLUME_WITHDRAW", Subject("volume_offer", uid)) as trial:
        offer = get_volume_offer(actor, uid)
        center = offer.assignment.data_center
        trial.subject = Subject("data_center", center.pk, center.name, center.pk)
        trial.data = {"storage_domain": str(offer.assignment.storage_domain), "volume": offer.name}
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        VolumeOffer.objects.filter(pk=uid).delete()
    return offer


def volume_offers(actor: Actor) -> QuerySet[VolumeOffer]:
    """The volumes that are offered to data centers in which this actor makes templates, by name."""
    centers = policy.visible(actor, Permit.TEMPLATE_CREATE, DataCenter.objects.all())
    return _rows().filter(assignment__data_center__in=centers)


def known_offers(actor: Actor) -> QuerySet[VolumeOffer]:
    """The same, and all of them for whoever offers them, though he make no templates."""
    return _rows() if policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE) else volume_offers(actor)


def _rows() -> QuerySet[VolumeOffer]:
    rows = VolumeOffer.objects.select_related("assignment__data_center", "assignment__storage_domain__provider")
    return rows.order_by("name", "uid")


def get_volume_offer(actor: Actor, uid: UUID) -> VolumeOffer:
    """One that he knows of. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    offer = known_offers(actor).filter(pk=uid).first()
    if offer is None:
        text = _("There is no such volume, or it is not offered to a data center of yours.")
        raise NotFound(text, reasons=(Reason("volume_not_found", text, "volume_offer"),))
    return offer


def template_of_offer(actor: Actor, uid: UUID, request: CopyRequest) -> tuple[Template, Job]:
    """Make a template of an offered volume, for the data center that it is offered to: the job makes sure that it still is.

    Raises as ``make_template`` does.
    """
    with attempt(actor, "TEMPLATE_CREATE", Subject("template", None, request.traits.name)) as trial:
        offer = get_volume_offer(actor, uid)
        domain, center = offer.assignment.storage_domain, offer.assignment.data_center
        owner, target, before = place_of(actor, request, domain.provider)
        if owner != center:
            text = _("The volume is offered to %(name)s alone: a template of it belongs there.") % {"name": center.name}
            raise Conflict(text, reasons=(Reason("other_data_center", text, "data_center"),))
        refuse_volume(request, target, offer.allocated_bytes)
        size = max(1, rules.gib_of(offer.size_bytes))
        template = write(request.traits, owner, target, disk_gib=size, before=before, is_sealed=False)
        give_to_maker(actor, template)
        trial.subject = subject_of(template)
        trial.data = {"storage_domain": domain.external_id, "volume": offer.name, "offer": str(offer.pk)}
        job = start(actor, TemplateOfVolume, template, gate_of(Permit.TEMPLATE_CREATE, owner), params=dict(trial.data))
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return template, job


def why_none(actor: Actor) -> str:
    """Why whoever makes templates finds no volume that was offered, and what would help."""
    if policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE):
        return _(
            "No volume is offered to a data center. The list of a storage domain's volumes offers them, and copies them."
        )
    centers = policy.visible(actor, Permit.TEMPLATE_CREATE, DataCenter.objects.all())
    near = StorageDomain.objects.filter(assignments__data_center__in=centers)
    if near.exists() and not near.exclude(pk__in=near.filter(provider__capabilities__disk_copy=False)).exists():
        return _("The storage of your data center is an engine's: templates are made there, and assigned here.")
    return _(
        "No volume on your data center's storage domains is offered to it. Ask a super-admin: the list of a storage domain's "
        "volumes offers them."
    )


def offered_in(actor: Actor, domain: StorageDomain) -> dict[str, list[VolumeOffer]]:
    """To whom the volumes of a storage domain are offered, by the volume's name."""
    found: dict[str, list[VolumeOffer]] = {}
    rows = known_offers(actor).filter(assignment__storage_domain=domain)
    for offer in rows.order_by("assignment__data_center__name"):
        found.setdefault(offer.name, []).append(offer)
    return found


def could_have(actor: Actor, domain: StorageDomain) -> QuerySet[DataCenter]:
    """The data centers to which volumes of a storage domain can be offered."""
    return selectors.data_centers(actor).filter(storage_assignments__storage_domain=domain)
