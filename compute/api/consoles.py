"""Consoles over the API."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from compute.api.vms import StrictSerializer
from compute.services.consoles import ConsoleRequest, OpenedConsole, open_console, plan_console
from portal.common.actor import Door
from portal.common.http import actor_of
from portal.common.idempotency import Answer, once


class ConsoleRequestSerializer(StrictSerializer):
    protocol = serializers.ChoiceField(choices=["vnc", "spice", "serial"], default="vnc")


class ConsoleSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    ticket = serializers.CharField(help_text="Shown this once; goes as the websocket subprotocol `ticket.<ticket>`.")
    url = serializers.CharField(help_text="The websocket's address; opens nothing by itself.")
    protocol = serializers.CharField()
    expires_at = serializers.DateTimeField(help_text="The ticket must be used before.")


class VmConsoles(APIView):
    """The consoles of a machine."""

    @extend_schema(request=ConsoleRequestSerializer, responses={201: ConsoleSerializer})
    def post(self, request: Request, uid: UUID) -> Response:
        """A one-time ticket for the machine's screen; with ``?dry_run=1`` only whether there would be one."""
        form = ConsoleRequestSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        actor, wish = actor_of(request, door=Door.API), ConsoleRequest(form.validated_data["protocol"])
        if request.query_params.get("dry_run") == "1":
            reasons = plan_console(actor, uid, wish)
            return Response({"reasons": [reason.as_json() for reason in reasons], "possible": not reasons})
        fingerprint = {"path": request.path, "body": request.data}
        key = request.headers.get("Idempotency-Key", "")
        # The ticket is a secret: a repeat is refused, not answered again.
        (code, body, _location), _repeated = once(
            actor.user.pk, key, fingerprint, lambda: _answer(request, open_console(actor, uid, wish)), secret=True
        )
        return Response(body, status=code)


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
