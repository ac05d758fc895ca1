"""A page that is only shown asks once what its reader holds."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

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
