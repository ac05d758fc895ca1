"""Why, or why not, over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Door
from portal.common.api import ApiView
from portal.common.http import actor_of
from portal.common.strict import StrictSerializer, StrictString
from tenants.permits import Permit
from tenants.remedies import Scope
from tenants.services import explaining
from tenants.services.explaining import Answer


class ExplainQuery(StrictSerializer):
    permit = StrictString(max_length=64, help_text="Such as `VM_RUN`.")
    object = StrictString(max_length=100, help_text="`kind:id` (`vm:<id>`, `data_center:<id>` ...), or `system`.")
    user = StrictString(default="", allow_blank=True, max_length=200, help_text="An id or user name; empty: oneself.")


class ScopeSerializer(serializers.Serializer):
    kind = serializers.CharField()
    id = serializers.UUIDField()
    name = serializers.CharField(help_text="Empty for the whole system.")


class DerivationSerializer(serializers.Serializer):
    role = serializers.CharField(help_text="Its codename; empty where it is not yours to know.")
    role_name = serializers.CharField()
    on = ScopeSerializer()
    assigned = serializers.BooleanField(help_text="Through a data center that the object is merely assigned to.")
    group = serializers.CharField(help_text="Through which group; empty: held directly.")
    directory = serializers.CharField(help_text="From which directory the group comes; empty: from none.")
    expires_at = serializers.DateTimeField(allow_null=True)


class RemedySerializer(serializers.Serializer):
    role = serializers.CharField(help_text="The codename of the smallest role that would help.")
    role_name = serializers.CharField()
    on = ScopeSerializer()
    givers = serializers.ListField(child=serializers.CharField(), help_text="Empty: a super-admin.")


class ExplainedUserSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    username = serializers.CharField()


class ExplanationSerializer(serializers.Serializer):
    allowed = serializers.BooleanField()
    permit = serializers.ChoiceField(choices=[permit.value for permit in Permit])
    object = ScopeSerializer()
    user = ExplainedUserSerializer()
    sentence = serializers.CharField()
    derivation = DerivationSerializer(many=True, help_text="Every way to a yes; each is enough.")
    remedy = RemedySerializer(allow_null=True, help_text="The smallest grant that would help; null: no grant would.")


class Explain(ApiView):
    """Why a user may or may not do something with an object."""

    guarded = True
    queries: ClassVar = {"GET": ExplainQuery}

    @extend_schema(responses=ExplanationSerializer, operation_id="explain")
    def get(self, request: Request) -> Response:
        """For oneself; for others where one may give roles."""
        asked = self.query
        actor = actor_of(request, door=Door.API)
        answer = explaining.explain(actor, permit=asked["permit"], about=asked["object"], user=asked["user"])
        return Response(ExplanationSerializer(explanation_json(answer)).data)


def explanation_json(answer: Answer) -> dict[str, Any]:
    """An answer in the API's form."""
    helping = answer.remedy
    return {
        "allowed": answer.allowed,
        "permit": answer.permit.value,
        "object": _scope(Scope(answer.kind, answer.target.pk, "" if answer.kind == "system" else str(answer.target))),
        "user": {"id": answer.user.pk, "username": answer.user.username},
        "sentence": answer.sentence,
        "derivation": [
            {
                "role": link.role,
                "role_name": link.role_name,
                "on": _scope(link.scope),
                "assigned": link.assigned,
                "group": link.group,
                "directory": link.directory,
                "expires_at": link.expires_at,
            }
            for link in answer.chain
        ],
        "remedy": helping
        and {
            "role": helping.roles[0] if helping.roles else "",
            "role_name": answer.remedy_name,
            "on": _scope(helping.scope),
            "givers": helping.givers,
        },
    }


def _scope(scope: Scope) -> dict[str, Any]:
    return {"kind": scope.kind, "id": scope.uid, "name": scope.name}
