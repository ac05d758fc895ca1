"""Tokens, data centers, jobs and oneself, over the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.common.actor import Door
from portal.common.api import ByName, NewestFirst
from portal.common.errors import NotFound
from portal.common.http import actor_of
from portal.common.idempotency import Answer, once
from portal.jobs.feed import job_json
from portal.jobs.models import Job
from tenants import policy, selectors
from tenants.models import ApiToken, DataCenter
from tenants.permits import Permit
from tenants.services.jobs import cancel_job
from tenants.services.tokens import check_password, create_token, revoke_token


class TokenRequestSerializer(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    name = serializers.CharField(max_length=64)
    scope = serializers.ChoiceField(choices=["read", "write"], default="read")
    expires_in = serializers.IntegerField(default=3600)

    def to_internal_value(self, data: Any) -> Any:
        """Names and passwords are strings and nothing else."""
        for field in ("username", "password", "name"):
            if isinstance(data, dict) and field in data and not isinstance(data[field], str):
                raise serializers.ValidationError({field: [_("This must be a string.")]})
        return super().to_internal_value(data)


class TokenSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "scope", "created_at", "expires_at", "last_used_at"]


class MadeTokenSerializer(TokenSerializer):
    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class Tokens(generics.ListAPIView):
    """One's own tokens; a new one for a name and password."""

    serializer_class = TokenSerializer
    pagination_class = NewestFirst

    def get_permissions(self) -> Any:
        """Making one is how one logs in."""
        return [AllowAny()] if self.request.method == "POST" else super().get_permissions()

    def get_queryset(self) -> Any:
        """Own ones only."""
        return (
            ApiToken.objects.filter(user_id=str(self.request.user.pk)) if self.request.user else ApiToken.objects.none()
        )

    @extend_schema(request=TokenRequestSerializer, responses={201: MadeTokenSerializer})
    def post(self, request: Request) -> Response:
        """Make a token; its text is shown this once."""
        form = TokenRequestSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        data = form.validated_data
        actor = actor_of(request._request, door=Door.API)
        if request.auth is not None:
            actor = actor_of(request, door=Door.API)
        user = check_password(
            data["username"],
            data["password"],
            client_address=actor.client_address,
            request_id=actor.request_id,
            door=Door.API,
        )
        made_by = type(actor)(
            user=user,
            door=Door.API,
            request_id=actor.request_id,
            client_address=actor.client_address,
            scope=actor.scope,
        )

        def work() -> Answer:
            row, text = create_token(made_by, name=data["name"], scope=data["scope"], expires_in=data["expires_in"])
            return Answer(status.HTTP_201_CREATED, TokenSerializer(row).data | {"token": text}, "")

        fingerprint = {"path": request.path, "body": request.data}
        # The answer holds a secret: it is never kept, and a repeat is refused.
        (code, body, _location), _repeated = once(
            user.pk, request.headers.get("Idempotency-Key", ""), fingerprint, work, secret=True
        )
        return Response(body, status=code)


class TokenDetail(APIView):
    """One of one's own tokens."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Revoke it."""
        revoke_token(actor_of(request, door=Door.API), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DataCenterSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = DataCenter
        fields = ["id", "name", "description", "enabled", "created_at"]


class DataCenters(generics.ListAPIView):
    """The data centers one may see."""

    serializer_class = DataCenterSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return DataCenter.objects.none()
        return policy.visible(actor_of(self.request, door=Door.API), Permit.DATA_CENTER_VIEW, DataCenter.objects.all())


class Jobs(APIView):
    """The jobs one may see, newest first."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """A page of them."""
        pages = NewestFirst()
        rows = pages.paginate_queryset(selectors.jobs(actor_of(request, door=Door.API)), request, view=self)
        return pages.get_paginated_response([job_json(row) for row in rows or []])


class JobDetail(APIView):
    """One job with its steps."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it stands now."""
        return Response(job_json(_job(request, uid)))


class JobCancel(APIView):
    """Stop a job and undo what it did."""

    @extend_schema(request=None, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, uid: UUID) -> Response:
        """Ask for it; the job tells when it has been undone. Asking again is the same."""
        job = cancel_job(actor_of(request, door=Door.API), uid)
        address = reverse("api:job-detail", args=[job.pk])
        return Response({"job": job_json(job)}, status=status.HTTP_202_ACCEPTED, headers={"Location": address})


def _job(request: Request, uid: UUID) -> Job:
    row = selectors.jobs(actor_of(request, door=Door.API)).filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such job, or you may not see it."))
    return row


class Me(APIView):
    """Who is asking."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Name and id."""
        user = request.user
        return Response({"id": str(user.pk), "username": user.get_username(), "display_name": str(user)})
