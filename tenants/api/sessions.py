"""Log-ins of browsers over the API: seeing them, and ending them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView
from portal.common.browsers import browser_name
from portal.common.http import actor_of
from portal.common.models import Session
from portal.common.paging import NewestFirst
from tenants.services import sessions, users
from tenants.tried import audited


class SessionSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    browser = serializers.SerializerMethodField(help_text="In a few words.")
    user_agent = serializers.CharField(source="browser", help_text="What the browser calls itself.")
    present = serializers.SerializerMethodField(help_text="Whether it is the one by which this is asked.")

    class Meta:
        model = Session
        fields = ["id", "started_at", "seen_at", "client_address", "browser", "user_agent", "present"]
        read_only_fields = fields

    def get_browser(self, row: Session) -> str:
        """As the pages show it."""
        return browser_name(row.browser)

    def get_present(self, row: Session) -> bool:
        """As the pages mark it."""
        return sessions.is_present(_actor(self.context["request"]), row)


class ByStart(NewestFirst):
    """The newest log-in first."""

    field = "started_at"


class Sessions(ListView):
    """One's own log-ins of browsers."""

    rehearsed = ("DELETE",)
    guarded = True
    serializer_class = SessionSerializer
    pagination_class = ByStart

    def get_queryset(self) -> QuerySet[Session]:
        """Own ones only."""
        if not self.request.user:
            return Session.objects.none()
        return sessions.sessions_of(_actor(self.request), _actor(self.request).user)

    @extend_schema(responses={204: None}, operation_id="sessions_end")
    def delete(self, request: Request) -> Response:
        """End all of them but the one by which this is asked; pages and consoles that lived by one end with it."""
        sessions.end_sessions(_actor(request), _actor(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionDetail(ApiView):
    """One of one's own log-ins."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """End it."""
        sessions.end_session(_actor(request), _actor(request).user, uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


class UserSessions(ListView):
    """The log-ins of a person, for super-admins."""

    rehearsed = ("DELETE",)
    guarded = True
    serializer_class = SessionSerializer
    pagination_class = ByStart

    def get_queryset(self) -> QuerySet[Session]:
        """Through the policy."""
        if not self.request.user:
            return Session.objects.none()
        actor = _actor(self.request)
        return sessions.sessions_of(actor, users.get_user(actor, self.kwargs["uid"]))

    @extend_schema(responses={204: None}, operation_id="users_sessions_end")
    @audited("SESSION_END", "user")
    def delete(self, request: Request, uid: UUID) -> Response:
        """End all of them."""
        sessions.end_sessions(_actor(request), users.get_user(_actor(request), uid))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _actor(request: Any) -> Actor:
    return actor_of(request, door=Door.API)
