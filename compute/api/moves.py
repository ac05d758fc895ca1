"""Moving a machine to another data center, over the API."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute.api.adoption import WHOSE, ForecastSerializer
from compute.api.vms import VmSerializer
from compute.services import moves
from compute.services.moves import Move, MovePlan
from portal.common.actor import Door
from portal.common.api import ApiView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.strict import DryRunQuery, StrictBoolean, StrictSerializer, StrictString, StrictUuid, checked


class NewMoveSerializer(StrictSerializer):
    data_center = StrictUuid(help_text="The one that it comes into.")
    owner = StrictString(default="", allow_blank=True, max_length=150, help_text=WHOSE)
    despite_unknown = StrictBoolean(
        default=False, help_text="Of an adopted machine: the data center may use its storage and its networks."
    )


class EndingShareSerializer(serializers.Serializer):
    role = serializers.CharField()
    user = serializers.CharField(required=False, help_text="A user name; or:")
    group = serializers.CharField(required=False)


class MovePlanSerializer(serializers.Serializer):
    name = serializers.CharField(help_text="The name it gets there.")
    released = ForecastSerializer(many=True, help_text="The quota of the data center that it leaves.")
    charged = ForecastSerializer(many=True, help_text="The quota of the one that it comes into.")
    ending = EndingShareSerializer(many=True, help_text="The roles on the machine itself that end.")
    reasons = ReasonSerializer(many=True)
    possible = serializers.BooleanField()


class VmMove(ApiView):
    """A machine's way into another data center."""

    queries: ClassVar = {"POST": DryRunQuery}

    @extend_schema(
        request=NewMoveSerializer,
        responses={
            200: PolymorphicProxySerializer(
                "VmOrMovePlan", [VmSerializer, MovePlanSerializer], resource_type_field_name=None
            )
        },
        operation_id="vms_move",
    )
    def post(self, request: Request, uid: UUID) -> Response:
        """Move it, for super-admins; with ``?dry_run=1`` only tell what that would mean."""
        data, actor = checked(NewMoveSerializer, request.data), actor_of(request, door=Door.API)
        wanted = Move(data["data_center"], data["owner"], data["despite_unknown"])
        move = moves.with_owner(actor, uid, wanted)
        if self.query["dry_run"] == "1":
            return Response(_plan(moves.plan_move(actor, uid, move)))

        def work() -> Answer:
            return Answer(status.HTTP_200_OK, dict(VmSerializer(moves.move_vm(actor, uid, move)).data), "")

        return answer_once(request, actor, work)


def _plan(plan: MovePlan) -> dict[str, Any]:
    ending = [{"role": share.role, "group" if share.is_group else "user": share.name} for share in plan.ending]
    return {
        "name": plan.name,
        "released": ForecastSerializer(plan.released, many=True).data,
        "charged": ForecastSerializer(plan.charged, many=True).data,
        "ending": ending,
        "reasons": [reason.as_json() for reason in plan.reasons],
        "possible": not plan.reasons,
    }
