"""What a host has besides our networks, offered to data centers over the API. For super-admins."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute.services import offered_networks as services
from network.api.networks import NetworkSerializer
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.strict import StrictSerializer, StrictString, checked
from tenants.api.zones import zones_for
from tenants.tried import audited


class OfferSerializer(StrictSerializer):
    name = StrictString(
        default="", allow_blank=True, max_length=200, help_text="As departments see it; empty: as it is called there."
    )


class OfferedSerializer(serializers.Serializer):
    network = NetworkSerializer()
    warnings = ReasonSerializer(
        many=True, help_text="What machines on it reach, and what the portal does not do there."
    )


class NetworkOffer(ApiView):
    """A network that somebody else made on a host, or a bridge of the host's own."""

    rehearsed: ClassVar = ("POST",)

    @extend_schema(request=OfferSerializer, responses={201: OfferedSerializer}, operation_id="providers_networks_offer")
    @audited("NETWORK_OFFER", "provider")
    def post(self, request: Request, uid: UUID, found: UUID) -> Response:
        """Let it be assigned to data centers; on the host nothing changes. 409 for what is a portal's, or offered already."""
        data, actor = checked(OfferSerializer, request.data), _actor(request)

        def work() -> Answer:
            offer = services.get_offer(actor, uid, found)
            row = services.offer_network(actor, uid, found, name=data["name"])
            shown = {"network": row, "warnings": [warning.as_json() for warning in offer.warnings]}
            return Answer(status.HTTP_201_CREATED, OfferedSerializer(shown, context=zones_for(actor)).data, "")

        return answer_once(request, actor, work)


class OfferedNetwork(ApiView):
    """The offer of a network."""

    rehearsed: ClassVar = ("DELETE",)

    @extend_schema(responses={204: None}, operation_id="networks_take_back")
    @audited("NETWORK_TAKE_BACK", "network")
    def delete(self, request: Request, uid: UUID) -> Response:
        """Take it back, unless machines, data centers or roles depend on it (409 with these). On the host nothing changes."""
        services.take_back_network(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
