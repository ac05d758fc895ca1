"""Grants over the API: to whom which role was given on an object, giving and taking. For whoever may give roles there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_asked
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.strict import StrictSerializer, StrictString, checked
from tenants.api.people import ByUsername
from tenants.models import User
from tenants.services import grantees as services
from tenants.services.grantees import GrantRequest
from tenants.services.grants import grantable
from tenants.tried import audited


class GivenSerializer(serializers.Serializer):
    role = serializers.CharField(help_text="The role's codename.")
    role_name = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True, help_text="Null: no end.")
    ended = serializers.BooleanField(help_text="The end is over, and the role is worth nothing since.")
    grantor = serializers.CharField()
    given_at = serializers.DateTimeField()


class GranteeSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(choices=["user", "group"])
    id = serializers.CharField(source="subject.pk")
    name = serializers.CharField()
    roles = GivenSerializer(many=True)


class GroupGranteesSerializer(serializers.Serializer):
    groups = GranteeSerializer(many=True)
    more = serializers.IntegerField(help_text="How many there are besides.")


class NewGrantSerializer(StrictSerializer):
    """A user or a group, one of the two. What was given before gets the end that is said now."""

    role = StrictString(max_length=64, help_text="A role's codename, as `/roles/` has them.")
    user = StrictString(
        max_length=150,
        default="",
        allow_blank=True,
        help_text="A user name; somebody of a directory, who need not have been here, as `DIRECTORY\\user`.",
    )
    group = StrictString(
        max_length=512,
        default="",
        allow_blank=True,
        help_text="A group's name; a directory's as `DIRECTORY\\group`, in full, or its DN.",
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="When it ends; null: never."
    )


class Grants(ListView):
    """The users to whom something was given on an object itself. ``kind``: vm, template, image, network, vnic_profile,
    data_center, system.
    """

    rehearsed = asks_first = ("POST",)
    guarded = True
    serializer_class = GranteeSerializer
    pagination_class = ByUsername

    def get_queryset(self) -> QuerySet[User]:
        """Through the policy."""
        if not self.request.user:
            return User.objects.none()
        self._target = _target(self.request, self.kwargs["kind"], self.kwargs["uid"])
        return services.users_of(_actor(self.request), self._target)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A page of them, with what they were given read at once."""
        page = self.paginate_queryset(self.get_queryset())
        found = services.grantees(self._target, list(page or []))
        return self.get_paginated_response(GranteeSerializer(found, many=True).data)

    @extend_schema(request=NewGrantSerializer, responses={201: GranteeSerializer}, operation_id="grants_create")
    @audited("GRANT")
    def post(self, request: Request, kind: str, uid: UUID) -> Response:
        """Give a role that one holds there oneself, for as long as one does, to a user or a group.

        Who is of a directory is asked for there (503 when that is down and who is meant is not known here).
        """
        wanted, actor = GrantRequest(**checked(NewGrantSerializer, request.data)), _actor(request)
        asked = services.ask_directory(actor, grantable(actor, kind, uid), wanted)

        def work() -> Answer:
            found = services.give_asked(actor, grantable(actor, kind, uid), wanted, asked)
            return Answer(
                status.HTTP_201_CREATED, GranteeSerializer(found).data, reverse("api:grants", args=[kind, uid])
            )

        return answer_asked(self, request, actor, work)


class GroupGrants(ApiView):
    """The groups to which something was given on an object itself."""

    guarded = True

    @extend_schema(responses=GroupGranteesSerializer, operation_id="grants_of_groups")
    def get(self, request: Request, kind: str, uid: UUID) -> Response:
        """The first 200, by name."""
        target = _target(request, kind, uid)
        rows, more = services.first_groups(_actor(request), target)
        found = services.grantees(target, rows)
        return Response(GroupGranteesSerializer({"groups": found, "more": more}).data)


class UserGrant(ApiView):
    """A role that a user was given on an object."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None}, operation_id="grants_of_users_delete")
    @audited("REVOKE")
    def delete(self, request: Request, kind: str, uid: UUID, user: UUID, role: str) -> Response:
        """Take it back; open pages and consoles that lived by it end."""
        services.take(_actor(request), _target(request, kind, uid), role=role, user=user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class GroupGrant(ApiView):
    """A role that a group was given on an object."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None}, operation_id="grants_of_groups_delete")
    @audited("REVOKE")
    def delete(self, request: Request, kind: str, uid: UUID, number: int, role: str) -> Response:
        """Take it back, from all its members; open pages and consoles that lived by it end."""
        services.take(_actor(request), _target(request, kind, uid), role=role, group=number)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _target(request: Request, kind: str, uid: UUID) -> Model:
    return grantable(_actor(request), kind, uid)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
