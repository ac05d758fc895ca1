"""Networks over the API."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from network import selectors, services
from network.choices import FoundKind, NetworkStatus
from network.models import Network, VnicProfile
from portal.common.actor import Actor, Door
from portal.common.api import ListView, answer_once
from portal.common.errors import Invalid, Reason
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.strict import StrictSerializer, StrictString, StrictUuid, checked
from portal.events.record import trying
from tenants.api.jobs import JobSerializer, started
from tenants.api.zones import ListOfZones, OfZone
from tenants.subjects import seen


class VnicProfileSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    name = serializers.CharField()
    is_gone = serializers.BooleanField(help_text="Its engine does not have it any more.")


class NetworkSerializer(OfZone, serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    name = serializers.CharField()
    data_center = serializers.UUIDField(source="owner_id", allow_null=True, help_text="null: the institute's own.")
    cidr = serializers.CharField(help_text="Empty: of what was there, whose addresses are given by what is on it.")
    offered = serializers.ChoiceField(
        choices=FoundKind.choices,
        allow_blank=True,
        help_text="What of its host it is, where it was offered; empty: it was not.",
    )
    zone = serializers.CharField(
        source="zone_name", help_text="Of an engine's network, for those who may see providers."
    )
    is_management = serializers.BooleanField(
        help_text="An engine reaches its hosts by it: machines that are on it could reach them too."
    )
    status = serializers.ChoiceField(choices=NetworkStatus.choices)
    status_at = serializers.DateTimeField(allow_null=True)
    is_stale = serializers.BooleanField(
        source="is_silent", help_text="Its provider is silent: ``status`` is what was seen at ``status_at``."
    )
    vnic_profiles = VnicProfileSerializer(many=True)


class SeenVnicProfileSerializer(VnicProfileSerializer):
    network_name = serializers.CharField(source="network.name")
    status = serializers.ChoiceField(
        source="network.status",
        choices=NetworkStatus.choices,
        help_text="Of its network: cards come on an operational one.",
    )


class NewNetworkSerializer(StrictSerializer):
    name = StrictString(max_length=200)
    data_center = StrictUuid()
    provider = StrictUuid()
    cidr = StrictString(default="", allow_blank=True, max_length=43, help_text="Empty: the next free range.")


class StartedNetworkSerializer(serializers.Serializer):
    network = NetworkSerializer()
    job = JobSerializer()


class VnicProfiles(ListView):
    """The vNIC profiles one may see, those of networks that one does not see too, and those that are gone from their engine.

    A card can be put on one that is not gone, whose network is operational and may be used by the machine's data center, by
    whoever holds NETWORK_USE on it.
    """

    serializer_class = SeenVnicProfileSerializer
    pagination_class = ByName

    def get_queryset(self) -> QuerySet[VnicProfile]:
        """Through the policy."""
        return selectors.vnic_profiles(_actor(self.request)) if self.request.user else VnicProfile.objects.none()


class Networks(ListOfZones, ListView):
    """The networks one may see."""

    rehearsed = ("POST",)
    serializer_class = NetworkSerializer
    pagination_class = ByName

    def get_queryset(self) -> QuerySet[Network]:
        """Through the policy."""
        if not self.request.user:
            return Network.objects.none()
        return selectors.networks(_actor(self.request)).prefetch_related("vnic_profiles")

    @extend_schema(
        request=NewNetworkSerializer, responses={202: StartedNetworkSerializer}, operation_id="networks_create"
    )
    def post(self, request: Request) -> Response:
        """Make a network of a data center's own. For super-admins."""
        data, actor = checked(NewNetworkSerializer, request.data), _actor(request)
        about = seen(actor, "data_center", data["data_center"])
        with trying(actor, "NETWORK_CREATE", about):
            return answer_once(request, actor, lambda: _made(actor, data))


def _made(actor: Actor, data: dict[str, Any]) -> Answer:
    row = services.authorize_networks(actor, data["data_center"])
    provider = next((one for one in services.providers_for(actor) if one.pk == data["provider"]), None)
    if provider is None:
        text = _("There is no such provider, or it is disabled.")
        raise Invalid(text, reasons=(Reason("provider_invalid", text, "provider"),))
    cidr = data["cidr"] or services.free_range(provider)
    network, job = services.create_network(actor, row, provider=provider, name=data["name"], cidr=cidr)
    return started(job, network=NetworkSerializer(network).data)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
