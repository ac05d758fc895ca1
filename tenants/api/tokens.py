"""API tokens: logging in over the API, seeing and ending one's own tokens, and those of a data center."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import NewestFirst
from portal.common.strict import LARGEST_NUMBER, StrictInteger, StrictSerializer, StrictString, StrictUuid, checked
from tenants.models import ApiToken
from tenants.services.factors import check_code
from tenants.services.passwords import check_password
from tenants.services.people import authorize_people
from tenants.services.proving import prove_by_cookie
from tenants.services.tokens import (
    TokenWish,
    create_service_token,
    create_token,
    revoke_service_token,
    revoke_token,
    role_names,
    service_tokens,
    tokens_of,
)
from tenants.tried import audited


class TokenWishSerializer(StrictSerializer):
    """What a token is to be."""

    name = StrictString(max_length=64, help_text="What it is for, for the list of tokens.")
    scope = serializers.ChoiceField(choices=["read", "write"], default="read")
    expires_in = StrictInteger(
        default=3600, min_value=1, max_value=LARGEST_NUMBER, help_text="Seconds, from 60 to a year of 365 days."
    )
    permits = serializers.ListField(
        child=StrictString(max_length=64),
        default=list,
        max_length=64,
        help_text="What it may do at most (`VM_RUN`), with what is needed to see that; empty: all that its user may, but for "
        "`GRANT` and `USER_MANAGE`, whose work stays when the token is gone; `ALL`: these too.",
    )
    objects = serializers.ListField(
        child=StrictUuid(),
        default=list,
        max_length=64,
        help_text="What it is for, with what is in it: data centers, machines, templates ...; empty: all its user reaches.",
    )


class NewTokenSerializer(TokenWishSerializer):
    """A log-in over the API."""

    username = StrictString(max_length=150)
    password = StrictString(max_length=1024)
    code = StrictString(
        default="", allow_blank=True, max_length=32, help_text="Of the second factor, for whoever has one."
    )


class NewServiceTokenSerializer(TokenWishSerializer):
    """A token of a data center."""

    name = StrictString(max_length=64, help_text="The name under which it acts, behind that of the data center.")
    role = StrictString(max_length=64, help_text="What it holds on the data center: a role's codename.")
    password = StrictString(
        default="", allow_blank=True, max_length=1024, help_text="One's own, for whoever asks by a log-in's cookie."
    )
    code = StrictString(
        default="", allow_blank=True, max_length=32, help_text="Of the second factor instead, for whoever has one."
    )


class ChosenSerializer(serializers.Serializer):
    kind = serializers.CharField()
    id = serializers.UUIDField()
    name = serializers.CharField(help_text="As it was when the token was made.")


class TokenSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    permits = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="null: all its user's but for `GRANT` and `USER_MANAGE`.",
    )
    objects = ChosenSerializer(source="chosen", many=True, help_text="Empty: all that its user reaches.")

    class Meta:
        model = ApiToken
        fields = ["id", "name", "scope", "permits", "objects", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields


class ServiceTokenSerializer(TokenSerializer):
    username = serializers.CharField(source="user.username", help_text="Under which the log knows it.")
    maker = serializers.CharField(source="maker_name", help_text="Who made it.")
    role = serializers.SerializerMethodField(help_text="The name of the role that it holds on the data center.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "username", "maker", "role"]
        read_only_fields = fields

    def get_role(self, row: ApiToken) -> str:
        """Read for all of a page at once."""
        return str(self.context["roles"].get(row.pk, ""))


class MadeTokenSerializer(TokenSerializer):
    token = serializers.CharField(read_only=True, help_text="Shown this once; goes as `Authorization: Bearer <token>`.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class Tokens(ListView):
    """One's own tokens; a new one for a name and password."""

    bounded = ("POST",)
    serializer_class = TokenSerializer
    pagination_class = NewestFirst

    def get_permissions(self) -> Any:
        """Making one is how one logs in."""
        return [AllowAny()] if self.request.method == "POST" else super().get_permissions()

    def get_queryset(self) -> Any:
        """Own ones only."""
        if not self.request.user:
            return ApiToken.objects.none()
        return tokens_of(actor_of(self.request, door=Door.API))

    @extend_schema(request=NewTokenSerializer, responses={201: MadeTokenSerializer}, operation_id="tokens_create")
    def post(self, request: Request) -> Response:
        """Make a token; its text is shown this once."""
        data = checked(NewTokenSerializer, request.data)
        asking = actor_of(request if request.auth is not None else request._request, door=Door.API)
        user = check_password(
            data["username"],
            data["password"],
            client_address=asking.client_address,
            request_id=asking.request_id,
            door=Door.API,
        )
        check_code(user, data["code"], actor=asking)
        actor = replace(asking, user=user, session_key="", token_uid=None)
        # The answer holds a secret: it is never kept, and a repeat is refused.
        return answer_once(request, actor, lambda: _made(actor, data), secret=True)


def _made(actor: Actor, data: dict[str, Any]) -> Answer:
    wish = {name: data[name] for name in ("name", "scope", "expires_in", "permits", "objects")}
    row, text = create_token(actor, **wish)
    return Answer(status.HTTP_201_CREATED, TokenSerializer(row).data | {"token": text}, "")


class TokenDetail(ApiView):
    """One of one's own tokens."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Revoke it."""
        revoke_token(actor_of(request, door=Door.API), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MadeServiceTokenSerializer(ServiceTokenSerializer):
    token = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(ServiceTokenSerializer.Meta):
        fields = [*ServiceTokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class ServiceTokens(ListView):
    """The tokens of a data center, which act under names of their own, for those who look after its people."""

    guarded = True
    serializer_class = ServiceTokenSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return ApiToken.objects.none()
        return service_tokens(actor_of(self.request, door=Door.API), self.kwargs["uid"])

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A page of them, with their roles read at once."""
        page = list(self.paginate_queryset(self.get_queryset()) or [])
        return self.get_paginated_response(_of_service(kwargs["uid"], page))

    @extend_schema(
        request=NewServiceTokenSerializer,
        responses={201: MadeServiceTokenSerializer},
        operation_id="service_token_create",
    )
    @audited("TOKEN_CREATE", "data_center")
    def post(self, request: Request, uid: UUID) -> Response:
        """Make one; its text is shown this once."""
        data, actor = checked(NewServiceTokenSerializer, request.data), actor_of(request, door=Door.API)
        role, proofs = data.pop("role"), {name: data.pop(name) for name in ("password", "code")}
        authorize_people(actor, uid)  # whoever may not is told that, and not that his password is wanted
        prove_by_cookie(actor, **proofs)  # before the key's transaction: hashing takes long, a directory longer

        def work() -> Answer:
            row, text = create_service_token(actor, uid, TokenWish(**data), role=role)
            return Answer(status.HTTP_201_CREATED, _of_service(uid, [row])[0] | {"token": text}, "")

        return answer_once(request, actor, work, secret=True)


class ServiceTokenDetail(ApiView):
    """One of them."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID, token: UUID) -> Response:
        """Revoke it; what was opened with it closes."""
        revoke_service_token(actor_of(request, door=Door.API), uid, token)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _of_service(uid: UUID, rows: list[ApiToken]) -> list[dict[str, Any]]:
    context = {"roles": role_names(uid, rows)}
    return [dict(ServiceTokenSerializer(row, context=context).data) for row in rows]
