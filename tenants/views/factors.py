"""Pages of second factors: one's own, whose roles need one, and taking a lost one from somebody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import segno
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.common.errors import Invalid, NotAuthenticated, PortalError, TooMany
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.sessions import OWES_FACTOR
from tenants.services import factors, users
from tenants.tried import audited


@require_safe
@login_required
def factor(request: HttpRequest) -> HttpResponse:
    """One's own: what there is of it, or setting it up."""
    actor = actor_of(request)
    if factors.factor_of(actor.user) is None:
        return _setting_up(request, factors.begin(actor))
    return _present(request)


@sensitive_post_parameters()
@require_POST
@login_required
def factor_add(request: HttpRequest) -> HttpResponse:
    """Have it, by the first code; then the recovery codes, this once."""
    actor, sealed = actor_of(request), request.POST.get("sealed", "")
    try:
        codes = factors.confirm(actor, sealed, request.POST.get("code", ""))
    except Invalid as error:
        return _setting_up(request, factors.begin(actor, sealed), error=error)
    if request.session.pop(OWES_FACTOR, False):
        request.session.cycle_key()
    return _codes_page(request, codes)


@sensitive_post_parameters()
@require_POST
@login_required
def factor_codes(request: HttpRequest) -> HttpResponse:
    """Other recovery codes, this once."""
    try:
        return _codes_page(request, factors.renew_codes(actor_of(request), request.POST.get("code", "")))
    except (NotAuthenticated, TooMany) as error:
        return _present(request, error=error)


@sensitive_post_parameters()
@require_POST
@login_required
def factor_remove(request: HttpRequest) -> HttpResponse:
    """Be without it. Who must have one is led to set up another at once."""
    actor = actor_of(request)
    try:
        factors.remove(actor, request.POST.get("code", ""))
    except (NotAuthenticated, TooMany) as error:
        return _present(request, error=error)
    if factors.is_asked_of(actor.user):
        request.session[OWES_FACTOR] = True
        return redirect("factor")
    messages.info(request, _("You have no second factor any more."))
    return redirect("tenants:user", uid=actor.uid)


@require_POST
@login_required
@audited("FACTOR_RESET", "user")
def factor_reset(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Take a lost one from somebody. For super-admins."""
    actor = actor_of(request)
    users.authorize_users(actor)
    person = users.get_user(actor, uid)
    factors.reset(actor, person)
    messages.info(request, _("%(name)s has no second factor any more.") % {"name": person})
    return redirect("tenants:user", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("FACTOR_ASK", "system")
def ranks(request: HttpRequest) -> HttpResponse:
    """Of which roles a second factor is asked. For super-admins."""
    actor = actor_of(request)
    rows = factors.ranks(actor)
    if request.method == "POST":
        factors.ask_of(actor, request.POST.getlist("roles"))
        messages.success(request, _("It holds from the next log-in on."))
        return redirect("tenants:users")
    return render(request, "tenants/factor_ranks.html", {"section": "users", "roles": rows})


def _setting_up(request: HttpRequest, begun: factors.Begun, *, error: PortalError | None = None) -> HttpResponse:
    context = {"begun": begun, "drawing": _drawing(begun.uri), "error": error, "owes": _owes(request)}
    return render(request, "tenants/factor_add.html", context, status=error.status if error else 200)


def _present(request: HttpRequest, *, error: PortalError | None = None) -> HttpResponse:
    user = actor_of(request).user
    context: dict[str, Any] = {
        "factor": factors.factor_of(user),
        "left": factors.recovery_codes_left(user),
        "error": error,
    }
    # A wrong code here is no end of a log-in: 400, where the log-in page says 401.
    status = 200 if error is None else 400 if isinstance(error, NotAuthenticated) else error.status
    answer = render(request, "tenants/factor.html", context, status=status)
    if error is not None and "retry_after" in error.data:
        answer["Retry-After"] = str(error.data["retry_after"])
    return answer


def _codes_page(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return render(request, "tenants/factor_codes.html", {"codes": codes})


def _owes(request: HttpRequest) -> bool:
    return bool(request.session.get(OWES_FACTOR))


def _drawing(uri: str) -> SafeString:
    """The QR code as inline SVG without styles, as the content policy wants it; a white border, in the dark theme too."""
    drawn = segno.make(uri, error="m", micro=False).svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None
    )
    return mark_safe(drawn)  # noqa: S308 - a library's drawing: it quotes nothing of the text
