"""What every REST door shares: problem documents, strict JSON, cursor paging."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.errors import PortalError, Reason

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"


class StrictJSONParser(BaseParser):
    """JSON as the standard has it: no NaN, no infinities, no duplicate keys, no huge integers."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The parsed body; ``ParseError`` (400) for anything malformed."""
        try:
            return json.loads(
                stream.read().decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicates
            )
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(_("The body is not valid JSON.")) from error


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _no_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(key)
        found[key] = value
    return found


class NewestFirst(CursorPagination):
    """Cursor paging: 50 rows, at most 200, without a count."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-uid")

    def get_paginated_response(self, data: Any) -> Response:
        """``{"next", "previous", "results"}``."""
        return Response({"next": self.get_next_link(), "previous": self.get_previous_link(), "results": data})


class ByName(NewestFirst):
    """The same, ordered by name."""

    ordering = ("name", "uid")


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
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
    return None


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
    response = _document(status, code, str(error.detail), request_id)
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
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "reasons": [reason.as_json() for reason in reasons],
        "request_id": request_id,
    }
    response = Response(body | (data or {}), status=status, content_type=PROBLEM)
    if data and "retry_after" in data:
        response["Retry-After"] = str(data["retry_after"])
    return response
