"""Adoption over the API: what was found on providers, taking it into a data center, giving it back."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute.api.vms import ConfirmSerializer, VmSerializer
from compute.choices import FoundMark, VmStatusChoice
from compute.models import FoundVm
from compute.services import adoption
from compute.services.adoption import Adoption, AdoptionPlan
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.paging import ByName
from portal.common.strict import DryRunQuery, SearchQuery, StrictSerializer, StrictString, StrictUuid, checked
from portal.jobs.feed import job_json
from tenants.api.jobs import JobSerializer, StartedSerializer, started
from tenants.models.quota import Dimension
from tenants.tried import audited

WHOSE = "A user name; somebody of a directory, who need not have been here, as `DIRECTORY\\user`. Empty for nobody."


class FoundVmSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    name = serializers.CharField()
    provider = serializers.UUIDField(source="provider_id")
    external_id = serializers.CharField(help_text="Its id on the provider.")
    status = serializers.ChoiceField(choices=VmStatusChoice.choices)
    memory_mib = serializers.IntegerField()
    vcpus = serializers.IntegerField()
    mark = serializers.ChoiceField(
        choices=[("", ""), *FoundMark.choices], help_text="Whose mark keeps it from adoption."
    )
    disk_bytes = serializers.IntegerField(
        allow_null=True, help_text="What its disks promise. null: never asked for, or a disk is gone or cannot be read."
    )
    measured_at = serializers.DateTimeField(allow_null=True, help_text="When its hypervisor was asked for that.")


class ToMeasureSerializer(StrictSerializer):
    machines = serializers.ListField(child=StrictUuid(), max_length=adoption.MOST_AT_ONCE)


class MeasuredSerializer(serializers.Serializer):
    results = FoundVmSerializer(many=True)


class NewAdoptionSerializer(StrictSerializer):
    machines = serializers.ListField(child=StrictUuid(), max_length=adoption.MOST_AT_ONCE)
    data_center = StrictUuid()
    owner = StrictString(default="", allow_blank=True, max_length=150, help_text=WHOSE)


class ForecastSerializer(serializers.Serializer):
    dimension = serializers.ChoiceField(choices=Dimension.choices)
    used = serializers.IntegerField()
    after = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True)


class AdoptionPlanSerializer(serializers.Serializer):
    names = serializers.ListField(child=serializers.CharField(), help_text="The names they get here.")
    unmeasured = serializers.ListField(
        child=serializers.CharField(),
        help_text="Those of whose disks it is not known now what they promise; it is not in the forecast.",
    )
    quota = ForecastSerializer(many=True)
    reasons = ReasonSerializer(many=True)
    possible = serializers.BooleanField()


class AdoptedSerializer(serializers.Serializer):
    vms = VmSerializer(many=True)
    jobs = JobSerializer(many=True)


class UnassignedQuery(SearchQuery):
    """Which machines, and which page of them."""

    provider = StrictUuid(required=False)


class UnassignedVms(ListView):
    """The machines on connected providers that nobody here looks after. For super-admins."""

    queries: ClassVar = {"GET": UnassignedQuery}
    guarded = True
    serializer_class = FoundVmSerializer
    pagination_class = ByName

    def get_queryset(self) -> QuerySet[FoundVm]:
        """Through the policy."""
        if not self.request.user:
            return FoundVm.objects.none()
        asked = {"query": self.query["search"], "provider": self.query.get("provider")}
        return adoption.unassigned(_actor(self.request), **asked)


class Measures(ApiView):
    """What the disks of unassigned machines promise."""

    @extend_schema(request=ToMeasureSerializer, responses=MeasuredSerializer, operation_id="unassigned_vms_measure")
    @audited("VMS_MEASURE", "vm")
    def post(self, request: Request) -> Response:
        """Ask their hypervisors now; one that does not answer leaves it as it was. For super-admins."""
        wanted = checked(ToMeasureSerializer, request.data)["machines"]
        rows = adoption.measure(_actor(request), wanted)
        return Response(MeasuredSerializer({"results": rows}).data)


class Adoptions(ApiView):
    """Machines that are taken into a data center's care."""

    queries: ClassVar = {"POST": DryRunQuery}

    @extend_schema(
        request=NewAdoptionSerializer,
        responses={200: AdoptionPlanSerializer, 202: AdoptedSerializer},
        operation_id="vms_adopt",
    )
    def post(self, request: Request) -> Response:
        """Adopt them, all or none; with ``?dry_run=1`` only tell what it would mean for the quota."""
        data, actor = checked(NewAdoptionSerializer, request.data), _actor(request)
        wish = Adoption(tuple(data["machines"]), data["data_center"], data["owner"])
        wish = adoption.with_owner(actor, wish)
        if self.query["dry_run"] == "1":
            return Response(_plan(adoption.plan_adoption(actor, wish)))
        return answer_once(request, actor, lambda: _adopted(actor, wish))


class VmUnadopt(ApiView):
    """Letting go of an adopted machine."""

    rehearsed = ("POST",)

    @extend_schema(request=ConfirmSerializer, responses={202: StartedSerializer}, operation_id="vms_unadopt")
    def post(self, request: Request, uid: UUID) -> Response:
        """Give it back; it stays on its hypervisor as it is."""
        confirm, actor = checked(ConfirmSerializer, request.data)["confirm"], _actor(request)
        return answer_once(request, actor, lambda: started(adoption.unadopt_vm(actor, uid, confirm=confirm)))


def _adopted(actor: Actor, wish: Adoption) -> Answer:
    taken = adoption.adopt(actor, wish)
    body = {
        "vms": VmSerializer([vm for vm, _job in taken], many=True).data,
        "jobs": [job_json(job) for _vm, job in taken],
    }
    return Answer(status.HTTP_202_ACCEPTED, body, "")


def _plan(plan: AdoptionPlan) -> dict[str, Any]:
    return {
        "names": [one.name for one in plan.candidates],
        "unmeasured": list(plan.unmeasured),
        "quota": ForecastSerializer(plan.quota, many=True).data,
        "reasons": [reason.as_json() for reason in plan.reasons],
        "possible": not plan.reasons,
    }


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
