"""The hallway of data centers."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, Reason
from portal.events.record import Subject, attempt
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def create_data_center(actor: Actor, *, name: str, description: str = "") -> DataCenter:
    """Make a data center. For super-admins."""
    with attempt(actor, "DATA_CENTER_CREATE", Subject("data_center", None, name)) as trial:
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        if not NAME.fullmatch(name):
            text = _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'.")
            raise Invalid(text, reasons=(Reason("name_invalid", text, "name"),))
        if DataCenter.objects.filter(name__iexact=name).exists():
            raise Conflict(_("A data center of this name is already there."))
        row = DataCenter.objects.create(name=name, description=description)
        trial.subject = Subject("data_center", row.pk, name, row.pk)
    return row
