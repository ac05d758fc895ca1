"""Volumes that were offered to departments: whether they still are, and are what was offered."""

from __future__ import annotations

import hashlib
from uuid import UUID

from django.utils.translation import gettext as _

from compute import rules
from compute.models import StorageDomain, Template, VolumeOffer
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import VolumeFound
from portal.jobs.operation import StepContext, StepFailed

HEAD_BYTES = 1024 * 1024


def head_of(domain: StorageDomain, name: str) -> str:
    """The checksum of a volume's first bytes, as it is known by."""
    head = driver_for(domain.provider).volume_head(domain.external_id, name, length=HEAD_BYTES)
    return hashlib.sha256(head).hexdigest()


def users_of(domain: StorageDomain, volume: VolumeFound) -> frozenset[str]:
    """The machines that have a volume, on and off, on every hypervisor that has the same storage.

    Raises ``HypervisorError`` where one of them does not answer: then it is not known.
    """
    users = set(volume.users)
    if domain.shared_source:
        same = StorageDomain.objects.filter(shared_source=domain.shared_source).exclude(pk=domain.pk)
        for other in same.select_related("provider"):
            found = driver_for(other.provider).volumes(other.external_id)
            users |= {name for row in found if row.external_id == volume.external_id for name in row.users}
    return frozenset(users)


def refuse_otherwise(ctx: StepContext, template: Template, found: VolumeFound) -> None:
    """A job of a department's copies what was offered to it and nothing else; looked at before and after the copy."""
    if "offer" not in ctx.params:
        return
    rows = VolumeOffer.objects.select_related("assignment__storage_domain__provider")
    offer = rows.filter(pk=UUID(ctx.params["offer"]), assignment__data_center=template.owner_id).first()
    if offer is None:
        raise StepFailed(_("The volume is not offered any more. Ask a super-admin."), code="offer_gone")
    domain = offer.assignment.storage_domain
    if reasons := rules.offer_reasons(found, users_of(domain, found)):
        # Whoever may see the job may not know the machines that have the volume.
        text = _("The volume cannot be copied as it is now. The list of volumes says why, to super-admins.")
        raise StepFailed(text, code=reasons[0].code, detail=" ".join(reason.text for reason in reasons))
    facts = (found.format, found.size_bytes, head_of(domain, found.external_id))
    if facts != (offer.format, offer.size_bytes, offer.head_sha256):
        text = _("The volume is not what was offered. Ask a super-admin to look at it, and to offer it again.")
        raise StepFailed(text, code="offer_changed")
