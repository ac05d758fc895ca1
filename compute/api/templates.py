"""Templates over the API."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute import rules, selectors
from compute.assigned import users_seen, with_users
from compute.models import StorageDomain, Template
from compute.services import templates
from compute.services.template_copies import CopyRequest, Offer, get_offer, template_of_machine, template_of_volume
from compute.services.template_rows import TemplateTraits
from compute.services.templates import NewTemplate, TemplateEdit
from compute.services.volume_offers import template_of_offer
from compute.services.wishes import can_clone
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.errors import Invalid, Reason
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.rehearsal import is_rehearsal
from portal.common.strict import (
    LARGEST_NUMBER,
    SearchQuery,
    StrictBoolean,
    StrictInteger,
    StrictSerializer,
    StrictString,
    StrictUuid,
    checked,
)
from portal.common.versions import etag, version_in
from portal.jobs.models import Job
from tenants.api.jobs import StartedSerializer, started

SMALLEST_NUMBER = -LARGEST_NUMBER
SOURCES = ("image", "vm", "volume", "volume_offer")
BOUNDS: dict[str, Any] = {"min_value": SMALLEST_NUMBER, "max_value": LARGEST_NUMBER}


class TemplateSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    data_center = serializers.UUIDField(source="owner_id", allow_null=True, help_text="null: the institute's.")

    place = serializers.CharField(
        source="storage_domain.provider.kind", help_text="The kind of hypervisor that its machines run on."
    )
    is_found = serializers.BooleanField(source="is_engines", help_text="An engine's own, which was found there.")
    can_clone = serializers.SerializerMethodField(help_text="Whether machines can get whole copies of its disks.")

    class Meta:
        model = Template
        fields = [
            "id",
            "name",
            "version",
            "version_name",
            "place",
            "is_found",
            "can_clone",
            "data_center",
            "description",
            "icon",
            "status",
            "disk_gib",
            "memory_mib",
            "memory_min_mib",
            "vcpus",
            "has_agent",
            "has_cloud_init",
            "has_serial_console",
            "is_sealed",
        ]
        read_only_fields = fields

    def get_can_clone(self, row: Template) -> bool:
        """By what its provider told."""
        return can_clone(row)


class ListedTemplateSerializer(TemplateSerializer):
    """One of a list, with where it can be used."""

    data_centers = serializers.SerializerMethodField(
        help_text="Those that it is assigned to, of the data centers that one may see."
    )

    class Meta(TemplateSerializer.Meta):
        fields = [*TemplateSerializer.Meta.fields, "data_centers"]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_data_centers(self, row: Any) -> list[UUID]:
        """By name, as they were read along."""
        return [one.data_center_id for one in row.seen]


class OneTemplateSerializer(ListedTemplateSerializer):
    """One looked at by itself: where it can be used is asked for it alone."""

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_data_centers(self, row: Template) -> list[UUID]:
        """By name."""
        return list(users_seen(self.context["actor"], row).values_list("pk", flat=True))


class TemplateEditSerializer(StrictSerializer):
    """What is left out stays as it is."""

    name = StrictString(required=False, max_length=200)
    description = StrictString(required=False, max_length=20_000, allow_blank=True)
    icon = serializers.ChoiceField(required=False, choices=rules.ICONS)
    memory_mib = StrictInteger(required=False, **BOUNDS, help_text="What a machine gets unless it asks for more.")
    memory_min_mib = StrictInteger(required=False, **BOUNDS, help_text="What it needs at least.")
    vcpus = StrictInteger(required=False, **BOUNDS)
    has_agent = StrictBoolean(required=False, help_text="The QEMU guest agent is in it.")
    has_cloud_init = StrictBoolean(
        required=False, help_text="cloud-init is in it: host name, user and SSH keys reach it."
    )
    has_serial_console = StrictBoolean(required=False, help_text="It talks on the serial console.")


class VolumeSerializer(StrictSerializer):
    """A volume on a provider."""

    storage_domain = StrictUuid(help_text="In which it lies.")
    name = StrictString(max_length=255, help_text="As ``/storage-domains/{id}/volumes/`` has it.")


class NewTemplateSerializer(TemplateEditSerializer):
    """A template to make from an uploaded image, from a machine that is off, or from a volume: one of the four."""

    name = StrictString(max_length=200)
    image = StrictUuid(required=False, help_text="One that is ready.")
    vm = StrictUuid(required=False, help_text="One that is off; it stays as it is.")
    volume = VolumeSerializer(required=False, help_text="For super-admins.")
    volume_offer = StrictUuid(required=False, help_text="A volume that was offered to the data center.")
    accept_unsealed = StrictBoolean(
        default=False,
        help_text="Of a machine or a volume: its identity, keys and logs are in the copy. Must be true unless it is sealed.",
    )
    seal = StrictBoolean(
        default=False,
        help_text="Of a machine: they are taken out of the copy, where the portal has virt-sysprep for it.",
    )
    storage_domain = StrictUuid(help_text="One that the data center may use.")
    data_center = StrictUuid(allow_null=True, help_text="Whose it is; null: the institute's.")
    next_version = StrictBoolean(default=False, help_text="Of the template of this name; else the name must be new.")


class TemplateStartedSerializer(StartedSerializer):
    """The template, and the job that makes it."""

    template = TemplateSerializer()


class Templates(ListView):
    """The templates one may see."""

    queries: ClassVar = {"GET": SearchQuery}

    rehearsed = ("POST",)
    serializer_class = ListedTemplateSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Template.objects.none()
        actor = _actor(self.request)
        rows, text = selectors.visible_templates(actor), self.query["search"]
        return with_users(actor, rows.filter(name__icontains=text) if text else rows)

    @extend_schema(
        request=NewTemplateSerializer, responses={202: TemplateStartedSerializer}, operation_id="templates_create"
    )
    def post(self, request: Request) -> Response:
        """Make one: an uploaded image is converted and sent to the storage domain, a machine or a volume copied there."""
        data, actor = checked(NewTemplateSerializer, request.data), _actor(request)
        sources = {name: data.pop(name, None) for name in SOURCES}
        kind, source = _only_one(sources)
        place = (data.pop("storage_domain"), data.pop("data_center"), data.pop("next_version"))
        accept, seal = data.pop("accept_unsealed"), data.pop("seal")
        _refuse_sealing(kind, seal=seal)
        traits = TemplateTraits(**data)
        wish = CopyRequest(traits, *place, accept, seal)
        offer = _offer(request, actor, source) if kind == "volume" else None

        def make() -> tuple[Template, Job]:
            if offer is not None:
                return template_of_volume(actor, *offer, wish)
            if kind == "vm":
                return template_of_machine(actor, source, wish)
            if kind == "volume_offer":
                return template_of_offer(actor, source, wish)
            return templates.make_template(actor, NewTemplate(traits, source, *place))

        return answer_once(request, actor, lambda: _started(*make()))


class TemplateDetail(ApiView):
    """One template."""

    rehearsed = ("PATCH", "DELETE")

    @extend_schema(responses=OneTemplateSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it is; ``ETag`` is its version."""
        actor = _actor(request)
        return _answer(actor, selectors.get_template(actor, uid))

    @extend_schema(
        request=TemplateEditSerializer,
        responses={200: OneTemplateSerializer},
        parameters=[OpenApiParameter("If-Match", str, "header", description="The version that was looked at.")],
    )
    def patch(self, request: Request, uid: UUID) -> Response:
        """Change it; with ``If-Match``, unless somebody else did meanwhile (412)."""
        changes = checked(TemplateEditSerializer, request.data)
        edit = TemplateEdit(changes, version_in(request.headers.get("If-Match", "")))
        actor = _actor(request)
        return _answer(actor, templates.edit_template(actor, uid, edit))

    @extend_schema(responses={202: StartedSerializer})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Remove it with its disk, unless machines were made from it (409 with their names)."""
        answer = started(templates.delete_template(_actor(request), uid))
        return Response(answer.body, status=answer.status, headers={"Location": answer.location})


def _offer(request: Request, actor: Actor, source: dict[str, Any]) -> tuple[StorageDomain, Offer]:
    """The volume as its hypervisor tells of it: asked here, for a rehearsal and a kept answer are transactions."""
    if is_rehearsal(request):
        text = _("A copy of a volume cannot be tried dry, for its hypervisor is asked. Look at the list of volumes.")
        raise Invalid(text, reasons=(Reason("no_dry_run", text, "dry_run"),))
    return get_offer(actor, source["storage_domain"], source["name"])


def _only_one(sources: dict[str, Any]) -> tuple[str, Any]:
    """What it is to be made of; ``Invalid`` unless exactly one thing is named."""
    named = [(kind, source) for kind, source in sources.items() if source is not None]
    if len(named) != 1:
        text = _("Name one of these: image, vm, volume, volume_offer.")
        field = named[1][0] if named else "image"
        raise Invalid(text, reasons=(Reason("source_ambiguous" if named else "source_missing", text, field),))
    return named[0]


def _refuse_sealing(kind: str, *, seal: bool) -> None:
    """Nobody is to believe that an image is sealed; of volumes the service says it."""
    if seal and kind == "image":
        text = _("Images are not sealed: make a machine from it, and a sealed template of that machine.")
        raise Invalid(text, reasons=(Reason("image_not_sealed", text, "seal"),))


def _answer(actor: Actor, template: Template) -> Response:
    shown = OneTemplateSerializer(template, context={"actor": actor}).data
    return Response(shown, headers={"ETag": etag(templates.template_version(template))})


def _started(template: Template, job: Job) -> Answer:
    return started(job, template=TemplateSerializer(template).data)


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
