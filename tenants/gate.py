"""What the engine asks before it works on: whoever may no longer do what he asked for gets nothing more done."""

from __future__ import annotations

from uuid import UUID

from django.utils.translation import gettext as _

from portal.common.actor import Actor, Door
from portal.common.errors import NotPermitted
from tenants.kinds import kinds
from tenants.models import User
from tenants.permits import Permit
from tenants.policy import authorize


def gate(actor: Actor, permit: str, kind_name: str, uid: UUID) -> None:
    """The engine's gate: the one who asked must still hold the permit. Raises like ``authorize``."""
    if actor.uid is None:
        return  # the portal itself
    user = User.objects.filter(pk=actor.uid).first()
    model = next((kind.model for kind in kinds() if kind.name == kind_name), None)
    target = model._default_manager.filter(pk=uid).first() if model else None
    if user is None or target is None:
        raise NotPermitted(_("The user or the object that this job was started for is gone."))
    authorize(Actor(user=user, door=Door.JOB, request_id=actor.request_id), Permit(permit), target)
