"""What a data center may use of the institute's, over the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute import health
from compute.resources import resources_of
from compute.services import sharing
from compute.shareables import SHAREABLE
from portal.common.actor import Actor, Door
from portal.common.api import ApiView
from portal.common.http import actor_of
from portal.common.openapi import ReasonSerializer
from portal.common.strict import Empty, checked
from tenants.selectors import get_data_center


class ResourceSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    name = serializers.CharField()


class KindSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(choices=sorted(SHAREABLE))
    title = serializers.CharField(help_text="For people, in their language.")
    assigned = ResourceSerializer(many=True)


class ResourcesSerializer(serializers.Serializer):
    resources = KindSerializer(many=True)
    degraded = ReasonSerializer(many=True, help_text="What of it cannot be used just now; empty: all is well.")


class DataCenterResources(ApiView):
    """What a data center may use: clusters, storage domains, networks, templates."""

    @extend_schema(responses=ResourcesSerializer, operation_id="data_center_resources")
    def get(self, request: Request, uid: UUID) -> Response:
        """All of it, kind by kind."""
        actor = _actor(request)
        row = get_data_center(actor, uid)
        missing = [reason.as_json() for reason in health.degradations(row)]
        kinds = KindSerializer(resources_of(actor, row), many=True).data
        return Response({"resources": kinds, "degraded": missing})


class Assignment(ApiView):
    """One thing that a data center may use. For super-admins."""

    rehearsed = ("PUT", "DELETE")
    kind = ""

    @extend_schema(request=Empty, responses={204: None})
    def put(self, request: Request, uid: UUID, resource: UUID) -> Response:
        """Let the data center use it; again is nothing new."""
        checked(Empty, request.data)
        sharing.assign(_actor(request), uid, self.kind, resource)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID, resource: UUID) -> Response:
        """Take it back, unless machines need it (409 with their names)."""
        sharing.unassign(_actor(request), uid, self.kind, resource)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)


PATHS: dict[str, Any] = {
    "cluster": "clusters",
    "storage_domain": "storage-domains",
    "network": "networks",
    "template": "templates",
}
