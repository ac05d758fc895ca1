"""API tokens: logging in over the API, and seeing and ending one's own log-ins."""

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
from portal.common.strict import LARGEST_NUMBER, StrictInteger, StrictSerializer, StrictString, checked
from tenants.models import ApiToken
from tenants.services.passwords import check_password
from tenants.services.tokens import create_token, revoke_token


class NewTokenSerializer(StrictSerializer):
    """A log-in over the API."""

    username = StrictString(max_length=150)
    password = StrictString(max_length=1024)
    name = StrictString(max_length=64, help_text="What it is for, for the list of one's tokens.")
    scope = serializers.ChoiceField(choices=["read", "write"], default="read")
    expires_in = StrictInteger(
        default=3600, min_value=1, max_value=LARGEST_NUMBER, help_text="Seconds, from 60 to a year of 365 days."
    )


class TokenSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "scope", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields


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
        return ApiToken.objects.filter(user_id=str(self.request.user.pk))

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
        actor = replace(asking, user=user, session_key="", token_uid=None)
        # The answer holds a secret: it is never kept, and a repeat is refused.
        return answer_once(request, user.pk, lambda: _made(actor, data), secret=True)


def _made(actor: Actor, data: dict[str, Any]) -> Answer:
    row, text = create_token(actor, name=data["name"], scope=data["scope"], expires_in=data["expires_in"])
    return Answer(status.HTTP_201_CREATED, TokenSerializer(row).data | {"token": text}, "")


class TokenDetail(ApiView):
    """One of one's own tokens."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Revoke it."""
        revoke_token(actor_of(request, door=Door.API), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)
