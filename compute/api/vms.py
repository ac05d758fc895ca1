"""Machines over the API."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute import selectors
from compute.asked import asked_for
from compute.choices import VmStatusChoice
from compute.models import Vm
from compute.services import vms
from compute.services.adoption import set_protected
from compute.services.wishes import VmRequest
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.paging import ByName
from portal.common.strict import (
    DryRunQuery,
    SearchQuery,
    StrictBoolean,
    StrictInteger,
    StrictSerializer,
    StrictString,
    StrictUuid,
    checked,
)
from portal.events.models import Event
from portal.jobs.models import Job
from tenants.api.events import ByTime, EventSerializer
from tenants.api.jobs import JobSerializer, StartedSerializer, started

VERBS = {"run": vms.run_vm, "shut_down": vms.shut_down_vm, "stop": vms.stop_vm, "reboot": vms.reboot_vm}
LONGEST_TEXT = 20000  # the rules say less, and say so better


class AddressSerializer(serializers.Serializer):
    mac = serializers.CharField()
    ip = serializers.IPAddressField()
    source: Any = serializers.CharField(help_text="Who told: `lease` or `agent`.")


class VmSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    owner: Any = serializers.SlugRelatedField(slug_field="username", read_only=True, allow_null=True)
    data_center: Any = serializers.UUIDField(source="data_center_id", read_only=True)
    template: Any = serializers.UUIDField(source="template_here.pk", read_only=True, allow_null=True)
    cluster: Any = serializers.UUIDField(source="cluster_id", read_only=True)
    addresses = AddressSerializer(many=True, read_only=True)

    class Meta:
        model = Vm
        fields = [
            "id",
            "name",
            "description",
            "data_center",
            "template",
            "cluster",
            "owner",
            "status",
            "status_detail",
            "status_at",
            "memory_mib",
            "vcpus",
            "addresses",
            "adopted",
            "protected",
            "created_at",
        ]
        read_only_fields = fields


class ConfirmSerializer(StrictSerializer):
    """What is asked for where others depend on the machine."""

    confirm = StrictString(
        default="",
        allow_blank=True,
        max_length=64,
        help_text="The name of a protected machine, typed by a super-admin.",
    )


class VmEditSerializer(StrictSerializer):
    protected = StrictBoolean()


class DeleteQuery(DryRunQuery):
    """Whether to do it or only to tell, and the name of a protected machine."""

    confirm = StrictString(default="", allow_blank=True, max_length=64)


class NewNicSerializer(StrictSerializer):
    """A network card of the machine to be made."""

    vnic_profile = StrictUuid()


class InitialRunSerializer(StrictSerializer):
    """What the guest is told at its first boot."""

    hostname = StrictString(max_length=63, default="", allow_blank=True)
    user_name = StrictString(max_length=32, default="", allow_blank=True)
    ssh_authorized_keys = serializers.ListField(child=StrictString(max_length=2000), default=list, max_length=10)


class NewVmSerializer(StrictSerializer):
    """The machine to be made; sizes that are left out are the template's."""

    name = StrictString(max_length=LONGEST_TEXT)
    description = StrictString(max_length=LONGEST_TEXT, default="", allow_blank=True)
    data_center = StrictUuid()
    template = StrictUuid()
    memory_mib = StrictInteger(required=False, min_value=1, max_value=2**31 - 1)
    vcpus = StrictInteger(required=False, min_value=1, max_value=32767)
    nics = NewNicSerializer(many=True, required=False, max_length=8)  # type: ignore[call-arg]
    initial_run = InitialRunSerializer(required=False)
    run = StrictBoolean(default=True)
    clone = StrictBoolean(
        default=False, help_text="Whole copies of the template's disks, where the template says that it can."
    )


def wish_of(data: dict[str, Any]) -> VmRequest:
    """As the service takes it."""
    initial, nics = data.get("initial_run", {}), data.get("nics")
    return VmRequest(
        name=data["name"],
        data_center_uid=data["data_center"],
        template_uid=data["template"],
        memory_mib=data.get("memory_mib"),
        vcpus=data.get("vcpus"),
        user_name=initial.get("user_name", ""),
        hostname=initial.get("hostname", ""),
        ssh_authorized_keys=tuple(initial.get("ssh_authorized_keys", ())),
        description=data["description"],
        vnic_profile_uids=None if nics is None else tuple(nic["vnic_profile"] for nic in nics),
        run=data["run"],
        clone=data["clone"],
    )


class StartedVmSerializer(serializers.Serializer):
    vm = VmSerializer()
    job = JobSerializer()


class MeterSerializer(serializers.Serializer):
    dimension = serializers.CharField()
    used = serializers.IntegerField()
    after = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True, help_text="Null: none.")


class PlanSerializer(serializers.Serializer):
    steps = serializers.ListField(child=serializers.CharField())
    quota = MeterSerializer(many=True)
    reasons = ReasonSerializer(many=True, help_text="Why not; empty when it is possible.")
    possible = serializers.BooleanField()


class VmsQuery(SearchQuery):
    """Which machines, and which page of them."""

    search = StrictString(default="", allow_blank=True, max_length=64, help_text="What a name or an address holds.")
    status = serializers.ChoiceField(choices=VmStatusChoice.choices, required=False)
    data_center = StrictUuid(required=False)


class Vms(ListView):
    """The machines one may see."""

    queries: ClassVar = {"GET": VmsQuery, "POST": DryRunQuery}
    serializer_class = VmSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Vm.objects.none()
        asked = {name: self.query[name] for name in ("data_center", "status") if name in self.query}
        return asked_for(selectors.vms(_actor(self.request)), text=self.query["search"], **asked)

    @extend_schema(request=NewVmSerializer, responses={202: StartedVmSerializer, 200: PlanSerializer})
    def post(self, request: Request) -> Response:
        """Make a machine from a template; with ``?dry_run=1`` only tell the plan."""
        actor, wish = _actor(request), wish_of(checked(NewVmSerializer, request.data))
        if self.query["dry_run"] == "1":
            return Response(_plan(vms.plan_create(actor, wish)))
        return answer_once(request, actor, lambda: _made(*vms.create_vm(actor, wish)))


def _made(vm: Vm, job: Job) -> Answer:
    return started(job, vm=VmSerializer(vm).data)


def _plan(plan: vms.Plan) -> dict[str, Any]:
    return {
        "steps": list(plan.steps),
        "quota": [{"dimension": m.dimension, "used": m.used, "after": m.after, "limit": m.limit} for m in plan.quota],
        "reasons": [reason.as_json() for reason in plan.reasons],
        "possible": not plan.reasons,
    }


class VmDetail(ApiView):
    """One machine."""

    rehearsed = ("PATCH",)
    queries: ClassVar = {"DELETE": DeleteQuery}
    versioned = ()

    @extend_schema(responses=VmSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As last observed."""
        return Response(VmSerializer(selectors.get_vm(_actor(request), uid)).data)

    @extend_schema(responses={200: PlanSerializer, 202: StartedSerializer})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Delete it with its disks; with ``?dry_run=1`` only tell the plan."""
        if self.query["dry_run"] == "1":
            return Response(_plan(vms.plan_verb(_actor(request), uid, "delete", confirm=self.query["confirm"])))
        code, body, location = started(vms.delete_vm(_actor(request), uid, confirm=self.query["confirm"]))
        return Response(body, status=code, headers={"Location": location})

    @extend_schema(request=VmEditSerializer, responses=VmSerializer)
    def patch(self, request: Request, uid: UUID) -> Response:
        """Protect it, or no longer. For super-admins."""
        data = checked(VmEditSerializer, request.data)
        return Response(VmSerializer(set_protected(_actor(request), uid, protected=data["protected"])).data)


class VmEvents(ListView):
    """What happened to a machine, for those who may read that."""

    serializer_class = EventSerializer
    pagination_class = ByTime

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Event.objects.none()
        actor = _actor(self.request)
        vm = selectors.get_vm(actor, self.kwargs["uid"])
        return selectors.events_of(actor, vm, selectors.permits_of(actor, vm))


class VmVerb(ApiView):
    """A verb on a machine."""

    queries: ClassVar = {"POST": DryRunQuery}
    verb = "run"

    @extend_schema(request=ConfirmSerializer, responses={200: PlanSerializer, 202: StartedSerializer})
    def post(self, request: Request, uid: UUID) -> Response:
        """Start the job that does it; with ``?dry_run=1`` only tell the plan."""
        confirm, actor = checked(ConfirmSerializer, request.data)["confirm"], _actor(request)
        if self.query["dry_run"] == "1":
            return Response(_plan(vms.plan_verb(actor, uid, self.verb, confirm=confirm)))
        return answer_once(request, actor, lambda: started(VERBS[self.verb](actor, uid, confirm=confirm)))


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
