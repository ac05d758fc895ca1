"""The API's documentation, generated from what the doors declare and enforce: queries, bodies, answers, refusals."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from portal.common.api import PROBLEM
from portal.common.idempotency import LONGEST_KEY
from portal.common.strict import Empty, StrictSerializer

ALWAYS = {
    400: "The request is malformed, or a field or query parameter is wrong or not known; each reason names one.",
    401: "Nobody is logged in, or the credentials are wrong, expired or revoked.",
    406: "The answer is JSON only.",
    503: "A part of the portal does not answer just now; try again in a moment.",
}
OF_A_CHANGE = {
    403: "Visible, but not permitted; the explanation says which grant would help and who can give it.",
    409: "Not now: the object's status, a job at work on it, the quota (with figures), or a repeated secret answer.",
}
WITH_A_BODY = {
    413: "The body is too large.",
    415: "The body must be `application/json`.",
    422: "The idempotency key was used for another request.",
}
OF_AN_EDIT = {412: "It is another version by now than `If-Match` names."}
OF_AN_OBJECT = {404: "There is no such object, or one may not see it: the two answer alike."}
OF_A_BOUND = {429: "Too many; `Retry-After` says how many seconds to wait."}

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
    OpenApiParameter.HEADER,
    description="The same key and request get the first answer again for 24 hours: at most 128 printable characters.",
)


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Data(serializers.JSONField):
    """An object of any members."""


class ReasonSerializer(serializers.Serializer):
    """Why not, with the figures of the case as further members (`limit`, `used`, `minimum` ...)."""

    code = serializers.CharField(help_text="Stable, never reused.")
    text = serializers.CharField(help_text="A sentence with the remedy.")
    field = serializers.CharField(required=False, help_text="The field or parameter it is about.")


class RehearsalSerializer(serializers.Serializer):
    """What `?dry_run=1` answers where everything is possible: nothing was written. Refusals are the same as without it."""

    possible = serializers.BooleanField()
    reasons = ReasonSerializer(many=True, help_text="Why not: empty.")
    steps = serializers.ListField(child=serializers.CharField(), help_text="Of the job that would be started.")
    answer = Data(help_text="What would be answered, but for the job; ids in it are not kept.")


class ProblemSerializer(serializers.Serializer):
    """A problem document (RFC 9457). Some kinds have further members: `explanation`, `job`, `retry_after`."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable, never reused.")
    detail = serializers.CharField(help_text="A sentence for people.")
    reasons = ReasonSerializer(many=True)
    request_id = serializers.CharField(help_text="For the administrators, who find it in the log.")


class StrictSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says of a body that it may hold nothing else."""

    target_class = StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """The body's schema, closed."""
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | {"additionalProperties": False}


class Schema(AutoSchema):
    """An operation: what the view declares, and the refusals that every door may give."""

    def get_override_parameters(self) -> list[Any]:
        """The declared query parameters; the idempotency key for what starts or makes something."""
        query = self.view.query_kind(self.method) if hasattr(self.view, "query_kind") else None
        return [
            *([query] if query and query is not Empty else []),
            *([IDEMPOTENCY_KEY] if self.method == "POST" else []),
        ]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        found: dict[str, Any] = super()._get_response_bodies(direction)
        if self.method in getattr(self.view, "rehearsed", ()):
            found["200"] = self._rehearsed()
        return found | {str(status): self._problem(status, text) for status, text in self._refusals().items()}

    def _rehearsed(self) -> dict[str, Any]:
        """The answer to a dry run; beside the ordinary one, where that is a 200 too."""
        ordinary: Any = self.get_response_serializers()
        ordinary = ordinary.get(200) if isinstance(ordinary, dict) else ordinary
        kind: Any = RehearsalSerializer
        if ordinary is not None:
            kept = ordinary if isinstance(ordinary, type) else type(ordinary)
            name = kept.__name__.removesuffix("Serializer")
            both = [ordinary, RehearsalSerializer]
            kind = PolymorphicProxySerializer(f"{name}OrRehearsal", both, resource_type_field_name=None)
        answer: dict[str, Any] = self._get_response_for_code(kind, "200")  # type: ignore[no-untyped-call]
        return answer

    def _problem(self, status: int, text: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._get_response_for_code(ProblemSerializer, str(status), [PROBLEM])  # type: ignore[no-untyped-call]
        return answer | {"description": text}

    def _refusals(self) -> dict[int, str]:
        found = dict(ALWAYS)
        if self.method != "GET":
            found |= OF_A_CHANGE
        if getattr(self.view, "guarded", False):
            found[403] = OF_A_CHANGE[403]
        if self.method in {"POST", "PUT", "PATCH"}:
            found |= WITH_A_BODY
        if self.method in getattr(self.view, "versioned", ()):
            found |= OF_AN_EDIT
        if "{" in self.path or self.method == "POST":
            found |= OF_AN_OBJECT
        if self.method in getattr(self.view, "bounded", ()):
            found |= OF_A_BOUND
        return found
