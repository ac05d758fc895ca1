"""What providers have, over the API: all of it for super-admins, for others what is assigned to their data centers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from compute import selectors
from compute.models import Cluster, Host, StorageDomain
from portal.common.actor import Actor, Door
from portal.common.api import ListView
from portal.common.http import actor_of
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


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
