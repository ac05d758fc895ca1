"""Data centers over the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from portal.common.actor import Door
from portal.common.api import ListView
from portal.common.http import actor_of
from portal.common.paging import ByName
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit


class DataCenterSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = DataCenter
        fields = ["id", "name", "description", "enabled", "created_at"]
        read_only_fields = fields


class DataCenters(ListView):
    """The data centers one may see."""

    serializer_class = DataCenterSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return DataCenter.objects.none()
        return policy.visible(actor_of(self.request, door=Door.API), Permit.DATA_CENTER_VIEW, DataCenter.objects.all())
