"""Clusters over the API: hosts among which machines may move, made of hosts of several providers by super-admins."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute import health, selectors
from compute.models import Cluster
from compute.services import clusters as services
from compute.services.clusters import MOST_HOSTS, ClusterEdit, ClusterPlan, ClusterView
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.paging import ByName
from portal.common.strict import (
    DryRunQuery,
    PageQuery,
    StrictInteger,
    StrictSerializer,
    StrictString,
    StrictUuid,
    checked,
)
from portal.common.versions import etag, version_in
from tenants.api.zones import ListOfZones, OfZone, zones_for


class ClusterSerializer(OfZone, serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    zone = serializers.CharField(
        source="zone.name",
        default="",
        help_text="Of an engine's cluster, for those who may see providers; it reaches what is in the same zone.",
    )

    is_stale = serializers.BooleanField(
        help_text="A provider of its hosts is silent: what they have is as it was last seen."
    )

    class Meta:
        model = Cluster
        fields = ["id", "name", "provider", "zone", "version", "is_gone", "is_stale", "memory_overcommit_percent"]
        read_only_fields = fields


class ClusterProblemSerializer(serializers.Serializer):
    code = serializers.CharField(help_text="Stable.")
    text = serializers.CharField(help_text="With the names of the hosts.")
    remedy = serializers.CharField()


class MemorySerializer(serializers.Serializer):
    physical_mib = serializers.IntegerField(help_text="What the hosts have.")
    effective_mib = serializers.IntegerField(help_text="What running machines may be given of it in all.")
    running_mib = serializers.IntegerField(help_text="What those that run were given.")


class ClusterDetailSerializer(ClusterSerializer):
    hosts = serializers.ListField(child=serializers.UUIDField())
    memory = MemorySerializer()
    problems = ClusterProblemSerializer(many=True, allow_null=True, help_text="null: not for you to see.")

    class Meta(ClusterSerializer.Meta):
        fields = [*ClusterSerializer.Meta.fields, "hosts", "memory", "problems"]
        read_only_fields = fields


class NewClusterSerializer(StrictSerializer):
    name = StrictString(max_length=200)
    hosts = serializers.ListField(child=StrictUuid(), max_length=MOST_HOSTS)
    memory_overcommit_percent = StrictInteger(required=False)


class ClusterEditSerializer(StrictSerializer):
    """What is left out stays as it is."""

    name = StrictString(required=False, max_length=200)
    hosts = serializers.ListField(child=StrictUuid(), max_length=MOST_HOSTS, required=False)
    memory_overcommit_percent = StrictInteger(required=False)


class ClusterPlanSerializer(serializers.Serializer):
    possible = serializers.BooleanField()
    reasons = ReasonSerializer(many=True)
    problems = ClusterProblemSerializer(many=True, help_text="What would not work among these hosts.")
    data_centers = serializers.ListField(
        child=serializers.CharField(), help_text="Whose machines could run on all its hosts then."
    )


class Clusters(ListOfZones, ListView):
    """The clusters one may see."""

    queries: ClassVar = {"GET": PageQuery, "POST": DryRunQuery}
    serializer_class = ClusterSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Cluster.objects.none()
        return health.clusters_told(selectors.clusters(_actor(self.request)))

    @extend_schema(
        request=NewClusterSerializer,
        responses={200: ClusterPlanSerializer, 201: ClusterDetailSerializer},
        operation_id="clusters_create",
    )
    def post(self, request: Request) -> Response:
        """Make one of hosts of several providers; with ``?dry_run=1`` only tell what would come of it. For super-admins."""
        actor, edit = _actor(request), ClusterEdit(**checked(NewClusterSerializer, request.data))
        if self.query["dry_run"] == "1":
            return Response(_plan(services.plan_cluster(actor, edit)))

        def work() -> Answer:
            row = services.create_cluster(actor, edit)
            return Answer(status.HTTP_201_CREATED, _body(actor, row.pk), reverse("api:cluster", args=[row.pk]))

        return answer_once(request, actor, work)


class ClusterDetail(ApiView):
    """One cluster."""

    queries: ClassVar = {"PATCH": DryRunQuery}

    @extend_schema(responses=ClusterDetailSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it is; ``ETag`` is the version of what can be edited."""
        return _answer(_actor(request), uid)

    @extend_schema(
        request=ClusterEditSerializer,
        responses={200: ClusterDetailSerializer},
        parameters=[OpenApiParameter("If-Match", str, "header", description="The version that was looked at.")],
    )
    def patch(self, request: Request, uid: UUID) -> Response:
        """Change it, unless somebody else did meanwhile (412, with ``If-Match``). With ``?dry_run=1`` the answer is a plan."""
        data, actor = checked(ClusterEditSerializer, request.data), _actor(request)
        edit = ClusterEdit(**data, version=version_in(request.headers.get("If-Match", "")))
        if self.query["dry_run"] == "1":
            return Response(_plan(services.plan_cluster(actor, edit, uid)))
        services.edit_cluster(actor, uid, edit)
        return _answer(actor, uid)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Dissolve it, unless machines or data centers depend on it (409 with these)."""
        services.remove_cluster(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _answer(actor: Actor, uid: UUID) -> Response:
    version = services.cluster_version(selectors.get_cluster(actor, uid))
    return Response(_body(actor, uid), headers={"ETag": etag(version)})


def _body(actor: Actor, uid: UUID) -> dict[str, Any]:
    view: ClusterView = services.look_at_cluster(actor, uid)
    row = view.cluster
    shown = {
        "uid": row.pk,
        "name": row.name,
        "provider": row.provider,
        "zone": row.zone,
        "version": row.version,
        "is_gone": row.is_gone,
        "is_stale": view.is_stale,
        "memory_overcommit_percent": row.memory_overcommit_percent,
        "hosts": [host.pk for host in view.hosts],
        "memory": view.memory,
        "problems": view.problems,
    }
    body: dict[str, Any] = ClusterDetailSerializer(shown, context=zones_for(actor)).data
    return body


def _plan(plan: ClusterPlan) -> dict[str, Any]:
    return {
        "possible": not plan.reasons,
        "reasons": [reason.as_json() for reason in plan.reasons],
        "problems": ClusterProblemSerializer(plan.problems, many=True).data,
        "data_centers": list(plan.data_centers),
    }


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
