"""People over the API: those of a data center with their roles and shares, its limits, and all accounts."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_asked, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import NewestFirst
from portal.common.strict import SearchQuery, StrictBoolean, StrictInteger, StrictSerializer, StrictString, checked
from portal.common.versions import etag, version_in
from portal.events.record import Subject, trying
from tenants import selectors
from tenants.forms.people import LARGEST_LIMIT, LONGEST_PASSWORD
from tenants.models import DataCenter, User
from tenants.models.quota import Dimension
from tenants.services import people, users
from tenants.services.person_search import AskedPerson
from tenants.tried import audited

IF_MATCH = OpenApiParameter("If-Match", str, "header", description="The version that was looked at.")


class NamedUserSerializer(serializers.Serializer):
    """What whoever looks after a data center's people learns of one."""

    id = serializers.UUIDField(source="pk")
    username = serializers.CharField()
    display_name = serializers.CharField()
    enabled = serializers.BooleanField(source="is_active")


class UserSerializer(NamedUserSerializer):
    last_login = serializers.DateTimeField(allow_null=True)


class NewUserSerializer(StrictSerializer):
    username = StrictString(max_length=200)
    password = StrictString(max_length=LONGEST_PASSWORD)
    display_name = StrictString(max_length=150, default="", allow_blank=True)


class UserEditSerializer(StrictSerializer):
    """What is left out stays as it is."""

    enabled = StrictBoolean(required=False)
    password = StrictString(required=False, max_length=LONGEST_PASSWORD)
    present_password = StrictString(
        default="", allow_blank=True, max_length=LONGEST_PASSWORD, help_text="Of whoever sets his own password."
    )


class ShareSerializer(serializers.Serializer):
    dimension = serializers.ChoiceField(choices=Dimension.choices)
    used = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True)


class PersonSerializer(serializers.Serializer):
    user = NamedUserSerializer()
    roles = serializers.ListField(child=serializers.CharField(), help_text="The codenames of the roles held there.")
    share = ShareSerializer(many=True)


class NewPersonSerializer(StrictSerializer):
    username = StrictString(
        max_length=150, help_text="Somebody of a directory, who need not have been here, as `DIRECTORY\\user`."
    )
    role = StrictString(max_length=64, help_text="A role's codename: `end-user`, `data-center-admin`.")
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="When it ends; null: never."
    )


class QuotaSerializer(serializers.Serializer):
    limits = serializers.DictField(child=serializers.IntegerField(allow_null=True), help_text="null: no limit.")


class LimitsSerializer(StrictSerializer):
    """A limit of 0 or more by dimension, null for none; what is left out stays as it is."""


for _dimension in Dimension:
    LimitsSerializer._declared_fields[_dimension.value] = StrictInteger(
        required=False, allow_null=True, min_value=0, max_value=LARGEST_LIMIT
    )


class QuotaEditSerializer(StrictSerializer):
    limits = LimitsSerializer()


class ByUsername(NewestFirst):
    """Ordered by user name."""

    field = "username"
    descending = False


class Users(ListView):
    """All accounts. For super-admins."""

    queries: ClassVar = {"GET": SearchQuery}

    rehearsed = ("POST",)
    guarded = True
    serializer_class = UserSerializer
    pagination_class = ByUsername

    def get_queryset(self) -> QuerySet[User]:
        """Through the policy."""
        if not self.request.user:
            return User.objects.none()
        return selectors.users(_actor(self.request), query=self.query["search"])

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer}, operation_id="users_create")
    def post(self, request: Request) -> Response:
        """Create a local account."""
        data, actor = checked(NewUserSerializer, request.data), _actor(request)
        return answer_once(request, actor, lambda: _user_made(users.create_user(actor, **data)))


class UserDetail(ApiView):
    """One account: one's own, or anybody's for super-admins."""

    guarded = True
    bounded = ("PATCH",)

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it is."""
        return Response(UserSerializer(users.get_user(_actor(request), uid)).data)

    @extend_schema(request=UserEditSerializer, responses={200: UserSerializer})
    def patch(self, request: Request, uid: UUID) -> Response:
        """Set its password, disable or enable it, in this order; but for enabling each ends its log-ins and tokens.

        A refusal of the second leaves the first done.
        """
        data, actor = checked(UserEditSerializer, request.data), _actor(request)
        verb = "PASSWORD_SET" if "password" in data else "USER_ENABLE" if data.get("enabled") else "USER_DISABLE"
        with trying(actor, verb, Subject("user", uid)):
            row = users.get_user(actor, uid)
        if "password" in data:
            users.set_password(actor, row, password=data["password"], present=data["present_password"])
        if "enabled" in data:
            users.set_active(actor, row, active=data["enabled"])
        return Response(UserSerializer(row).data)


class People(ListView):
    """Those who hold a role on a data center, for whoever looks after them."""

    rehearsed = asks_first = ("POST",)
    guarded = True
    serializer_class = PersonSerializer
    pagination_class = ByUsername

    def get_queryset(self) -> QuerySet[User]:
        """Through the policy."""
        if not self.request.user:
            return User.objects.none()
        self._center = people.authorize_people(_actor(self.request), self.kwargs["uid"])
        return people.people_of(self._center)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A page of them, with their roles and shares read at once."""
        page = self.paginate_queryset(self.get_queryset())
        found = people.persons(self._center, list(page or []))
        return self.get_paginated_response(PersonSerializer(found, many=True).data)

    @extend_schema(request=NewPersonSerializer, responses={201: PersonSerializer}, operation_id="people_add")
    @audited("GRANT", "data_center")
    def post(self, request: Request, uid: UUID) -> Response:
        """Give the user of that name a role. Who is of a directory is asked for there (503 when it is down, unless he is known here)."""
        data, actor = checked(NewPersonSerializer, request.data), _actor(request)
        asked = people.ask_for_person(actor, uid, data["username"])
        return answer_asked(self, request, actor, lambda: _added(actor, uid, asked, data))


class PersonRole(ApiView):
    """A role that somebody holds on a data center."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID, user: UUID, role: str) -> Response:
        """Take it back; open pages and consoles that lived by it end."""
        people.remove_person(_actor(request), uid, user, role)
        return Response(status=status.HTTP_204_NO_CONTENT)


class _Quota(ApiView):
    """Limits, of whatever the subclass names."""

    rehearsed = ("PUT",)
    guarded = True
    versioned = ("PUT",)

    def _read(self, row: DataCenter, user: User | None) -> Response:
        limits = people.limits_of(row, user)
        body = QuotaSerializer({"limits": {str(name): value for name, value in limits.items()}}).data
        return Response(body, headers={"ETag": etag(people.limits_version(limits))})

    def _write(self, request: Request, row: DataCenter, user: User | None) -> Response:
        limits = checked(QuotaEditSerializer, request.data)["limits"]
        version = version_in(request.headers.get("If-Match", ""))
        wanted = {Dimension(name): value for name, value in limits.items()}
        people.edit_quota(_actor(request), row, wanted, user=user, version=version)
        return self._read(row, user)


class DataCenterQuota(_Quota):
    """The limits of a data center. For super-admins."""

    @extend_schema(responses=QuotaSerializer, operation_id="data_center_quota")
    def get(self, request: Request, uid: UUID) -> Response:
        """As they are; ``ETag`` is their version."""
        return self._read(people.authorize_quota(_actor(request), uid), None)

    @extend_schema(
        request=QuotaEditSerializer,
        responses=QuotaSerializer,
        parameters=[IF_MATCH],
        operation_id="data_center_quota_set",
    )
    @audited("QUOTA_EDIT", "data_center")
    def put(self, request: Request, uid: UUID) -> Response:
        """Set them; with ``If-Match``, unless somebody else did meanwhile (412)."""
        return self._write(request, people.authorize_quota(_actor(request), uid), None)


class PersonQuota(_Quota):
    """A person's share of a data center's quota, for whoever looks after its people."""

    @extend_schema(responses=QuotaSerializer, operation_id="person_quota")
    def get(self, request: Request, uid: UUID, user: UUID) -> Response:
        """As it is; ``ETag`` is its version."""
        row, found = people.person(_actor(request), uid, user)
        return self._read(row, found.user)

    @extend_schema(
        request=QuotaEditSerializer, responses=QuotaSerializer, parameters=[IF_MATCH], operation_id="person_quota_set"
    )
    @audited("QUOTA_EDIT", "data_center")
    def put(self, request: Request, uid: UUID, user: UUID) -> Response:
        """Set it; with ``If-Match``, unless somebody else did meanwhile (412)."""
        row, found = people.person(_actor(request), uid, user)
        return self._write(request, row, found.user)


def _user_made(row: User) -> Answer:
    return Answer(status.HTTP_201_CREATED, UserSerializer(row).data, reverse("api:user", args=[row.pk]))


def _added(actor: Actor, uid: UUID, asked: AskedPerson | None, data: dict[str, Any]) -> Answer:
    user = people.add_asked(actor, uid, asked, **data)
    _row, found = people.person(actor, uid, user.pk)
    return Answer(status.HTTP_201_CREATED, PersonSerializer(found).data, reverse("api:people", args=[uid]))


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
