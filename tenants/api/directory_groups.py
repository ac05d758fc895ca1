"""The groups of directories over the API, for super-admins: which are there, which hold which roles on what, giving and taking."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, answer_asked
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.strict import QueryNumber, StrictSerializer, StrictString, checked
from tenants.services import directory_groups as groups
from tenants.tried import audited


class MappedOnSerializer(serializers.Serializer):
    kind = serializers.CharField(source="kind.name")
    id = serializers.UUIDField(source="target.pk")
    name = serializers.CharField(source="target")


class MappingSerializer(serializers.Serializer):
    group = serializers.UUIDField(source="group.pk")
    name = serializers.CharField(source="group.name")
    role = serializers.CharField()
    on = MappedOnSerializer(source="*")
    target = serializers.CharField(source="place", help_text="The object as it is written here.")
    expires_at = serializers.DateTimeField(allow_null=True, help_text="Null: no end.")


class MappingsSerializer(serializers.Serializer):
    mappings = MappingSerializer(many=True)
    next = serializers.IntegerField(
        allow_null=True, help_text="Where to `start` for those after these; null: these are all."
    )


class MappedSerializer(serializers.Serializer):
    mappings = MappingSerializer(many=True, help_text="The first of them.")
    dn = serializers.CharField(help_text="Where the group is in the directory.")


class NewMappingSerializer(StrictSerializer):
    """What was given before gets the end that is said now."""

    group = StrictString(max_length=512, help_text="The group's name in the directory, or its DN.")
    role = StrictString(max_length=64)
    target = StrictString(
        max_length=64, help_text="A data center's id, `system`, or another object as `kind:id`, such as `vm:<id>`."
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="When it ends; null: never."
    )


class StartQuery(StrictSerializer):
    """Where in the list to begin."""

    start = QueryNumber(default=0, min_value=0, max_value=1_000_000)


class FoundGroupSerializer(serializers.Serializer):
    guid = serializers.CharField(source="group.guid")
    name = serializers.CharField(source="group.name")
    dn = serializers.CharField(source="group.dn")


class FoundGroupsSerializer(serializers.Serializer):
    groups = FoundGroupSerializer(many=True)
    more = serializers.BooleanField(help_text="There are others, which a longer text would tell apart.")


class FindQuery(StrictSerializer):
    """What a name is to hold."""

    name = StrictString(min_length=2, max_length=256)


class DirectoryGroups(ApiView):
    """Which of a directory's groups hold which roles, on objects of any kind."""

    guarded = True
    queries: ClassVar = {"GET": StartQuery}
    rehearsed = asks_first = ("POST",)

    @extend_schema(responses=MappingsSerializer, parameters=[StartQuery])
    def get(self, request: Request, uid: UUID) -> Response:
        """By group, some at a time."""
        start = self.query["start"]
        found = groups.mappings(_actor(request), uid, start=start)
        last = start + groups.PER_PAGE if len(found) > groups.PER_PAGE else None
        return Response(MappingsSerializer({"mappings": found[: groups.PER_PAGE], "next": last}).data)

    @extend_schema(request=NewMappingSerializer, responses={201: MappedSerializer})
    @audited("GROUP_MAP", "directory")
    def post(self, request: Request, uid: UUID) -> Response:
        """Give a group a role; again is nothing new. The directory is asked for the group (503 when it is down)."""
        data, actor = checked(NewMappingSerializer, request.data), _actor(request)
        groups.get_directory(actor, uid)
        given = {"role": data["role"], "target": groups.place(actor, data["target"]), "expires_at": data["expires_at"]}
        found = groups.find_group(actor, uid, data["group"])

        def work() -> Answer:
            mapped = groups.map_found(actor, uid, found, **given)
            answer = {"mappings": groups.mappings(actor, uid)[: groups.PER_PAGE], "dn": mapped.dn}
            return Answer(status.HTTP_201_CREATED, MappedSerializer(answer).data, "")

        return answer_asked(self, request, actor, work)


class FoundGroups(ApiView):
    """The groups that a directory has."""

    guarded = True
    queries: ClassVar = {"GET": FindQuery}

    @extend_schema(responses=FoundGroupsSerializer, parameters=[FindQuery], operation_id="directories_find_groups")
    def get(self, request: Request, uid: UUID) -> Response:
        """Those whose names hold a text, twenty at most. The directory is asked (503 when it is down)."""
        return Response(FoundGroupsSerializer(groups.find_groups(_actor(request), uid, self.query["name"])).data)


class DirectoryGroupRole(ApiView):
    """A role that a directory's group holds."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None})
    @audited("GROUP_UNMAP", "directory")
    def delete(self, request: Request, uid: UUID, group: UUID, role: str, target: str) -> Response:
        """Take it back; ``target`` is a data center's id, ``system``, or another object as ``kind:id``."""
        actor = _actor(request)
        groups.get_directory(actor, uid)
        groups.unmap_group(actor, uid, group, role=role, target=groups.place(actor, target))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
