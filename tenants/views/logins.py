"""The log-in page."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from portal.common.drafts import draft_in, keep_draft
from portal.common.errors import NotAuthenticated, TooMany, Unavailable
from tenants.models import User
from tenants.services.passwords import account_meant, check_password, names_a_directory

DEVICE_COOKIE = "device"
DEVICE_SECONDS = 180 * 24 * 3600
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


@require_http_methods(["GET", "HEAD", "POST"])
def log_in(request: HttpRequest) -> HttpResponse:
    """Name and password, then on to the page that was asked for."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    if request.htmx:  # type: ignore[attr-defined]
        # The session ended under an open page: its next load leads here by itself, and back.
        return HttpResponseClientRefresh()
    context: dict[str, Any] = {
        "next": wanted,
        "username": "",
        "draft": draft_in(request),
        "several": names_a_directory(),
    }
    if request.method != "POST":
        return render(request, "tenants/login.html", context)
    username = request.POST.get("username", "")
    device = _device_of(request, username)
    try:
        user = check_password(
            username,
            request.POST.get("password", ""),
            client_address=request.client_address,  # type: ignore[attr-defined]
            request_id=request.request_id,  # type: ignore[attr-defined]
            device=device,
        )
    except (NotAuthenticated, TooMany, Unavailable) as error:
        context |= {"error": error.detail, "username": username[:150]}
        answer = render(request, "tenants/login.html", context, status=error.status)
        if "retry_after" in error.data:
            answer["Retry-After"] = str(error.data["retry_after"])
        return answer
    request.session.flush()  # Django keeps the key when the same person logs in again in the same browser
    login(request, user, backend=MODEL_BACKEND)
    keep_draft(request)
    return _with_device(HttpResponseRedirect(_safe(request, wanted)), user, device or token_urlsafe(16))


def _device_of(request: HttpRequest, username: str) -> str:
    """What this browser got when the very account that this name means logged in; empty when none did."""
    if DEVICE_COOKIE not in request.COOKIES or (meant := account_meant(username)) is None:
        return ""
    return request.get_signed_cookie(DEVICE_COOKIE, "", salt=_salt(meant), max_age=DEVICE_SECONDS) or ""


def _with_device(answer: HttpResponse, user: User, device: str) -> HttpResponse:
    """What tells this browser from strangers at the next log-in of the same account; it opens nothing."""
    answer.set_signed_cookie(
        DEVICE_COOKIE,
        device,
        salt=_salt(user),
        max_age=DEVICE_SECONDS,
        path=reverse("login"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return answer


def _salt(user: User) -> str:
    """By the account, never by what was typed: a directory may hold a name that differs from a local one in case alone."""
    return f"device of {user.pk}"


def _safe(request: HttpRequest, wanted: str) -> str:
    ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if ours else reverse("home")
