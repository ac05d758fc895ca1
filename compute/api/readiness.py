"""Readiness over the API."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.choices import CheckStatus
from compute.services import readiness as services
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, answer_once
from portal.common.http import actor_of
from portal.common.strict import Empty, checked
from tenants.api.jobs import StartedSerializer, started


class CheckSerializer(serializers.Serializer):
    check = serializers.CharField(source="step", help_text="Stable.")
    title = serializers.CharField(help_text="For people, in their language.")
    status = serializers.ChoiceField(choices=CheckStatus.choices)
    code = serializers.CharField(help_text="Stable; empty where all is well.")
    text = serializers.CharField()
    remedy = serializers.CharField(help_text="What helps.")
    details = serializers.DictField(child=serializers.CharField(), source="data")


class ProviderReadinessSerializer(serializers.Serializer):
    provider = serializers.UUIDField(allow_null=True, help_text="null: the portal itself.")
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=CheckStatus.choices, help_text="The worst of it.")
    checked_at = serializers.DateTimeField(allow_null=True, help_text="null: nobody has looked yet.")
    checks = CheckSerializer(many=True)


class ReadinessSerializer(serializers.Serializer):
    portal = ProviderReadinessSerializer(help_text="What the portal itself uses, port by port.")
    providers = ProviderReadinessSerializer(many=True)


class Readiness(ApiView):
    """Whether the providers and their hosts are ready for machines. For super-admins."""

    guarded = True

    @extend_schema(responses=ReadinessSerializer, operation_id="readiness")
    def get(self, request: Request) -> Response:
        """What the last look found."""
        actor = _actor(request)
        found = {"portal": services.portal_readiness(actor), "providers": services.readiness(actor)}
        return Response(ReadinessSerializer(found).data)

    @extend_schema(request=Empty, responses={202: StartedSerializer}, operation_id="readiness_check")
    def post(self, request: Request) -> Response:
        """Look again, by a job; 409 names the one that is at it already."""
        checked(Empty, request.data)
        actor = _actor(request)
        return answer_once(request, actor, lambda: started(services.check_readiness(actor)))


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
