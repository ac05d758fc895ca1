"""What stands between a log-in and every view: rights are read once for a page, and a second factor that is owed comes first."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from portal.common.api import PROBLEM
from portal.common.errors import problem_json
from portal.common.sessions import OWES_FACTOR
from tenants import policy

SHOWING = ("GET", "HEAD")


class OneLookMiddleware:
    """Requests that change nothing see rights as they were at their first question; all others ask each time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in SHOWING:
            return self.get_response(request)
        with policy.one_look():
            return self.get_response(request)


class OwedFactorMiddleware:
    """Who must have a second factor and has none is led to set one up, and does nothing else before."""

    free = ("factor", "factor-add", "logout", "set_language", "set-theme", "login", "login-code")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # A session is looked at only where there may be one: who is not logged in gets none, and a token has none.
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.session.get(OWES_FACTOR):
            return self.get_response(request)
        if request.path in {reverse(name) for name in self.free}:
            return self.get_response(request)
        if request.path.startswith("/api/"):
            return _owed(request)
        kind = HttpResponseClientRedirect if request.htmx else HttpResponseRedirect  # type: ignore[attr-defined]
        answer: HttpResponse = kind(reverse("factor"))
        return answer


def _owed(request: HttpRequest) -> HttpResponse:
    text = _("Your role asks for a second factor. Set it up on the page of your account first.")
    body = problem_json(403, "factor_owed", text, request.request_id)  # type: ignore[attr-defined]
    return JsonResponse(body, status=403, content_type=PROBLEM)
