"""Machines and templates over the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from compute import selectors
from compute.models import Template, Vm
from compute.services import vms
from portal.common.actor import Actor, Door
from portal.common.api import ByName
from portal.common.http import actor_of
from portal.common.idempotency import Answer, once
from portal.jobs.feed import job_json
from portal.jobs.models import Job

VERBS = {"run": vms.run_vm, "shut_down": vms.shut_down_vm, "stop": vms.stop_vm, "reboot": vms.reboot_vm}


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)


class VmSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    owner: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Vm
        fields = [
            "id",
            "name",
            "description",
            "data_center",
            "template",
            "owner",
            "status",
            "status_detail",
            "status_at",
            "memory_mib",
            "vcpus",
            "addresses",
            "created_at",
        ]
        read_only_fields = fields


class TemplateSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)

    class Meta:
        model = Template
        fields = [
            "id",
            "name",
            "description",
            "status",
            "disk_gib",
            "memory_mib",
            "memory_min_mib",
            "vcpus",
            "has_agent",
            "has_cloud_init",
            "has_serial_console",
        ]
        read_only_fields = fields


class StrictSerializer(serializers.Serializer):
    """Refuses fields it does not know, by name, and strings where numbers belong."""

    def to_internal_value(self, data: Any) -> Any:
        """Everything asked for is either understood or refused."""
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            raise serializers.ValidationError({name: ["This field is not known here."] for name in sorted(unknown)})
        return super().to_internal_value(data)


class StrictInteger(serializers.IntegerField):
    """A whole JSON number, not a string or a truth value."""

    def to_internal_value(self, data: Any) -> int:
        """The number; anything else is refused."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class NicRequestSerializer(StrictSerializer):
    vnic_profile = serializers.UUIDField()


class InitialRunSerializer(StrictSerializer):
    hostname = serializers.CharField(max_length=63, required=False, default="", allow_blank=True, trim_whitespace=False)
    user_name = serializers.CharField(
        max_length=32, required=False, default="", allow_blank=True, trim_whitespace=False
    )
    ssh_authorized_keys = serializers.ListField(
        child=serializers.CharField(max_length=2000, trim_whitespace=False), required=False, default=list, max_length=10
    )


class VmRequestSerializer(StrictSerializer):
    name = serializers.CharField(max_length=20000, trim_whitespace=False)
    description = serializers.CharField(
        max_length=20000, required=False, default="", allow_blank=True, trim_whitespace=False
    )
    data_center = serializers.UUIDField()
    template = serializers.UUIDField()
    memory_mib = StrictInteger(required=False, min_value=1, max_value=2**31 - 1)
    vcpus = StrictInteger(required=False, min_value=1, max_value=32767)
    nics = NicRequestSerializer(many=True, required=False, max_length=8)  # type: ignore[call-arg]
    initial_run = InitialRunSerializer(required=False)
    run = serializers.BooleanField(default=True)

    def wish(self) -> vms.VmRequest:
        """As the service takes it."""
        data = self.validated_data
        initial = data.get("initial_run", {})
        nics = data.get("nics")
        return vms.VmRequest(
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
        )


def _answer(vm: Vm | None, job: Job) -> Answer:
    body: dict[str, Any] = {"job": job_json(job)}
    if vm is not None:
        body["vm"] = {
            key: (
                str(value)
                if value is not None and key in {"id", "data_center", "template", "status_at", "created_at"}
                else value
            )
            for key, value in VmSerializer(vm).data.items()
        }
    return Answer(status.HTTP_202_ACCEPTED, body, reverse("api:job-detail", args=[job.pk]))


def _once(request: Request, work: Callable[[], Answer]) -> Response:
    key = request.headers.get("Idempotency-Key", "")
    fingerprint = {"path": request.path, "body": request.data}
    (code, body, location), repeated = once(_actor(request).user.pk, key, fingerprint, work)
    response = Response(body, status=code, headers={"Location": location})
    if repeated:
        response["Idempotent-Replay"] = "true"
    return response


class Vms(generics.ListAPIView):
    """The machines one may see."""

    serializer_class = VmSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.vms(_actor(self.request)) if self.request.user else Vm.objects.none()

    @extend_schema(request=VmRequestSerializer, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        """Make a machine from a template; with ``?dry_run=1`` only tell the plan."""
        form = VmRequestSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        actor, wish = _actor(request), form.wish()
        if request.query_params.get("dry_run") == "1":
            return Response(_plan(vms.plan_create(actor, wish)))
        return _once(request, lambda: _answer(*vms.create_vm(actor, wish)))


def _plan(plan: vms.Plan) -> dict[str, Any]:
    return {
        "steps": list(plan.steps),
        "quota": [{"dimension": m.dimension, "used": m.used, "after": m.after, "limit": m.limit} for m in plan.quota],
        "reasons": [reason.as_json() for reason in plan.reasons],
        "possible": not plan.reasons,
    }


class VmDetail(APIView):
    """One machine."""

    @extend_schema(responses=VmSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As last observed."""
        return Response(VmSerializer(selectors.get_vm(_actor(request), uid)).data)

    @extend_schema(responses={202: OpenApiTypes.OBJECT})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Delete it with its disks."""
        code, body, location = _answer(None, vms.delete_vm(_actor(request), uid))
        return Response(body, status=code, headers={"Location": location})


class VmVerb(APIView):
    """A verb on a machine."""

    @extend_schema(request=None, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, uid: UUID, verb: str) -> Response:
        """Start the job that does it."""
        return _once(request, lambda: _answer(None, VERBS[verb](_actor(request), uid)))


class Templates(generics.ListAPIView):
    """The templates one may make machines from."""

    serializer_class = TemplateSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.usable_templates(_actor(self.request)) if self.request.user else Template.objects.none()
