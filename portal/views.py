"""Pages that span apps: home, jobs, the theme."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from portal.context import THEME_COOKIE, THEMES

YEAR = 365 * 24 * 3600


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """My machines."""
    return render(request, "home.html", {"section": "machines"})


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system has it; kept in a cookie, as the language is."""
    wanted = request.POST.get("theme", "")
    answer = HttpResponseRedirect(_safe_next(request))
    if wanted not in THEMES:
        answer.delete_cookie(THEME_COOKIE)
        return answer
    answer.set_cookie(
        THEME_COOKIE, wanted, max_age=YEAR, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )
    return answer


def _safe_next(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    known: dict[str, Any] = {"allowed_hosts": {request.get_host()}, "require_https": request.is_secure()}
    return wanted if url_has_allowed_host_and_scheme(wanted, **known) else reverse("home")
