"""An engine's zones are told only to those who may see providers: departments do not know how the institute's are laid out."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from portal.common.actor import Actor, Door
from portal.common.http import actor_of
from tenants import policy
from tenants.permits import Permit

TOLD = "tells_zones"


def zones_for(actor: Actor) -> dict[str, bool]:
    """The context of a serializer that is ``OfZone``, for an answer to this actor."""
    return {TOLD: policy.holds_everywhere(actor, Permit.PROVIDER_VIEW)}


class OfZone(serializers.BaseSerializer):
    """What is ``untold`` of it (its ``zone``) is empty unless the context says that it may be told."""

    untold: ClassVar[dict[str, Any]] = {"zone": ""}

    def to_representation(self, instance: Any) -> Any:
        """Without the zone where it is not to be told."""
        told = super().to_representation(instance)
        return told if self.context.get(TOLD) else told | self.untold


class ListOfZones:
    """A list whose serializer is ``OfZone``."""

    request: Any

    def get_serializer_context(self) -> dict[str, Any]:
        """Asked once for the whole list."""
        context: dict[str, Any] = super().get_serializer_context()  # type: ignore[misc]
        return context | (zones_for(actor_of(self.request, door=Door.API)) if self.request.user else {})
