"""What every REST door shares: declared queries, repeated requests, problem documents."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions, generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.common.actor import Actor
from portal.common.errors import PortalError, Reason, problem_json
from portal.common.idempotency import Answer, once, refuse_bad_key
from portal.common.rehearsal import is_rehearsal, rehearsal_of, rehearsed
from portal.common.strict import DryRunQuery, Empty, PageQuery, StrictSerializer, query_of

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"


class ApiView(APIView):
    """A door of the API. It answers to the query parameters that it declares for a method, each once, and to no other."""

    queries: ClassVar[dict[str, type[StrictSerializer]]] = {}
    bounded: ClassVar[tuple[str, ...]] = ()  # the methods that answer 429 when they are asked too often
    versioned: ClassVar[tuple[str, ...]] = ("PATCH",)  # the methods that answer 412 to an ``If-Match`` of before
    guarded: ClassVar[bool] = False  # whether even looking may be refused (403) to those who know that it is there
    rehearsed: ClassVar[tuple[str, ...]] = ()  # the methods that write rows alone, so that ``?dry_run=1`` undoes them
    # Of these, the ones that ask a server first, outside of any transaction, and give ``rehearsal_of`` the rest by themselves.
    asks_first: ClassVar[tuple[str, ...]] = ()
    query: dict[str, Any]

    @classmethod
    def query_kind(cls, method: str) -> type[StrictSerializer]:
        """The query parameters of a method."""
        return cls.queries.get(method, DryRunQuery if method in cls.rehearsed else Empty)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who asks comes first; then what is asked, unless there is no such method here."""
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method in self.allowed_methods:
            self.query = query_of(request, self.query_kind(method))
            if method in self.rehearsed and method not in self.asks_first and self.is_dry_run:
                setattr(self, method.lower(), rehearsed(getattr(self, method.lower())))

    @property
    def is_dry_run(self) -> bool:
        """Whether only the plan is asked for."""
        return bool(self.query.get("dry_run") == "1")


class ListView(ApiView, generics.ListAPIView):
    """A list of what one may see, a page at a time."""

    queries: ClassVar = {"GET": PageQuery}


def answer_once(request: Request, actor: Actor, work: Callable[[], Answer], *, secret: bool = False) -> Response:
    """The answer to ``work``, done once for each ``Idempotency-Key`` of this user."""
    if is_rehearsal(request):
        return Response(work().body)
    key = request.headers.get("Idempotency-Key", "")
    if "Idempotency-Key" in request.headers:
        refuse_bad_key(key)  # an empty one too, which would otherwise be as none
    fingerprint = {"path": request.path, "query": request.META.get("QUERY_STRING", ""), "body": request.data}
    (code, body, location), repeated = once(actor, key, fingerprint, work, secret=secret)
    response = Response(body, status=code, headers={"Location": location} if location else None)
    if repeated:
        response["Idempotent-Replay"] = "true"
    return response


def answer_asked(door: ApiView, request: Request, actor: Actor, work: Callable[[], Answer]) -> Response:
    """The same of a door that ``asks_first``, or what would be answered: whatever a server had to say was asked before."""
    if door.is_dry_run:
        return rehearsal_of(lambda: work().body)
    return answer_once(request, actor, work)


def problem(error: Exception, context: dict[str, Any]) -> Response:
    """An RFC 9457 problem document for any error a door may meet; nothing private is in it."""
    request: Request | None = context.get("request")
    request_id = getattr(getattr(request, "_request", None), "request_id", "")
    if isinstance(error, PortalError):
        if error.private:
            log.warning("%s: %s", error.code, error.private)
        return _document(
            error.status, error.code, str(error.detail), request_id, reasons=error.reasons, data=error.data
        )
    if isinstance(error, OperationalError):
        log.warning("database not available: %s", error)
        return _document(503, "unavailable", _("The database is busy. Try again in a moment."), request_id)
    if isinstance(error, (Http404, exceptions.NotFound)):
        return _document(404, "not_found", _("There is no such object, or you may not see it."), request_id)
    if isinstance(error, exceptions.ValidationError):
        return _document(400, "invalid", _("The request is not valid."), request_id, reasons=_reasons(error.detail))
    if isinstance(error, PermissionDenied):
        return _document(403, "not_permitted", _("You may not do that."), request_id)
    if isinstance(error, exceptions.APIException):
        return _of_api_exception(error, request_id)
    if isinstance(error, (SuspiciousOperation, BadRequest)):
        return _document(400, "invalid", _("The request is not valid."), request_id)
    log.error("request %s failed", request_id, exc_info=error)
    return _document(
        500,
        "internal_error",
        _("Something unexpected went wrong. Give the administrators the request number."),
        request_id,
    )


def _of_api_exception(error: exceptions.APIException, request_id: str) -> Response:
    status = (
        401 if isinstance(error, (exceptions.NotAuthenticated, exceptions.AuthenticationFailed)) else error.status_code
    )
    code = {
        400: "invalid",
        401: "not_authenticated",
        403: "not_permitted",
        404: "not_found",
        429: "too_many_requests",
    }.get(status, str(error.default_code))
    told = str(error.detail)
    if isinstance(error, exceptions.NotAuthenticated):
        told = _("Log in, or send a token: POST /api/v1/tokens/ makes one, to be sent as Authorization: Bearer TOKEN.")
    response = _document(status, code, told, request_id)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="api"'
    wait = getattr(error, "wait", None)
    if wait:
        response["Retry-After"] = str(int(wait) + 1)
    return response


def _reasons(detail: Any, prefix: str = "") -> tuple[Reason, ...]:
    if isinstance(detail, dict):
        return tuple(r for key, value in detail.items() for r in _reasons(value, f"{prefix}.{key}".strip(".")))
    if isinstance(detail, list) and any(isinstance(item, (dict, list)) for item in detail):
        return tuple(r for i, item in enumerate(detail) for r in _reasons(item, f"{prefix}.{i}".strip(".")))
    items = detail if isinstance(detail, list) else [detail]
    name = "" if prefix == "non_field_errors" else prefix
    return tuple(Reason(str(getattr(item, "code", "invalid")), str(item), name) for item in items)


def _document(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    reasons: tuple[Reason, ...] = (),
    data: dict[str, Any] | None = None,
) -> Response:
    body = problem_json(status, code, detail, request_id, reasons=reasons, data=data)
    response = Response(body, status=status, content_type=PROBLEM)
    if data and "retry_after" in data:
        response["Retry-After"] = str(data["retry_after"])
    return response
