"""Second factors over the API: one's own, those that are lost, and of which roles one is asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, answer_once
from portal.common.errors import Invalid, NotAuthenticated, Reason
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.sessions import OWES_FACTOR
from portal.common.strict import Empty, StrictSerializer, StrictString, checked
from tenants.services import factors, users
from tenants.tried import audited


class FactorSerializer(serializers.Serializer):
    since = serializers.DateTimeField(allow_null=True, help_text="null: there is none.")
    recovery_codes_left = serializers.IntegerField()
    asked = serializers.BooleanField(help_text="Whether a role that one holds asks for it.")


class BegunSerializer(serializers.Serializer):
    secret = serializers.CharField(help_text="For the app (base 32).")
    uri = serializers.CharField(help_text="The same for a QR code.")
    sealed = serializers.CharField(help_text="To be sent back with the first code, within half an hour.")


class FirstCodeSerializer(StrictSerializer):
    sealed = StrictString(max_length=2000)
    code = StrictString(max_length=32, help_text="The six digits that the app shows now.")


class CodeSerializer(StrictSerializer):
    code = StrictString(max_length=32, help_text="Of the app, or a recovery code.")


class RecoveryCodesSerializer(serializers.Serializer):
    recovery_codes = serializers.ListField(child=serializers.CharField(), help_text="Each opens once. Shown this once.")


class RanksSerializer(serializers.Serializer):
    roles = serializers.ListField(child=serializers.CharField(), help_text="The codenames of the roles.")


class RanksEditSerializer(StrictSerializer):
    roles = serializers.ListField(child=StrictString(max_length=64), max_length=200)


class Factor(ApiView):
    """One's own second factor."""

    @extend_schema(responses=FactorSerializer, operation_id="factor")
    def get(self, request: Request) -> Response:
        """What there is of it."""
        user = _actor(request).user
        found = factors.factor_of(user)
        body = {
            "since": found.created_at if found else None,
            "recovery_codes_left": factors.recovery_codes_left(user),
            "asked": factors.is_asked_of(user),
        }
        return Response(FactorSerializer(body).data)

    @extend_schema(request=FirstCodeSerializer, responses={201: RecoveryCodesSerializer}, operation_id="factor_add")
    def post(self, request: Request) -> Response:
        """Have the secret, by the first code of the app."""
        data, actor = checked(FirstCodeSerializer, request.data), _actor(request)
        return _codes(request, lambda: factors.confirm(actor, data["sealed"], data["code"]), status.HTTP_201_CREATED)


class FactorBegin(ApiView):
    """A secret for the app; nothing is kept of it before its first code."""

    @extend_schema(request=Empty, responses={200: BegunSerializer}, operation_id="factor_begin")
    def post(self, request: Request) -> Response:
        """A new one each time."""
        checked(Empty, request.data)
        actor = _actor(request)

        def work() -> Answer:
            return Answer(status.HTTP_200_OK, dict(BegunSerializer(factors.begin(actor)).data), "")

        return answer_once(request, actor, work, secret=True)


class FactorCodes(ApiView):
    """The recovery codes."""

    bounded = ("POST",)

    @extend_schema(request=CodeSerializer, responses={200: RecoveryCodesSerializer}, operation_id="factor_codes")
    def post(self, request: Request) -> Response:
        """Others instead of those there are."""
        data, actor = checked(CodeSerializer, request.data), _actor(request)
        return _codes(request, lambda: _told(lambda: factors.renew_codes(actor, data["code"])), status.HTTP_200_OK)


class FactorRemove(ApiView):
    """Being without a second factor."""

    bounded = ("POST",)

    @extend_schema(request=CodeSerializer, responses={200: FactorSerializer}, operation_id="factor_remove")
    def post(self, request: Request) -> Response:
        """By one more code of it."""
        data, actor = checked(CodeSerializer, request.data), _actor(request)

        def work() -> Answer:
            _told(lambda: factors.remove(actor, data["code"]))
            body = {"since": None, "recovery_codes_left": 0, "asked": factors.is_asked_of(actor.user)}
            if body["asked"]:
                request._request.session[OWES_FACTOR] = True  # as after the page's removal
            return Answer(status.HTTP_200_OK, body, "")

        return answer_once(request, actor, work)


class UserFactor(ApiView):
    """The second factor of a person, for super-admins."""

    rehearsed = ("DELETE",)

    @extend_schema(responses={204: None}, operation_id="users_factor_reset")
    @audited("FACTOR_RESET", "user")
    def delete(self, request: Request, uid: UUID) -> Response:
        """Take it away, when it is lost."""
        actor = _actor(request)
        users.authorize_users(actor)
        factors.reset(actor, users.get_user(actor, uid))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FactorRanks(ApiView):
    """The roles of which a second factor is asked, for super-admins."""

    guarded = True
    rehearsed = ("PUT",)

    @extend_schema(responses=RanksSerializer, operation_id="factor_ranks")
    def get(self, request: Request) -> Response:
        """As it is."""
        return Response(_ranks(_actor(request)))

    @extend_schema(request=RanksEditSerializer, responses=RanksSerializer, operation_id="factor_ranks_set")
    def put(self, request: Request) -> Response:
        """These and no others, from the next log-in on."""
        factors.ask_of(_actor(request), checked(RanksEditSerializer, request.data)["roles"])
        return Response(_ranks(_actor(request)))


def _codes(request: Request, work: Any, code: int) -> Response:
    def answered() -> Answer:
        return Answer(code, {"recovery_codes": work()}, "")

    return answer_once(request, _actor(request), answered, secret=True)


def _told(work: Any) -> Any:
    """A wrong code of somebody who is logged in is a wrong field, not an end of his log-in."""
    try:
        return work()
    except NotAuthenticated as error:
        raise Invalid(error.detail, reasons=(Reason("code_wrong", error.detail, "code"),)) from error


def _ranks(actor: Actor) -> dict[str, list[str]]:
    return {"roles": [row.codename for row in factors.ranks(actor) if row.needs_factor]}


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
