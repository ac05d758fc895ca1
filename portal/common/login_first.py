"""Pages for people who are logged in, and where the others come back to."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url

View = Callable[..., HttpResponse]


def login_required(view: View) -> View:
    """The view for who is logged in; all others log in first."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **named: Any) -> HttpResponse:
        return view(request, *args, **named) if request.user.is_authenticated else log_in_first(request)

    return guarded


def log_in_first(request: HttpRequest) -> HttpResponse:
    """To the log-in page, and from there back by a GET: to this page, or to the one whose button was pressed.

    What was posted is not kept, for whoever logs in may be another; and many addresses answer a POST alone.
    """
    return redirect_to_login(request.get_full_path() if request.method in {"GET", "HEAD"} else _page_of_form(request))


def _page_of_form(request: HttpRequest) -> str:
    """The page of ours that the browser says it posts from; home when it does not say."""
    page = urlsplit(request.headers.get("Referer", ""))
    if page.netloc != request.get_host():
        return resolve_url("home")
    return page._replace(scheme="", netloc="", fragment="").geturl()
