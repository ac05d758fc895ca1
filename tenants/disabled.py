"""What people of a disabled data center are told: that it is, and whom to ask. They see and reach nothing of it.

Not their own jobs and acts there either (``selectors.jobs``, ``selectors.events``).
"""

from __future__ import annotations

from django.utils.translation import ngettext

from portal.common.actor import Actor
from tenants import policy
from tenants.holdings import holdings
from tenants.models import DataCenter
from tenants.permits import Permit

MOST_NAMED = 10


def why_disabled(actor: Actor) -> str:
    """A sentence for whoever has a role in a disabled data center, that names these; empty for everybody else.

    Of what is in them nothing is told, not even whether it is there. Super-admins see them as ever.
    """
    if policy.holds_everywhere(actor, Permit.DATA_CENTER_VIEW):
        return ""
    mine = holdings(actor)
    own = mine.disabled.intersection(mine.centers.by_object)
    if not own:
        return ""
    rows = DataCenter.objects.filter(pk__in=own).order_by("name")
    names = list(rows.values_list("name", flat=True)[:MOST_NAMED])
    text = ngettext(
        "The data center %(names)s is disabled. Its machines are left as they are; nobody sees or uses them, and none are made, "
        "until a super-admin enables it again. Ask a super-admin.",
        "The data centers %(names)s are disabled. Their machines are left as they are; nobody sees or uses them, and none are "
        "made, until a super-admin enables them again. Ask a super-admin.",
        len(own),
    )
    return text % {"names": ", ".join(names)}
