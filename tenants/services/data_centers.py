"""The hallway of data centers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, PreconditionFailed, Reason
from portal.common.versions import version_of
from portal.events.record import Subject, attempt
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.selectors import get_data_center

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LONGEST_DESCRIPTION = 2000


@dataclass(frozen=True, slots=True)
class DataCenterEdit:
    """What is to be changed; None stays as it is. ``version`` of the row that was looked at, empty: whatever it is now."""

    name: str | None = None
    description: str | None = None
    version: str = ""


def authorize_creation(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may not make data centers."""
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())


def authorize_edit(actor: Actor, uid: UUID) -> DataCenter:
    """The data center, for whoever may change it. Raises ``NotFound`` or ``NotPermitted``."""
    row = get_data_center(actor, uid)
    policy.authorize(actor, Permit.DATA_CENTER_EDIT, row)
    return row


def create_data_center(actor: Actor, *, name: str, description: str = "") -> DataCenter:
    """Make a data center. For super-admins. ``Invalid`` and ``Conflict`` name the field."""
    with attempt(actor, "DATA_CENTER_CREATE", Subject("data_center", None, name)) as trial:
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        refuse_unfit(name, description)
        row = DataCenter.objects.create(name=name, description=description)
        trial.subject = _subject(row)
    return row


def edit_data_center(actor: Actor, uid: UUID, edit: DataCenterEdit) -> DataCenter:
    """Change name (super-admins) or description (its admins too). ``PreconditionFailed`` when it is another version now."""
    with attempt(actor, "DATA_CENTER_EDIT", Subject("data_center", uid)) as trial:
        row = get_data_center(actor, uid)
        trial.subject = _subject(row)
        policy.authorize(actor, Permit.DATA_CENTER_EDIT, row)
        row = DataCenter.objects.select_for_update(no_key=True).get(pk=uid)
        if edit.version and edit.version != data_center_version(row):
            raise PreconditionFailed(_("Somebody else changed this data center meanwhile. Look at it again."))
        name = row.name if edit.name is None else edit.name
        if name != row.name:
            policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        description = row.description if edit.description is None else edit.description
        refuse_unfit(name, description, but=row.pk)
        row.name, row.description = name, description
        row.save(update_fields=["name", "description"])
    return row


def set_data_center_enabled(actor: Actor, uid: UUID, *, enabled: bool) -> DataCenter:
    """Disable a data center, or enable it again. Disabling ends pages, consoles and queued jobs of all its people at
    once; its machines run on."""
    with attempt(
        actor, "DATA_CENTER_ENABLE" if enabled else "DATA_CENTER_DISABLE", Subject("data_center", uid)
    ) as trial:
        row = get_data_center(actor, uid)
        trial.subject = _subject(row)
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        row.enabled = enabled
        row.save(update_fields=["enabled"])
        access_changed(policy.people_of(row))
    return row


def data_center_version(row: DataCenter) -> str:
    """The version of what can be edited."""
    return version_of(row.name, row.description)


def refuse_unfit(name: str, description: str, *, but: UUID | None = None) -> None:
    """Raise ``Invalid`` or ``Conflict``, naming the field, when no data center ``but`` that one can be called so."""
    reasons = []
    if not NAME.fullmatch(name):
        text = _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'.")
        reasons.append(Reason("name_invalid", text, "name"))
    if len(description) > LONGEST_DESCRIPTION or "\x00" in description:
        text = _("A description has at most %(most)d characters.") % {"most": LONGEST_DESCRIPTION}
        reasons.append(Reason("description_invalid", text, "description"))
    if reasons:
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
    others = DataCenter.objects.exclude(pk=but) if but else DataCenter.objects.all()
    if others.filter(name__iexact=name).exists():
        text = _("A data center of this name is already there. Choose another name.")
        raise Conflict(text, reasons=(Reason("name_taken", text, "name"),))


def _subject(row: DataCenter) -> Subject:
    return Subject("data_center", row.pk, row.name, row.pk)
