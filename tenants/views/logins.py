"""The log-in page, and the page for the code of a second factor after it."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.views import LogoutView
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from portal.common.actor import Actor, Door
from portal.common.drafts import draft_in, keep_draft
from portal.common.errors import NotAuthenticated, PortalError, TooMany, Unavailable
from portal.common.http import actor_of, takes_nul
from portal.common.sessions import OWES_FACTOR
from tenants.models import User
from tenants.services import factors
from tenants.services.passwords import account_meant, check_password, names_a_directory
from tenants.services.sessions import log_out

DEVICE_COOKIE = "device"
DEVICE_SECONDS = 180 * 24 * 3600
PENDING_SECONDS = 300
PENDING_SALT = "pending log-in"
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


@takes_nul
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
    meant = account_meant(username) if DEVICE_COOKIE in request.COOKIES else None
    device = _device_of(request, meant)
    try:
        user = check_password(
            username,
            request.POST.get("password", ""),
            client_address=request.client_address,  # type: ignore[attr-defined]
            request_id=request.request_id,  # type: ignore[attr-defined]
            device=device,
        )
    except (NotAuthenticated, TooMany, Unavailable) as error:
        return _refused(request, "tenants/login.html", context | {"username": username[:150]}, error)
    if factors.factor_of(user) is None:
        return _enter(request, user, wanted)
    return render(request, "tenants/login_code.html", context | {"pending": _pending(user)})


class LogOut(LogoutView):
    """The end of a log-in that its person asks for, on record."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Out, and to the log-in page."""
        if request.user.is_authenticated:
            log_out(actor_of(request))
        return super().post(request, *args, **kwargs)


@sensitive_post_parameters()
@require_POST
def log_in_code(request: HttpRequest) -> HttpResponse:
    """The second step: a code of the app, or a recovery code, of whom the first step let through minutes ago."""
    wanted, pending = request.POST.get("next", ""), request.POST.get("pending", "")
    context = {"next": wanted, "draft": draft_in(request), "pending": pending}
    user = _let_through(pending)
    address, request_id = request.client_address, request.request_id  # type: ignore[attr-defined]
    actor = Actor(user=None, door=Door.PAGE, request_id=request_id, client_address=address)
    if user is None:
        several = {"several": names_a_directory()}
        return _refused(request, "tenants/login.html", context | several, factors.refuse_stale(actor))
    try:
        factors.prove(user, request.POST.get("code", ""), actor=actor, device=_device_of(request, user))
    except (NotAuthenticated, TooMany, Unavailable) as error:
        return _refused(request, "tenants/login_code.html", context, error)
    return _enter(request, user, wanted)


def _enter(request: HttpRequest, user: User, wanted: str) -> HttpResponse:
    """Both steps are done. Who must have a second factor and has none yet goes no further than its page."""
    device = _device_of(request, user) or token_urlsafe(16)
    request.session.flush()  # Django keeps the key when the same person logs in again in the same browser
    login(request, user, backend=MODEL_BACKEND)
    keep_draft(request)
    if factors.factor_of(user) is None and factors.is_asked_of(user):
        request.session[OWES_FACTOR] = True
    return _with_device(HttpResponseRedirect(_safe(request, wanted)), user, device)


def _refused(request: HttpRequest, template: str, context: dict[str, Any], error: PortalError) -> HttpResponse:
    answer = render(request, template, context | {"error": error.detail}, status=error.status)
    if "retry_after" in error.data:
        answer["Retry-After"] = str(error.data["retry_after"])
    return answer


def _pending(user: User) -> str:
    """Says, signed, that this person's password was right just now; worth nothing without the code."""
    return signing.dumps([str(user.pk), user.get_session_auth_hash()], salt=PENDING_SALT)


def _let_through(pending: str) -> User | None:
    try:
        uid, known = signing.loads(pending, salt=PENDING_SALT, max_age=PENDING_SECONDS)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=uid, is_active=True).first()
    return user if user is not None and constant_time_compare(known, user.get_session_auth_hash()) else None


def _device_of(request: HttpRequest, meant: User | None) -> str:
    """What this browser got when this very account logged in; empty when it did not."""
    if DEVICE_COOKIE not in request.COOKIES or meant is None:
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
