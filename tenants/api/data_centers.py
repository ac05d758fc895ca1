"""Data centers over the API."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.strict import SearchQuery, StrictBoolean, StrictSerializer, StrictString, checked
from portal.common.versions import etag, version_in
from tenants import selectors
from tenants.models import DataCenter
from tenants.selectors import get_data_center
from tenants.services.data_centers import (
    DataCenterEdit,
    create_data_center,
    data_center_version,
    edit_data_center,
    set_data_center_enabled,
)
from tenants.tried import audited


class DataCenterSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = DataCenter
        fields = ["id", "name", "description", "enabled", "created_at"]
        read_only_fields = fields


class NewDataCenterSerializer(StrictSerializer):
    name = StrictString(max_length=200)
    description = StrictString(max_length=20_000, default="", allow_blank=True)


class DataCenterEditSerializer(StrictSerializer):
    """What is left out stays as it is."""

    name = StrictString(required=False, max_length=200)
    description = StrictString(required=False, max_length=20_000, allow_blank=True)
    enabled = StrictBoolean(required=False)


class DataCenters(ListView):
    """The data centers one may see."""

    queries: ClassVar = {"GET": SearchQuery}

    rehearsed = ("POST",)
    serializer_class = DataCenterSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return DataCenter.objects.none()
        rows, text = selectors.data_centers(_actor(self.request)), self.query["search"]
        return rows.filter(name__icontains=text) if text else rows

    @extend_schema(
        request=NewDataCenterSerializer, responses={201: DataCenterSerializer}, operation_id="data_centers_create"
    )
    def post(self, request: Request) -> Response:
        """Make one. For super-admins."""
        data, actor = checked(NewDataCenterSerializer, request.data), _actor(request)
        return answer_once(request, actor, lambda: _made(create_data_center(actor, **data)))


class DataCenterDetail(ApiView):
    """One data center."""

    rehearsed = ("PATCH",)

    @extend_schema(responses=DataCenterSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it is; ``ETag`` is its version."""
        return _answer(get_data_center(_actor(request), uid))

    @extend_schema(
        request=DataCenterEditSerializer,
        responses={200: DataCenterSerializer},
        parameters=[OpenApiParameter("If-Match", str, "header", description="The version that was looked at.")],
    )
    @audited("DATA_CENTER_EDIT", "data_center")
    def patch(self, request: Request, uid: UUID) -> Response:
        """Change it; with ``If-Match``, unless somebody else did meanwhile (412)."""
        data, actor = checked(DataCenterEditSerializer, request.data), _actor(request)
        version = version_in(request.headers.get("If-Match", ""))
        edit = DataCenterEdit(data.get("name"), data.get("description"), version)
        with transaction.atomic():
            row = edit_data_center(actor, uid, edit)
            if "enabled" in data:
                row = set_data_center_enabled(actor, uid, enabled=data["enabled"])
        return _answer(row)


def _answer(row: DataCenter) -> Response:
    return Response(DataCenterSerializer(row).data, headers={"ETag": etag(data_center_version(row))})


def _made(row: DataCenter) -> Answer:
    return Answer(status.HTTP_201_CREATED, DataCenterSerializer(row).data, reverse("api:data-center", args=[row.pk]))


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
