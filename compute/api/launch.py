"""Launching data centers over the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.resources import MOST_OFFERED
from compute.services.launch import LaunchRequest, NewAdmin, OwnNetwork, launch_data_center, with_admin
from portal.common.actor import Door
from portal.common.api import ApiView, answer_asked
from portal.common.errors import PortalError, Reason
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.strict import StrictSerializer, StrictString, StrictUuid, checked
from portal.jobs.models import Job
from tenants.api.jobs import JobSerializer, started
from tenants.api.people import LimitsSerializer
from tenants.forms.people import LONGEST_PASSWORD
from tenants.models.quota import Dimension

# How a refusal's field is named here, where the page has fields of other names.
FIELDS = {"network_name": "network.name", "network_provider": "network.provider", "network_cidr": "network.cidr"}


class OwnNetworkSerializer(StrictSerializer):
    name = StrictString(max_length=200)
    provider = StrictUuid()
    cidr = StrictString(default="", allow_blank=True, max_length=43, help_text="Empty: the next free range.")


class NewAdminSerializer(StrictSerializer):
    display_name = StrictString(default="", allow_blank=True, max_length=150)
    password = StrictString(max_length=LONGEST_PASSWORD)


class Uids(serializers.ListField):
    """Ids of what is chosen; none unless named."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=StrictUuid(), max_length=MOST_OFFERED, **{"default": list} | options)


class LaunchSerializer(StrictSerializer):
    name = StrictString(max_length=200)
    description = StrictString(max_length=20_000, default="", allow_blank=True)
    clusters = Uids(help_text="At least one.")
    storage_domains = Uids(help_text="At least one that hosts of these clusters have.")
    networks = Uids(help_text="The institute's own, to be assigned.")
    templates = Uids(help_text="The institute's own, to be assigned.")
    network = OwnNetworkSerializer(
        required=False, allow_null=True, help_text="A NAT network of its own, made by the job."
    )
    limits = LimitsSerializer(required=False, help_text="What is left out has no limit.")
    admin = StrictString(max_length=200, help_text="The user name of its admin.")
    new_admin = NewAdminSerializer(
        required=False, allow_null=True, help_text="Make a local account of that user name for its admin."
    )
    continues = StrictUuid(
        required=False, allow_null=True, help_text="The job of the launch that failed and is to be gone on with."
    )


class LaunchedSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()


class StartedLaunchSerializer(serializers.Serializer):
    data_center = LaunchedSerializer()
    job = JobSerializer()


class DataCenterLaunch(ApiView):
    """A new data center with all that a department needs, by one job."""

    rehearsed = asks_first = ("POST",)

    @extend_schema(
        request=LaunchSerializer, responses={202: StartedLaunchSerializer}, operation_id="data_centers_launch"
    )
    def post(self, request: Request) -> Response:
        """Launch one, or go on with a launch that failed. For super-admins.

        An admin of a directory is asked for there (503 when that is down and he is not known here).
        """
        data, actor = checked(LaunchSerializer, request.data), actor_of(request, door=Door.API)
        wanted = with_admin(actor, _wanted(data))

        def work() -> Answer:
            try:
                return _launched(launch_data_center(actor, wanted))
            except PortalError as error:
                error.reasons = tuple(
                    _as_here(reason, has_new=wanted.new_admin is not None) for reason in error.reasons
                )
                raise

        return answer_asked(self, request, actor, work)


def _wanted(data: dict[str, Any]) -> LaunchRequest:
    network, new_admin = data.pop("network", None), data.pop("new_admin", None)
    limits = {Dimension(name): limit for name, limit in data.pop("limits", {}).items()}
    data |= {name: tuple(data[name]) for name in ("clusters", "storage_domains", "networks", "templates")}
    return LaunchRequest(
        **data,
        limits=limits,
        network=OwnNetwork(**network) if network else None,
        new_admin=NewAdmin(**new_admin) if new_admin else None,
    )


def _as_here(reason: Reason, *, has_new: bool) -> Reason:
    fields = FIELDS | {str(name): f"limits.{name}" for name in Dimension}
    fields |= {"password": "new_admin.password"} if has_new else {}
    return Reason(reason.code, reason.text, fields.get(reason.field, reason.field), reason.data)


def _launched(job: Job) -> Answer:
    return started(job, data_center={"id": str(job.target_uid), "name": job.target_name})
