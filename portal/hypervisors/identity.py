"""The portal's own id, the mark that everything we make on a hypervisor carries."""

from __future__ import annotations

from uuid import UUID

from portal.hypervisors.models import Portal


def portal_id() -> UUID:
    """This portal's id; made at the first call, and safe to be made by several at once."""
    row, _created = Portal.objects.get_or_create(pk=1)
    return row.uid
