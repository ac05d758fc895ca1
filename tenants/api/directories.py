"""Directories over the API, for super-admins. No answer holds a password."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_asked, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.rehearsal import rehearsal_of
from portal.common.strict import Empty, StrictBoolean, StrictInteger, StrictSerializer, StrictString, checked
from portal.common.versions import etag, version_in
from tenants.directory.diagnosis import Told
from tenants.models import Directory, DirectoryKind
from tenants.services import directories as services
from tenants.services import directory_groups as groups
from tenants.services import simulation
from tenants.services.directories import DirectoryValues
from tenants.sync import MOST_LOOKED_AT, Plan
from tenants.tried import audited

LONGEST_PEM = 40_000
LONGEST_LOOK = 11 * MOST_LOOKED_AT


class DirectorySerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    urls = serializers.ListField(child=serializers.CharField())
    domains = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Directory
        fields = [
            "id", "name", "kind", "urls", "starts_tls", "ca_pem", "bind_dn", "base_dn", "group_base_dn", "domains",
            "login_attribute", "is_default", "brake_percent", "enabled", "synced_at", "sync_error", "held_people", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class DirectoryEditSerializer(StrictSerializer):
    """What is left out stays as it is; the directory is tried anew before the way to it changes."""

    name = StrictString(required=False, max_length=200)
    kind = serializers.ChoiceField(required=False, choices=DirectoryKind.choices)
    urls = serializers.ListField(
        required=False,
        child=StrictString(max_length=300),
        max_length=20,
        help_text="`ldaps://`, or `ldap://` with StartTLS.",
    )
    starts_tls = StrictBoolean(required=False)
    ca_pem = StrictString(required=False, max_length=LONGEST_PEM, allow_blank=True)
    bind_dn = StrictString(required=False, max_length=512)
    password = StrictString(required=False, max_length=1024, help_text="Write-only; sealed, and never answered again.")
    base_dn = StrictString(required=False, max_length=512)
    group_base_dn = StrictString(required=False, max_length=512, allow_blank=True)
    domains = serializers.ListField(required=False, child=StrictString(max_length=253), max_length=50)
    login_attribute = StrictString(required=False, max_length=64, allow_blank=True)
    is_default = StrictBoolean(required=False)
    brake_percent = StrictInteger(required=False, min_value=1, max_value=100)
    enabled = StrictBoolean(required=False)


class NewDirectorySerializer(DirectoryEditSerializer):
    name = StrictString(max_length=200)
    kind = serializers.ChoiceField(choices=DirectoryKind.choices)
    urls = serializers.ListField(child=StrictString(max_length=300), max_length=20)
    bind_dn = StrictString(max_length=512)
    password = StrictString(max_length=1024)
    base_dn = StrictString(max_length=512)
    enabled = None  # type: ignore[assignment]


class DirectoryStepSerializer(serializers.Serializer):
    step = serializers.CharField()
    title = serializers.CharField(help_text="For people, in their language.")
    status = serializers.CharField(help_text="`ok`, `warning` or `failed`.")
    code = serializers.CharField(help_text="Stable; empty where all is well.")
    text = serializers.CharField()
    remedy = serializers.CharField()


class DirectoryTrialSerializer(serializers.Serializer):
    reached = serializers.BooleanField()
    steps = DirectoryStepSerializer(many=True)


class WouldHoldSerializer(serializers.Serializer):
    role = serializers.CharField()
    role_name = serializers.CharField()
    kind = serializers.CharField()
    id = serializers.UUIDField(source="uid")
    name = serializers.CharField()
    group = serializers.CharField(help_text="The group by which; empty: given to the person.")


class GroupRolesSerializer(serializers.Serializer):
    group = serializers.CharField()
    roles = WouldHoldSerializer(many=True)


class ChangeSerializer(serializers.Serializer):
    user = serializers.UUIDField(source="user.pk")
    username = serializers.CharField(source="user.username")
    kept_out = serializers.CharField(help_text="Why from now on; empty: let in.")
    left = serializers.ListField(source="moves.left", child=serializers.CharField())
    joined = serializers.ListField(source="moves.joined", child=serializers.CharField())


class SyncPlanSerializer(serializers.Serializer):
    looked_at = serializers.IntegerField()
    losing = serializers.IntegerField()
    is_held = serializers.BooleanField()
    look = serializers.CharField(help_text="What it takes, to be given back to have no more than that taken.")
    changes = ChangeSerializer(many=True)
    groups = GroupRolesSerializer(many=True, help_text="What each group that somebody leaves or joins holds.")


class ReleaseSerializer(StrictSerializer):
    look = StrictString(
        required=False,
        allow_blank=True,
        max_length=LONGEST_LOOK,
        help_text="As the preview told it; left out: whatever the directory says now is done.",
    )


class UsernameSerializer(StrictSerializer):
    username = StrictString(max_length=150)


class InGroupSerializer(serializers.Serializer):
    name = serializers.CharField(source="group.name")
    dn = serializers.CharField(source="group.dn")
    way = serializers.ListField(
        child=serializers.CharField(),
        help_text="The groups from the person's own to this one, by name; empty where it was not asked.",
    )


class WouldSeeSerializer(serializers.Serializer):
    kind = serializers.CharField()
    count = serializers.IntegerField()


class SimulationSerializer(serializers.Serializer):
    name = serializers.CharField()
    display_name = serializers.CharField()
    email = serializers.CharField()
    guid = serializers.CharField()
    kept_out = serializers.CharField()
    why = serializers.CharField(help_text="Why the log-in would be refused, in words; empty when it would not.")
    is_disabled = serializers.BooleanField(source="here.is_disabled", help_text="A super-admin disabled the account.")
    owes_code = serializers.BooleanField(source="here.owes_code", help_text="A role of it asks for a second factor.")
    groups = InGroupSerializer(many=True)
    roles = WouldHoldSerializer(source="here.roles", many=True)
    sees = WouldSeeSerializer(source="here.seen", many=True)


class Directories(ListView):
    """The directories, for those who manage users and the system."""

    guarded = True
    rehearsed = asks_first = ("POST",)
    serializer_class = DirectorySerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """All of them, or 403."""
        if not self.request.user:
            return Directory.objects.none()
        groups.authorize_directories(_actor(self.request))
        return Directory.objects.all()

    @extend_schema(
        request=NewDirectorySerializer, responses={201: DirectorySerializer}, operation_id="directories_create"
    )
    @audited("DIRECTORY_CONNECT", "directory")
    def post(self, request: Request) -> Response:
        """Connect one. It is tried first; when that fails nothing is stored (409 with the step that failed)."""
        data, actor = checked(NewDirectorySerializer, request.data), _actor(request)
        values = DirectoryValues(**_tuples(data))
        steps = services.try_directory(actor, values)  # before the transaction that holds the key

        def work() -> Answer:
            row = services.store_tried(actor, values, steps)
            where = reverse("api:directory", args=[row.pk])
            return Answer(status.HTTP_201_CREATED, DirectorySerializer(row).data, where)

        return answer_asked(self, request, actor, work)


class DirectoryTry(ApiView):
    """A directory that is not connected yet."""

    @extend_schema(request=NewDirectorySerializer, responses=DirectoryTrialSerializer, operation_id="directories_try")
    @audited("DIRECTORY_TEST", "directory")
    def post(self, request: Request) -> Response:
        """Try to reach it, step by step. Nothing is stored."""
        values = DirectoryValues(**_tuples(checked(NewDirectorySerializer, request.data)))
        return _trial(services.try_directory(_actor(request), values))


class DirectoryDetail(ApiView):
    """One directory."""

    guarded = True
    rehearsed: ClassVar = ("PATCH", "DELETE")
    asks_first = ("PATCH",)

    @extend_schema(responses=DirectorySerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it is; ``ETag`` is the version of what can be edited."""
        return _answer(groups.get_directory(_actor(request), uid))

    @extend_schema(
        request=DirectoryEditSerializer,
        responses={200: DirectorySerializer},
        parameters=[OpenApiParameter("If-Match", str, "header", description="The version that was looked at.")],
    )
    @audited("DIRECTORY_EDIT", "directory")
    def patch(self, request: Request, uid: UUID) -> Response:
        """Change it; with ``If-Match``, unless somebody else did meanwhile (412)."""
        data, actor = checked(DirectoryEditSerializer, request.data), _actor(request)
        row = groups.get_directory(actor, uid)
        enabled = data.pop("enabled", None)
        values = replace(services.values_of(row), **_tuples(data))
        steps = services.try_edit(actor, uid, values)

        def work() -> Response:
            version = version_in(request.headers.get("If-Match", ""))
            row = services.store_edit(actor, uid, values, steps, version=version)
            if enabled is not None:
                row = services.set_directory_enabled(actor, uid, enabled=enabled)
            return _answer(row)

        return rehearsal_of(lambda: work().data) if self.is_dry_run else work()

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Remove it, unless somebody came from it (409). In the directory nothing changes."""
        services.remove_directory(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DirectoryTest(ApiView):
    """A directory, tried as it is connected."""

    @extend_schema(request=Empty, responses=DirectoryTrialSerializer, operation_id="directories_test")
    @audited("DIRECTORY_TEST", "directory")
    def post(self, request: Request, uid: UUID) -> Response:
        """Try it, step by step."""
        checked(Empty, request.data)
        actor = _actor(request)
        values = services.values_of(groups.get_directory(actor, uid))
        return _trial(services.try_directory(actor, values, uid=uid))


class DirectorySync(ApiView):
    """What the directory says now of those who are signed in."""

    guarded = True
    rehearsed = asks_first = ("POST",)

    @extend_schema(responses=SyncPlanSerializer, operation_id="directories_sync_preview")
    def get(self, request: Request, uid: UUID) -> Response:
        """What a sync would change. Nothing is changed."""
        return _plan(services.preview_sync(_actor(request), uid))

    @extend_schema(request=ReleaseSerializer, responses=SyncPlanSerializer, operation_id="directories_sync")
    @audited("DIRECTORY_RELEASE", "directory")
    def post(self, request: Request, uid: UUID) -> Response:
        """Do it now, past the brake; with ``look``, unless more or other things would be taken than were looked at (412)."""
        look, actor = checked(ReleaseSerializer, request.data).get("look"), _actor(request)
        if self.is_dry_run:
            would = _plan(services.preview_release(actor, uid, look=look)).data
            return rehearsal_of(lambda: would)
        plan = services.read_release(actor, uid)

        def work() -> Answer:
            return Answer(status.HTTP_200_OK, _plan(services.release_read(actor, uid, plan, look=look)).data, "")

        return answer_once(request, actor, work)


class DirectorySimulate(ApiView):
    """A log-in without a password."""

    @extend_schema(request=UsernameSerializer, responses=SimulationSerializer, operation_id="directories_simulate")
    def post(self, request: Request, uid: UUID) -> Response:
        """Who that name is there, whether he would be let in, by which groups with which roles, and what he would see."""
        username = checked(UsernameSerializer, request.data)["username"]
        return Response(SimulationSerializer(simulation.simulate_login(_actor(request), uid, username)).data)


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}


def _answer(row: Directory) -> Response:
    return Response(DirectorySerializer(row).data, headers={"ETag": etag(services.directory_version(row))})


def _trial(steps: tuple[Told, ...]) -> Response:
    return Response(DirectoryTrialSerializer({"reached": steps[-1].status != "failed", "steps": steps}).data)


def _plan(plan: Plan) -> Response:
    moved = {group for change in plan.changes for group in (*change.moves.left, *change.moves.joined)}
    held = simulation.roles_of_groups({group.group_id for group in moved})
    named = sorted(moved, key=lambda group: group.name)
    groups = [{"group": group.name, "roles": held.get(group.group_id, [])} for group in named]
    body = {name: getattr(plan, name) for name in ("looked_at", "losing", "is_held", "look", "changes")}
    return Response(SyncPlanSerializer(body | {"groups": groups}).data)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
