"""The hallway of sharing out: what of the institute's a data center may use, and what hangs on that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.translation import gettext as _

from compute.selectors import depend
from compute.shareables import SHAREABLE, Shareable, why_not_shared
from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import Conflict, NotFound, Reason
from portal.events.record import Subject, attempt
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.selectors import get_data_center


def uid_in(text: str) -> UUID:
    """The uid that a form posted. ``NotFound`` for anything else, as for one that is not there."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(_("There is no such object, or you may not see it.")) from error


def assign(actor: Actor, data_center_uid: UUID, kind: str, uid: UUID) -> None:
    """Let a data center use a cluster, storage domain, network or template of the institute's; again is nothing new.

    For super-admins. Raises ``NotFound`` for what is not there, ``Conflict`` for what is not shared out.
    """
    share = SHAREABLE[kind]
    with _attempt(actor, "RESOURCE_ASSIGN", data_center_uid, share, uid) as (data_center, row):
        if why := why_not_shared(row):
            raise Conflict(why.text, reasons=(why,))
        wanted: dict[str, Any] = {share.field: row, "data_center": data_center}
        share.assignment._default_manager.get_or_create(**wanted)


def unassign(actor: Actor, data_center_uid: UUID, kind: str, uid: UUID) -> None:
    """Take it back; not assigned is done. ``Conflict`` with what of the data center's needs it, kind by kind."""
    share = SHAREABLE[kind]
    with _attempt(actor, "RESOURCE_UNASSIGN", data_center_uid, share, uid) as (data_center, row):
        _refuse_in_use(data_center, share, row)
        share.assignment._default_manager.filter(**{share.field: row, "data_center": data_center}).delete()


@dataclass(frozen=True, slots=True)
class TakingBack:
    """A thing that a data center may use, and why it cannot be taken back: what needs it, kind by kind."""

    data_center: DataCenter
    thing: Model
    reasons: list[Reason]


def taking_back(actor: Actor, data_center_uid: UUID, kind: str, uid: UUID) -> TakingBack:
    """What is asked before it is taken back; refused to whoever may not, as ``unassign`` is."""
    share = SHAREABLE[kind]
    data_center = _known_center(actor, data_center_uid)
    row = _row(share, uid)
    return TakingBack(data_center, row, depend(share.needed_by(data_center, row)))


@contextmanager
def _attempt(
    actor: Actor, verb: str, data_center_uid: UUID, share: Shareable, uid: UUID
) -> Iterator[tuple[DataCenter, Model]]:
    """One recorded attempt at an assignment; afterwards those learn of it who see more or less by it."""
    with attempt(actor, verb, Subject("data_center", data_center_uid)) as trial:
        data_center = _center(actor, data_center_uid)
        row = _row(share, uid)
        # That another department has something of this name is not in this one's log.
        is_shared = getattr(row, "owner", None) is None
        trial.subject = Subject("data_center", data_center.pk, data_center.name, data_center.pk if is_shared else None)
        trial.data = {"kind": share.name, "id": str(uid), "name": str(row)}
        yield data_center, row
        if share.conveys_rights:
            access_changed(policy.people_of(data_center))


def _refuse_in_use(data_center: DataCenter, share: Shareable, row: Model) -> None:
    reasons = depend(share.needed_by(data_center, row))
    if not reasons:
        return
    text = _("%(data_center)s needs %(name)s. %(what)s. Delete, give back or move these first.") % {
        "data_center": data_center.name,
        "name": row,
        "what": "; ".join(reason.text for reason in reasons),
    }
    raise Conflict(text, reasons=tuple(reasons))


def _center(actor: Actor, uid: UUID) -> DataCenter:
    row = _known_center(actor, uid)
    # Held until the end, so that no machine is placed on what is being taken away.
    return DataCenter.objects.select_for_update(no_key=True).get(pk=row.pk)


def _known_center(actor: Actor, uid: UUID) -> DataCenter:
    row = get_data_center(actor, uid)
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    return row


def _row(share: Shareable, uid: UUID) -> Model:
    row: Model | None = share.model._default_manager.filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such object, or you may not see it."))
    return row
