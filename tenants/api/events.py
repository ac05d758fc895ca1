"""The audit log over the API."""

from __future__ import annotations

from typing import ClassVar

from django.db.models import QuerySet
from rest_framework import serializers

from portal.common.actor import Door
from portal.common.api import ListView
from portal.common.http import actor_of
from portal.common.openapi import Data
from portal.common.paging import NewestFirst
from portal.common.strict import PageQuery
from portal.events.codes import Outcome
from portal.events.models import Event
from tenants import selectors


class EventSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    actor = serializers.CharField(source="actor_name", help_text="Who did it, by the name he had then.")
    job = serializers.UUIDField(source="correlation_id", allow_null=True, help_text="The job that carried it.")
    object = serializers.SerializerMethodField()
    data_center = serializers.UUIDField(source="data_center_uid", allow_null=True)
    details = Data(source="data")

    class Meta:
        model = Event
        fields = [
            "id",
            "at",
            "code",
            "severity",
            "outcome",
            "actor",
            "door",
            "object",
            "data_center",
            "job",
            "request_id",
            "message",
            "details",
        ]
        read_only_fields = fields

    def get_object(self, row: Event) -> dict[str, str | None]:
        """What it was about, by the name that it had then."""
        uid = str(row.object_uid) if row.object_uid else None
        return {"kind": row.object_kind, "id": uid, "name": row.object_name}


class ByTime(NewestFirst):
    """Newest first, by the time it happened."""

    field = "at"


class EventQuery(PageQuery):
    """A page of the log, of one object, data center, job or outcome."""

    object = serializers.UUIDField(required=False)
    data_center = serializers.UUIDField(required=False)
    job = serializers.UUIDField(required=False)
    outcome = serializers.ChoiceField(required=False, choices=[o.value for o in Outcome])


FILTERS = {
    "object": "object_uid",
    "data_center": "data_center_uid",
    "job": "correlation_id",
    "outcome": "outcome",
}


class Events(ListView):
    """What happened, as far as one may read it: one's own acts, and those in the data centers one runs."""

    queries: ClassVar = {"GET": EventQuery}
    serializer_class = EventSerializer
    pagination_class = ByTime

    def get_queryset(self) -> QuerySet[Event]:
        """Through the policy."""
        if not self.request.user:
            return Event.objects.none()
        found = selectors.events(actor_of(self.request, door=Door.API))
        return found.filter(**{FILTERS[name]: self.query[name] for name in FILTERS if name in self.query})
