"""The audit log over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from portal.common.actor import Door
from portal.common.api import ApiView, ListView
from portal.common.http import actor_of
from portal.common.openapi import Data
from portal.common.paging import NewestFirst
from portal.common.strict import PageQuery, StrictSerializer, StrictString
from portal.events.codes import Outcome
from portal.events.models import Event
from tenants import selectors
from tenants.services.audit import Wanted
from tenants.views.events import events_file


class EventSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    actor = serializers.CharField(
        source="actor_name", help_text="Who did it, by the name he had then; empty: nobody who was logged in."
    )
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


class EventFilter(StrictSerializer):
    """What of the log: who, what, of which object, how it ended, when."""

    actor = serializers.UUIDField(required=False, help_text="Who did it.")
    object = serializers.UUIDField(required=False)
    data_center = serializers.UUIDField(required=False)
    job = serializers.UUIDField(required=False)
    verb = StrictString(required=False, max_length=60, help_text="What was tried: `VM_CREATE`, however it ended.")
    outcome = serializers.ChoiceField(required=False, choices=[o.value for o in Outcome])
    since = serializers.DateTimeField(required=False, help_text="From this moment on.")
    until = serializers.DateTimeField(required=False, help_text="Before this moment.")
    search = StrictString(
        required=False, max_length=64, help_text="A part of an actor's or object's name, or of a code."
    )


class EventQuery(EventFilter, PageQuery):
    """A page of what is asked for."""


class ExportQuery(EventFilter):
    """All of what is asked for, in a file."""

    format = serializers.ChoiceField(
        choices=["csv", "jsonl"], default="jsonl", help_text="`jsonl`: an object a line. `csv`: the same as columns."
    )


class ExportedSerializer(serializers.Serializer):
    """A line of the file."""

    at = serializers.DateTimeField()
    code = serializers.CharField()
    severity = serializers.CharField()
    outcome = serializers.CharField()
    actor = serializers.CharField(help_text="Who did it, by the name he had then.")
    client_address = serializers.CharField(help_text="For those alone who read the whole log.")
    door = serializers.CharField()
    object_kind = serializers.CharField()
    object_id = serializers.CharField()
    object_name = serializers.CharField()
    data_center = serializers.CharField()
    job = serializers.CharField()
    request_id = serializers.CharField()
    message = serializers.CharField()
    details = Data(help_text="In CSV as JSON text.")
    id = serializers.UUIDField()


class Events(ListView):
    """What happened, as far as one may read it: one's own acts, and those in the data centers one runs."""

    queries: ClassVar = {"GET": EventQuery}
    serializer_class = EventSerializer
    pagination_class = ByTime

    def get_queryset(self) -> QuerySet[Event]:
        """Through the policy."""
        if not self.request.user:
            return Event.objects.none()
        return _wanted(self.query).of(selectors.events(actor_of(self.request, door=Door.API)))


class EventsExport(ApiView):
    """The log as a file, as far as one may read it, the newest first. That it was taken is in the log."""

    queries: ClassVar = {"GET": ExportQuery}

    @extend_schema(
        responses={(200, "application/x-ndjson"): ExportedSerializer, (200, "text/csv"): ExportedSerializer},
        operation_id="events_export",
    )
    def get(self, request: Request) -> HttpResponseBase:
        """In pieces, however long it is. A cell that begins like a formula has an apostrophe before it in CSV."""
        actor = actor_of(request, door=Door.API)
        return events_file(request._request, actor, _wanted(self.query), self.query["format"])


def _wanted(query: dict[str, Any]) -> Wanted:
    names = ("actor", "object", "data_center", "job", "verb", "outcome", "since", "until")
    return Wanted(query=query.get("search", ""), **{name: query[name] for name in names if name in query})
