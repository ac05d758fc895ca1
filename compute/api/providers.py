"""Providers over the API. No answer holds a secret."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute import selectors
from compute.diagnosis import Told
from compute.services import providers as services
from compute.services.providers import LONGEST_SECRET, LONGEST_USERNAME, ProviderEdit
from compute.services.upgrades import accept_version, upgrade_of
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.strict import Empty, StrictBoolean, StrictSerializer, StrictString, checked
from portal.common.versions import etag, version_in
from portal.hypervisors.models import Provider
from portal.hypervisors.upgrades import News
from tenants.tried import audited


class UpgradeSerializer(serializers.Serializer):
    news = serializers.ChoiceField(choices=[one.value for one in News], help_text="Another version, or another engine.")
    was = serializers.CharField(help_text="The version that was accepted.")
    now = serializers.CharField(help_text="The version that answers.")
    since = serializers.DateTimeField(allow_null=True)
    waiting_deletions = serializers.IntegerField(source="deletions")
    missing_machines = serializers.IntegerField(source="missing", help_text="Of this portal; not found there.")
    held_machines = serializers.IntegerField(
        source="held", help_text="Of these: so many at once, or all, that their absence was not believed."
    )
    followed_places = serializers.IntegerField(
        source="followed", help_text="Places and templates with other ids now, taken for those of the same names."
    )
    accepted = serializers.BooleanField(
        source="is_accepted", help_text="True: only deletions of machines that were not found there yet wait still."
    )
    look = serializers.CharField(help_text="What was looked at, to be given back to let deletions go on.")


class LookSerializer(StrictSerializer):
    look = StrictString(max_length=64, help_text="As `upgrade` told it.")
    despite_missing = StrictBoolean(
        default=False, help_text="Also delete what is not found there; needed where its absence was not believed."
    )


class ProviderSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    machines = serializers.IntegerField(help_text="Of this portal.")
    hosts = serializers.IntegerField(source="host_count")
    product = serializers.CharField(source="about.product", default="", help_text="Empty: not read yet.")
    version = serializers.CharField(source="about.version", default="", help_text="At the last compare.")
    upgrade = serializers.SerializerMethodField(
        help_text="What the provider became since it was accepted: until then nothing is deleted on it; null: nothing."
    )

    @extend_schema_field(UpgradeSerializer(allow_null=True))
    def get_upgrade(self, row: Provider) -> dict[str, Any] | None:
        """What awaits a look."""
        found = upgrade_of(row)
        return dict(UpgradeSerializer(found).data) if found else None

    class Meta:
        model = Provider
        fields = [
            "id", "name", "kind", "address", "username", "enabled", "status", "status_at", "status_detail", "machines", "hosts", "product", "version", "upgrade", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class SecretsSerializer(StrictSerializer):
    """Write-only: what is given is sealed, and never answered again."""

    ssh_key = StrictString(required=False, max_length=LONGEST_SECRET, help_text="Private key, for `qemu+ssh`.")
    host_key = StrictString(
        required=False, max_length=LONGEST_SECRET, help_text="The key to pin, as a test shows it, for `qemu+ssh`."
    )
    client_certificate = StrictString(required=False, max_length=LONGEST_SECRET, help_text="PEM, for `qemu+tls`.")
    client_key = StrictString(required=False, max_length=LONGEST_SECRET, help_text="PEM, for `qemu+tls`.")
    password = StrictString(required=False, max_length=LONGEST_SECRET, help_text="Of the account, for an engine.")


class TrialSerializer(StrictSerializer):
    kind = StrictString(max_length=32)
    address = StrictString(max_length=1000)
    username = StrictString(
        default="", max_length=LONGEST_USERNAME, allow_blank=True, help_text="With its profile, for an engine."
    )
    ca_pem = StrictString(
        default="",
        max_length=LONGEST_SECRET,
        allow_blank=True,
        help_text="The CA, for `qemu+tls`, and for an engine, whose own a test shows where none is given.",
    )
    secrets = SecretsSerializer(default=dict)


class NewProviderSerializer(TrialSerializer):
    name = StrictString(max_length=200)


class ProviderEditSerializer(StrictSerializer):
    """What is left out stays as it is; the provider is tried anew before its address or credentials change."""

    name = StrictString(required=False, max_length=200)
    address = StrictString(required=False, max_length=1000)
    username = StrictString(required=False, max_length=LONGEST_USERNAME, allow_blank=True)
    ca_pem = StrictString(required=False, max_length=LONGEST_SECRET, allow_blank=True)
    secrets = SecretsSerializer(required=False)
    enabled = StrictBoolean(required=False)


class DiagnosisStepSerializer(serializers.Serializer):
    step = serializers.CharField()
    title = serializers.CharField(help_text="For people, in their language.")
    status = serializers.ChoiceField(choices=["ok", "warning", "failed"])
    code = serializers.CharField(help_text="Stable; empty where all is well.")
    text = serializers.CharField()
    remedy = serializers.CharField()
    details = serializers.DictField(child=serializers.CharField(), source="data")


class DiagnosisSerializer(serializers.Serializer):
    reached = serializers.BooleanField()
    steps = DiagnosisStepSerializer(many=True)


class Providers(ListView):
    """The providers, for those who may see them."""

    serializer_class = ProviderSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        return selectors.providers(_actor(self.request)) if self.request.user else Provider.objects.none()

    @extend_schema(request=NewProviderSerializer, responses={201: ProviderSerializer}, operation_id="providers_create")
    @audited("PROVIDER_CONNECT", "provider")
    def post(self, request: Request) -> Response:
        """Connect one. It is tried first; when that fails nothing is stored (409 with the step that failed)."""
        data, actor = checked(NewProviderSerializer, request.data), _actor(request)
        name = data.pop("name")
        trial = services.try_new(actor, **data)  # before the transaction that holds the key

        def work() -> Answer:
            row = selectors.get_provider(actor, services.store_tried(actor, name=name, trial=trial).pk)
            return Answer(status.HTTP_201_CREATED, ProviderSerializer(row).data, reverse("api:provider", args=[row.pk]))

        response = answer_once(request, actor, work)
        services.read_new(trial)
        return response


class ProviderTry(ApiView):
    """A hypervisor that is not connected yet."""

    @extend_schema(request=TrialSerializer, responses=DiagnosisSerializer, operation_id="providers_try")
    @audited("PROVIDER_TEST", "provider")
    def post(self, request: Request) -> Response:
        """Try to reach it, step by step. Nothing is stored."""
        data, actor = checked(TrialSerializer, request.data), _actor(request)
        return Response(_diagnosis(services.try_new(actor, **data).steps))


class ProviderDetail(ApiView):
    """One provider."""

    rehearsed = ("DELETE",)

    @extend_schema(responses=ProviderSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it was last seen; ``ETag`` is the version of what can be edited."""
        return _answer(_actor(request), uid)

    @extend_schema(
        request=ProviderEditSerializer,
        responses={200: ProviderSerializer},
        parameters=[OpenApiParameter("If-Match", str, "header", description="The version that was looked at.")],
    )
    def patch(self, request: Request, uid: UUID) -> Response:
        """Change it; with ``If-Match``, unless somebody else did meanwhile (412)."""
        data, actor = checked(ProviderEditSerializer, request.data), _actor(request)
        enabled = data.pop("enabled", None)
        edit = ProviderEdit(**data, version=version_in(request.headers.get("If-Match", "")))
        services.edit_provider(actor, uid, edit)
        if enabled is not None:
            services.set_provider_enabled(actor, uid, enabled=enabled)
        return _answer(actor, uid)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Remove it, unless something depends on it (409 with what does). On its hypervisor nothing changes."""
        services.remove_provider(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ProviderTest(ApiView):
    """A provider, tried as it is connected."""

    @extend_schema(request=Empty, responses=DiagnosisSerializer, operation_id="providers_test")
    def post(self, request: Request, uid: UUID) -> Response:
        """Try it, step by step."""
        checked(Empty, request.data)
        return Response(_diagnosis(services.try_connected(_actor(request), uid)))


class ProviderAcceptVersion(ApiView):
    """A provider that was upgraded or built anew."""

    @extend_schema(request=LookSerializer, responses=ProviderSerializer, operation_id="providers_accept_version")
    def post(self, request: Request, uid: UUID) -> Response:
        """Let deletions go on there, unless it changed again since it was looked at (412), was not read yet, or too much is missing (409)."""
        actor = _actor(request)
        accept_version(actor, uid, **checked(LookSerializer, request.data))
        return _answer(actor, uid)


def _answer(actor: Actor, uid: UUID) -> Response:
    row = selectors.get_provider(actor, uid)
    return Response(ProviderSerializer(row).data, headers={"ETag": etag(services.provider_version(row))})


def _diagnosis(steps: tuple[Told, ...]) -> dict[str, Any]:
    body: dict[str, Any] = DiagnosisSerializer({"reached": steps[-1].status != "failed", "steps": steps}).data
    return body


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
