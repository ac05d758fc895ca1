"""Volumes that were offered to departments: whether they still are, and are what was offered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from uuid import UUID

from django.utils.translation import gettext as _

from compute import rules
from compute.models import StorageDomain, Template, VolumeOffer
from portal.hypervisors.at_once import ask_at_once
from portal.hypervisors.connect import BoundedDriver, driver_for
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.specs import VolumeFound
from portal.jobs.operation import StepContext, StepFailed

HEAD_BYTES = 1024 * 1024


class UsersUnknown(Unavailable):
    """Not all hosts of a storage tell which machines have a volume. ``silent``: their rows of it, each with why."""

    def __init__(self, silent: Sequence[tuple[StorageDomain, HypervisorError]]) -> None:
        self.silent = tuple(silent)
        told = (f"{row.provider.name}: {row.name}: {error.detail or error.public}" for row, error in self.silent)
        super().__init__(detail="; ".join(told))


def head_of(domain: StorageDomain, name: str) -> str:
    """The checksum of a volume's first bytes, as it is known by."""
    head = driver_for(domain.provider).volume_head(domain.external_id, name, length=HEAD_BYTES)
    return hashlib.sha256(head).hexdigest()


def users_of(domain: StorageDomain, volume: VolumeFound) -> frozenset[str]:
    """The machines that have a volume, on and off, on every hypervisor that has or had the same storage; asked side by side.

    Raises ``UsersUnknown`` where one of them does not tell.
    """
    same = StorageDomain.objects.filter(shared_source=domain.shared_source).exclude(pk=domain.pk)
    others = list(same.select_related("provider").order_by("provider__name", "name")) if domain.shared_source else []
    answers = ask_at_once([(other.provider, _users_there(other.external_id, volume.external_id)) for other in others])
    users, silent = set(volume.users), []
    for other, answer in zip(others, answers, strict=True):
        if isinstance(answer, HypervisorError):
            silent.append((other, answer))
        else:
            users |= set(answer)
    if silent:
        raise UsersUnknown(silent)
    return frozenset(users)


def _users_there(storage_domain: str, name: str) -> Callable[[BoundedDriver], tuple[str, ...]]:
    return lambda driver: driver.volume_users(storage_domain, name)


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
