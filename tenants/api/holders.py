"""Who can do what with an object, over the API: one door for every noun."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from portal.common.actor import Door
from portal.common.api import ApiView
from portal.common.http import actor_of
from portal.common.paging import MOST
from portal.common.strict import PageQuery
from tenants.api.explaining import ScopeSerializer
from tenants.services.explaining import object_of
from tenants.services.holders import Cursor, Holder, holders


class HeldRoleSerializer(serializers.Serializer):
    role = serializers.CharField(help_text="Its codename.")
    role_name = serializers.CharField()
    on = ScopeSerializer()
    assigned = serializers.BooleanField(help_text="Held on a data center that the object is merely assigned to.")
    group = serializers.CharField(help_text="Through which group; empty: held directly.")
    expires_at = serializers.DateTimeField(allow_null=True)


class HolderSerializer(serializers.Serializer):
    kind = serializers.CharField(help_text="`group` or `user`.")
    id = serializers.CharField(allow_null=True, help_text="Of a user; null for a group, which its name tells.")
    name = serializers.CharField(help_text="The user name, or the group's.")
    directory = serializers.CharField(help_text="From which directory a group comes; empty: from none.")
    roles = HeldRoleSerializer(many=True)
    permits = serializers.ListField(child=serializers.CharField(), help_text="What it may do with the object.")


class HoldersSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = HolderSerializer(many=True)


class Holders(ApiView):
    """Who holds a role that means something on an object: groups, then users, with where each role comes from."""

    guarded = True
    queries: ClassVar = {"GET": PageQuery}
    kind: ClassVar[str] = ""

    @extend_schema(responses=HoldersSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """A page of them. For whoever may give roles on it."""
        actor = actor_of(request, door=Door.API)
        target = object_of(actor, f"{self.kind}:{uid}")
        cursor = _cursor_in(self.query.get("cursor", ""))
        page = holders(actor, target, cursor=cursor, size=min(self.query["page_size"], MOST))
        links = {name: _link(request, getattr(page, name)) for name in ("next", "previous")}
        body = links | {"results": [holder_json(each) for each in page.holders]}
        return Response(HoldersSerializer(body).data)


def _cursor_in(text: str) -> Cursor | None:
    found = Cursor.of(text) if text else None
    if text and found is None:
        raise ValidationError({"cursor": [_("This is no cursor of this list. Begin at its first page.")]})
    return found


def _link(request: Request, cursor: str) -> str | None:
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor) if cursor else None


def holder_json(holder: Holder) -> dict[str, Any]:
    """One of them in the API's form."""
    subject: Any = holder.subject
    return {
        "kind": "group" if holder.is_group else "user",
        "id": None if holder.is_group else str(subject.pk),
        "name": subject.name if holder.is_group else subject.username,
        "directory": holder.directory,
        "roles": [
            {
                "role": role.codename,
                "role_name": role.name,
                "on": {"kind": role.scope.kind, "id": role.scope.uid, "name": role.scope.name},
                "assigned": role.assigned,
                "group": role.group,
                "expires_at": role.expires_at,
            }
            for role in holder.roles
        ],
        "permits": [permit.value for permit in holder.permits],
    }
