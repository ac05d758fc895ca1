"""What providers have, over the API: all of it for super-admins, for others what is assigned to their data centers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute import selectors
from compute.models import Cluster, Host, StorageDomain
from compute.services import template_copies
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView
from portal.common.http import actor_of
from portal.common.openapi import ReasonSerializer
from portal.common.paging import ByName


class ClusterSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = Cluster
        fields = ["id", "name"]


class HostSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = Host
        fields = [
            "id", "name", "cluster", "status", "status_at", "cpus", "memory_mib", "memory_free_mib", "version", "accelerator",
        ]  # fmt: skip


class StorageDomainSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    fullness = serializers.ChoiceField(choices=["", "warning", "error"], help_text="From 80 % and from 90 % on.")
    promised_gib = serializers.IntegerField(help_text="The sizes of all disks of this portal in it, full or not.")

    class Meta:
        model = StorageDomain
        fields = [
            "id", "name", "type", "status", "status_at", "total_bytes", "used_bytes", "free_bytes", "fullness", "promised_gib",
        ]  # fmt: skip


class Clusters(ListView):
    """The clusters one may see."""

    serializer_class = ClusterSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.clusters(_actor(self.request)) if self.request.user else Cluster.objects.none()


class Hosts(ListView):
    """The hosts one may see."""

    serializer_class = HostSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.hosts(_actor(self.request)) if self.request.user else Host.objects.none()


class StorageDomains(ListView):
    """The storage domains one may see."""

    serializer_class = StorageDomainSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.storage_domains(_actor(self.request)) if self.request.user else StorageDomain.objects.none()


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

    @extend_schema(responses=VolumeListSerializer, operation_id="storage_domain_volumes")
    def get(self, request: Request, uid: UUID) -> Response:
        """At most 500 by name; the hypervisor is asked now."""
        _domain, found = template_copies.offers(_actor(request), uid)
        rows = [{"volume": one.volume, "reasons": [reason.as_json() for reason in one.reasons]} for one in found]
        return Response(VolumeListSerializer({"results": rows}).data)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
