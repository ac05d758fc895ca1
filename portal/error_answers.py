"""Errors that no door answered: a problem document below ``/api/``, a page elsewhere; nothing of the exception in either."""

from __future__ import annotations

import sys

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views import defaults

from portal.common.api import PROBLEM
from portal.common.errors import problem_json

API = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    if request.path.startswith(API):
        return _problem(request, 400, "invalid", _("The request is not valid."))
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    if request.path.startswith(API):
        return _problem(request, 403, "not_permitted", _("You may not do that."))
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    if request.path.startswith(API):
        return _problem(request, 404, "not_found", _("There is no such object, or you may not see it."))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where the database failed before any view was reached: in reading the session, say.

    The page stands on nothing that may be broken: not the request, the session or the database.
    """
    is_busy = isinstance(sys.exception(), OperationalError)
    status, code = (503, "unavailable") if is_busy else (500, "internal_error")
    if request.path.startswith(API):
        unexpected = _("Something unexpected went wrong. Give the administrators the request number.")
        return _problem(
            request, status, code, _("The database is busy. Try again in a moment.") if is_busy else unexpected
        )
    page = render_to_string("500.html", {"request_id": _request_id(request), "is_busy": is_busy})
    return HttpResponse(page, status=status)


def _problem(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    return JsonResponse(problem_json(status, code, detail, _request_id(request)), status=status, content_type=PROBLEM)


def _request_id(request: HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))
