"""Volumes that are offered to data centers, over the API: seen by those who may make templates of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute.models import VolumeOffer
from compute.services import volume_offers
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.rehearsal import rehearsal_of
from portal.common.strict import StrictSerializer, StrictString, StrictUuid, checked
from tenants.tried import audited


class VolumeOfferSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    name = serializers.CharField(help_text="Of the volume, as its hypervisor calls it.")
    storage_domain = serializers.UUIDField(source="assignment.storage_domain_id")
    data_center = serializers.UUIDField(source="assignment.data_center_id", help_text="That may make templates of it.")
    size_bytes = serializers.IntegerField(help_text="Of the disk in it, as it was when it was offered.")
    allocated_bytes = serializers.IntegerField(help_text="What was filled of it then.")

    class Meta:
        model = VolumeOffer
        fields = [
            "id", "name", "storage_domain", "data_center", "format", "size_bytes", "allocated_bytes", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewVolumeOfferSerializer(StrictSerializer):
    storage_domain = StrictUuid(help_text="In which it lies; assigned to the data center.")
    name = StrictString(max_length=255, help_text="As ``/storage-domains/{id}/volumes/`` has it.")
    data_center = StrictUuid()


class VolumeOffers(ListView):
    """The volumes of which one may make templates: those that were offered to one's data centers; all for who offers them."""

    rehearsed = asks_first = ("POST",)
    serializer_class = VolumeOfferSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return VolumeOffer.objects.none()
        return volume_offers.known_offers(_actor(self.request))

    @extend_schema(
        request=NewVolumeOfferSerializer, responses={201: VolumeOfferSerializer}, operation_id="volume_offers_create"
    )
    @audited("VOLUME_OFFER", "data_center")
    def post(self, request: Request) -> Response:
        """Offer one that no machine has, for super-admins; again takes it as it is now. The hypervisor is asked."""
        data, actor = checked(NewVolumeOfferSerializer, request.data), _actor(request)
        looked = volume_offers.look(actor, data["storage_domain"], data["name"])

        def make() -> VolumeOffer:
            return volume_offers.offer_volume(actor, looked, data["data_center"])

        if self.is_dry_run:
            return rehearsal_of(lambda: VolumeOfferSerializer(make()).data)
        return answer_once(request, actor, lambda: _made(make()))


class VolumeOfferDetail(ApiView):
    """One of them."""

    rehearsed = ("DELETE",)

    @extend_schema(responses=VolumeOfferSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it was when it was offered."""
        return Response(VolumeOfferSerializer(volume_offers.get_volume_offer(_actor(request), uid)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Offer it no longer; templates that were made of it stay. For super-admins."""
        volume_offers.withdraw_offer(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _made(offer: VolumeOffer) -> Answer:
    where = reverse("api:volume-offer", args=[offer.pk])
    return Answer(status.HTTP_201_CREATED, VolumeOfferSerializer(offer).data, where)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
