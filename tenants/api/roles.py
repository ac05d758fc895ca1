"""Roles over the API: read by everybody, made of permits by super-admins."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.strict import StrictSerializer, StrictString, StrictUuid, checked
from portal.common.versions import etag, version_in
from tenants.api.people import IF_MATCH
from tenants.models import Role
from tenants.permits import Permit
from tenants.services import roles as services
from tenants.services.roles import RoleEdit, RoleRequest

MOST_PERMITS = 200


class RoleSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    codename = serializers.CharField(help_text="By which grants name it; it stays when the name changes.")
    name = serializers.CharField()
    description = serializers.CharField()
    permits = serializers.ListField(child=serializers.CharField())
    predefined = serializers.BooleanField(help_text="Comes with the portal and cannot be changed.")


class PermitField(serializers.ListField):
    """Permits by name."""

    def __init__(self, **options: Any) -> None:
        names = ", ".join(f"`{permit}`" for permit in Permit)
        super().__init__(
            child=StrictString(max_length=64), max_length=MOST_PERMITS, help_text=f"Of {names}.", **options
        )


class NewRoleSerializer(StrictSerializer):
    """A role starts from the permits of another (``start_from``) unless ``permits`` says which."""

    name = StrictString(max_length=200)
    description = StrictString(max_length=1000, default="", allow_blank=True)
    permits = PermitField(required=False)
    start_from = StrictUuid(required=False, help_text="Another role's id.")


class RoleEditSerializer(StrictSerializer):
    """What is left out stays as it is; ``permits`` are all that the role has from then on."""

    name = StrictString(max_length=200, required=False)
    description = StrictString(max_length=1000, required=False, allow_blank=True)
    permits = PermitField(required=False)


class Roles(ListView):
    """What each role is. Who holds it is told on what it is held."""

    rehearsed = ("POST",)
    serializer_class = RoleSerializer
    pagination_class = ByName

    def get_queryset(self) -> QuerySet[Role]:
        """All of them."""
        return services.roles() if self.request.user else Role.objects.none()

    @extend_schema(request=NewRoleSerializer, responses={201: RoleSerializer}, operation_id="roles_create")
    def post(self, request: Request) -> Response:
        """Make a role of permits that one holds oneself on the whole system. For super-admins."""
        data, actor = checked(NewRoleSerializer, request.data), _actor(request)
        permits = tuple(data["permits"]) if "permits" in data else None
        wanted = RoleRequest(data["name"], data["description"], permits, data.get("start_from"))
        return answer_once(request, actor, lambda: _made(services.create_role(actor, wanted)))


class RoleDetail(ApiView):
    """One role."""

    rehearsed: ClassVar = ("PATCH", "DELETE")

    @extend_schema(responses=RoleSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it is; ``ETag`` is its version."""
        return _answer(services.get_role(uid))

    @extend_schema(request=RoleEditSerializer, responses=RoleSerializer, parameters=[IF_MATCH])
    def patch(self, request: Request, uid: UUID) -> Response:
        """Change one that does not come with the portal; for all who hold it, at once."""
        data, actor = checked(RoleEditSerializer, request.data), _actor(request)
        if "permits" in data:
            data["permits"] = tuple(data["permits"])
        edit = RoleEdit(**data, version=version_in(request.headers.get("If-Match", "")))
        return _answer(services.edit_role(actor, uid, edit))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Delete one that nobody holds (409 with how many hold it on what)."""
        services.delete_role(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _answer(row: Role) -> Response:
    return Response(RoleSerializer(row).data, headers={"ETag": etag(services.role_version(row))})


def _made(row: Role) -> Answer:
    return Answer(status.HTTP_201_CREATED, RoleSerializer(row).data, reverse("api:role", args=[row.pk]))


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
