"""Templates over the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from compute import selectors
from compute.models import Template
from portal.common.actor import Door
from portal.common.api import ListView
from portal.common.http import actor_of
from portal.common.paging import ByName


class TemplateSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = Template
        fields = [
            "id",
            "name",
            "description",
            "status",
            "disk_gib",
            "memory_mib",
            "memory_min_mib",
            "vcpus",
            "has_agent",
            "has_cloud_init",
            "has_serial_console",
        ]
        read_only_fields = fields


class Templates(ListView):
    """The templates one may see."""

    serializer_class = TemplateSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Template.objects.none()
        return selectors.visible_templates(actor_of(self.request, door=Door.API))
