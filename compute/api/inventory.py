"""What providers have, over the API: all of it for super-admins, for others what is assigned to their data centers."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import OuterRef, Subquery
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute import health, selectors
from compute.choices import StorageFunction
from compute.models import Host, StorageDomain
from compute.services import template_copies
from compute.services.offered_networks import reasons_against
from network.choices import FoundOwner
from network.models import FoundNetwork, Network
from network.rules import offer_warnings
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView
from portal.common.http import actor_of
from portal.common.openapi import ReasonSerializer
from portal.common.paging import ByName
from tenants.api.zones import ListOfZones, OfZone

STALE = "Its provider is silent: ``status`` and the figures are what was seen at ``status_at``."


class HostSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    is_stale = serializers.BooleanField(source="is_silent", help_text=STALE)

    class Meta:
        model = Host
        fields = [
            "id", "name", "cluster", "status", "status_at", "is_stale", "cpus", "memory_mib", "memory_free_mib", "version", "accelerator", "arch", "cpu_model", "cpu_vendor",
        ]  # fmt: skip


class StorageDomainSerializer(OfZone, serializers.ModelSerializer):
    untold: ClassVar = {"zones": []}
    id = serializers.UUIDField(source="uid", read_only=True)
    is_stale = serializers.BooleanField(source="is_silent", help_text=STALE)
    fullness = serializers.ChoiceField(choices=["", "warning", "error"], help_text="From 80 % and from 90 % on.")
    shared = serializers.BooleanField(source="is_shared", help_text="Whether other hosts may have it too.")
    zones = serializers.ListField(
        source="zone_names",
        child=serializers.CharField(),
        help_text="The engine's zones whose hosts all have it, for those who may see providers.",
    )
    function = serializers.ChoiceField(
        choices=StorageFunction.choices,
        help_text="data: disks of machines can be made in it; source: templates can be copied from it.",
    )
    data_centers = serializers.SerializerMethodField(help_text="Those it is assigned to, of those one may see.")
    promised_gib = serializers.IntegerField(help_text="The sizes of all disks of this portal in it, full or not.")

    class Meta:
        model = StorageDomain
        fields = [
            "id", "name", "provider", "function", "type", "shared", "zones", "status", "status_at", "is_stale", "total_bytes", "used_bytes",
            "free_bytes", "fullness", "promised_gib", "data_centers",
        ]  # fmt: skip

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_data_centers(self, row: Any) -> list[str]:
        """By the assignments that were read along."""
        return [str(one.data_center_id) for one in row.seen]


class FoundNetworkSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    owner = serializers.ChoiceField(choices=FoundOwner.choices, help_text="Whose mark it bears; empty: nobody's.")
    ranges = serializers.ListField(child=serializers.CharField(), help_text="In CIDR form; taken, whosever it is.")
    members = serializers.ListField(child=serializers.CharField(), help_text="Of a bridge: the host's cards on it.")
    offered_as = serializers.UUIDField(
        allow_null=True, help_text="The network as which it can be assigned; null: none."
    )
    reasons = serializers.SerializerMethodField(help_text="Why it cannot be offered; empty where it can, or is.")
    warnings = serializers.SerializerMethodField(help_text="What machines on it would reach.")
    is_stale = serializers.BooleanField(
        source="provider.is_silent", help_text="The provider is silent: this is as it was last seen."
    )

    class Meta:
        model = FoundNetwork
        fields = [
            "id", "name", "kind", "external_id", "active", "forward", "bridge", "ranges", "members", "owner", "offered_as", "reasons",
            "warnings", "is_stale",
        ]  # fmt: skip

    @extend_schema_field(ReasonSerializer(many=True))
    def get_reasons(self, row: FoundNetwork) -> list[dict[str, Any]]:
        """By the row alone."""
        return [reason.as_json() for reason in reasons_against(row)]

    @extend_schema_field(ReasonSerializer(many=True))
    def get_warnings(self, row: FoundNetwork) -> list[dict[str, Any]]:
        """By the row alone."""
        found = offer_warnings(row.kind, row.forward, row.members, row.ranges, active=row.active)
        return [warning.as_json() for warning in found]


class FoundNetworks(ListView):
    """The networks that are on a provider, anybody's, and its host's own bridges. For super-admins."""

    serializer_class = FoundNetworkSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return FoundNetwork.objects.none()
        same = {"offered": OuterRef("kind"), "external_id": OuterRef("external_id")}
        offered = Network.objects.filter(provider=OuterRef("provider"), **same).values("pk")
        rows = selectors.found_networks(_actor(self.request), self.kwargs["uid"])
        return rows.annotate(offered_as=Subquery(offered[:1]))


class Hosts(ListView):
    """The hosts one may see."""

    serializer_class = HostSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.hosts(_actor(self.request)) if self.request.user else Host.objects.none()


class StorageDomains(ListOfZones, ListView):
    """The storage domains one may see."""

    serializer_class = StorageDomainSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return health.storage_of(_actor(self.request)) if self.request.user else StorageDomain.objects.none()


class VolumeSerializer(serializers.Serializer):
    name = serializers.CharField(source="volume.external_id")
    format = serializers.CharField(source="volume.format")
    size_bytes = serializers.IntegerField(source="volume.size_bytes", help_text="Of the disk in it.")
    allocated_bytes = serializers.IntegerField(source="volume.allocated_bytes")
    used_by = serializers.ListField(
        source="volume.users", child=serializers.CharField(), help_text="Names of machines on the provider."
    )
    reasons = ReasonSerializer(many=True, help_text="Why no template can be made of it; empty where one can.")


class VolumeListSerializer(serializers.Serializer):
    results = VolumeSerializer(many=True)


class Volumes(ApiView):
    """The volumes in a storage domain that bear no disk of this portal's. For super-admins."""

    guarded = True

    @extend_schema(responses=VolumeListSerializer, operation_id="storage_domain_volumes")
    def get(self, request: Request, uid: UUID) -> Response:
        """At most 500 by name; the hypervisor is asked now."""
        _domain, found = template_copies.offers(_actor(request), uid)
        rows = [{"volume": one.volume, "reasons": [reason.as_json() for reason in one.reasons]} for one in found]
        return Response(VolumeListSerializer({"results": rows}).data)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
