"""Oneself, over the API."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.api import ApiView


class MeSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    username = serializers.CharField()
    display_name = serializers.CharField(source="__str__", help_text="The user name when no other is known.")


class Me(ApiView):
    """Who is asking."""

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Name and id."""
        return Response(MeSerializer(request.user).data)
