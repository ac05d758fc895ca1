"""Consoles over the API."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from compute.services.consoles import ConsoleRequest, OpenedConsole, open_console, plan_console
from portal.common.actor import Door
from portal.common.api import ApiView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.strict import DryRunQuery, StrictSerializer, checked

PROTOCOLS = ["vnc", "spice", "serial"]


class NewConsoleSerializer(StrictSerializer):
    """The console wanted."""

    protocol = serializers.ChoiceField(choices=PROTOCOLS, default="vnc")


class ConsoleSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    ticket = serializers.CharField(help_text="Shown this once; goes as the websocket subprotocol `ticket.<ticket>`.")
    url = serializers.CharField(help_text="The websocket's address; opens nothing by itself.")
    protocol = serializers.ChoiceField(choices=PROTOCOLS)
    expires_at = serializers.DateTimeField(help_text="The ticket must be used before.")


class ConsolePlanSerializer(serializers.Serializer):
    reasons = ReasonSerializer(many=True, help_text="Why not; empty when it is possible.")
    possible = serializers.BooleanField()


class VmConsoles(ApiView):
    """The consoles of a machine."""

    queries: ClassVar = {"POST": DryRunQuery}
    bounded = ("POST",)

    @extend_schema(request=NewConsoleSerializer, responses={201: ConsoleSerializer, 200: ConsolePlanSerializer})
    def post(self, request: Request, uid: UUID) -> Response:
        """A one-time ticket for the machine's screen; with ``?dry_run=1`` only whether there would be one."""
        wish = ConsoleRequest(checked(NewConsoleSerializer, request.data)["protocol"])
        actor = actor_of(request, door=Door.API)
        if self.query["dry_run"] == "1":
            reasons = plan_console(actor, uid, wish)
            return Response({"reasons": [reason.as_json() for reason in reasons], "possible": not reasons})
        # The ticket is a secret: a repeat is refused, not answered again.
        return answer_once(request, actor, lambda: _answer(request, open_console(actor, uid, wish)), secret=True)


def _answer(request: Request, opened: OpenedConsole) -> Answer:
    console = opened.console
    address = request.build_absolute_uri(f"/ws/consoles/{console.uid}/")
    body = {
        "id": console.uid,
        "ticket": opened.ticket,
        "url": "ws" + address.removeprefix("http"),
        "protocol": console.protocol,
        "expires_at": console.expires_at,
    }
    return Answer(status.HTTP_201_CREATED, ConsoleSerializer(body).data, "")
