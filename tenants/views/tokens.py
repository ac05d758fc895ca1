"""Pages of tokens: making and revoking one's own, and those of a data center."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.common.http import actor_of
from portal.common.idempotency import Answer, form_key, once
from portal.common.login_first import login_required
from tenants.forms.tokens import PROOFS, TokenForm
from tenants.models import ApiToken
from tenants.services import people, tokens
from tenants.services.proving import prove_again, what_proves
from tenants.tried import audited
from tenants.views.asked import uid_or_none

MOST_OFFERED = 200
PER_PAGE = 50
Make = Callable[[dict[str, Any]], tuple[ApiToken, str]]


@sensitive_post_parameters("password", "code")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def token_create(request: HttpRequest) -> HttpResponse:
    """A token of one's own, for whoever tells once more what his log-in took."""
    actor = actor_of(request)
    back = reverse("tenants:user", args=[actor.uid])
    context = {"section": "", "title": _("Make a token"), "do": _("Make"), "back": back, "up": _("Log-ins and tokens")}

    def make(wish: dict[str, Any]) -> tuple[ApiToken, str]:
        return tokens.create_token(actor, **wish)

    return _form_page(request, _form(request, proof=what_proves(actor)), make, context)


@require_POST
@login_required
def token_revoke(request: HttpRequest, uid: UUID) -> HttpResponse:
    """End one of one's own."""
    actor = actor_of(request)
    tokens.revoke_token(actor, uid)
    messages.info(request, _("The token was revoked."))
    return redirect("tenants:user", uid=actor.uid)


@require_safe
@login_required
def service_token_list(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The tokens of a data center, a page of them, the newest first."""
    actor = actor_of(request)
    center = people.authorize_people(actor, uid)
    rows = tokens.service_tokens(actor, uid)
    after = uid_or_none(request.GET.get("after"))
    if after is not None and (last := rows.filter(pk=after).first()) is not None:
        rows = rows.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, uid__lt=last.uid))
    found = list(rows[: PER_PAGE + 1])
    shown, roles = found[:PER_PAGE], tokens.role_names(uid, found[:PER_PAGE])
    for row in shown:
        row.role = roles[row.pk]  # type: ignore[attr-defined]
    more = str(shown[-1].pk) if len(found) > PER_PAGE else ""
    context = {"section": "data_centers", "data_center": center, "tokens": shown, "more": more, "now": timezone.now()}
    return render(request, "tenants/service_token_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("TOKEN_CREATE", "data_center")
def service_token_create(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A token of a data center."""
    actor = actor_of(request)
    center = people.authorize_people(actor, uid)
    title = _("Make a token of %(name)s") % {"name": center.name}
    back = reverse("tenants:service-tokens", args=[uid])
    up = _("Tokens of %(name)s") % {"name": center.name}
    context = {"section": "data_centers", "title": title, "do": _("Make"), "back": back, "up": up}

    def make(wish: dict[str, Any]) -> tuple[ApiToken, str]:
        role = wish.pop("role")
        return tokens.create_service_token(actor, uid, tokens.TokenWish(**wish), role=role)

    return _form_page(request, _form(request, roles=people.roles_to_give(), proof=what_proves(actor)), make, context)


@require_POST
@login_required
def service_token_revoke(request: HttpRequest, uid: UUID, token: UUID) -> HttpResponse:
    """End one of a data center's."""
    tokens.revoke_service_token(actor_of(request), uid, token)
    messages.info(request, _("The token was revoked."))
    return redirect("tenants:service-tokens", uid=uid)


def _form(request: HttpRequest, **more: Any) -> TokenForm:
    choosable = tokens.choosable(actor_of(request), most=MOST_OFFERED)
    posted = request.POST if request.method == "POST" else None
    return TokenForm(posted, choosable=choosable, initial={"key": token_urlsafe(24)}, **more)


def _form_page(request: HttpRequest, form: TokenForm, make: Make, context: dict[str, Any]) -> HttpResponse:
    """The form; once it is good, the page that shows the token this once."""

    actor = actor_of(request)

    def tried() -> dict[str, Any]:
        key = form_key(form.cleaned_data["key"])
        wish = {name: value for name, value in form.cleaned_data.items() if name not in (*PROOFS, "key")}
        # Before the key's transaction: hashing takes long, a directory longer.
        prove_again(actor, **{name: form.cleaned_data[name] for name in PROOFS if name in form.cleaned_data})

        def work() -> Answer:
            row, text = make(dict(wish))
            return Answer(200, {"token": text, "name": row.name}, "")

        return once(actor, key, wish | {"at": request.path}, work, secret=True)[0].body

    if request.method == "POST" and (made := form.tried(tried)):
        return render(request, "tenants/token_made.html", made | context)
    return render(request, "tenants/user_form.html", context | {"form": form}, status=400 if form.errors else 200)
