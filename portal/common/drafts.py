"""What somebody typed survives the end of his log-in: it waits, sealed, in the log-in page and then in his new session.

Nothing of it is written for somebody who is not logged in, and nobody but who typed it gets to see it again: a form says,
signed, whose page it stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _

from portal.common.login_first import View, log_in_first
from portal.common.sealed import SealBroken, seal_json, unseal_json

FIELD = "draft"  # of the log-in form, and of the session
MOST_CHARACTERS = 40_000
LONGEST_SEALED = 250_000
_signer = Signer(salt="whose form")


def whose_form(uid: UUID | None) -> str:
    """For a form's hidden field ``whose``: on whose page it stands."""
    return _signer.sign(str(uid))


def login_keeping(fields: Iterable[str]) -> Callable[[View], View]:
    """As ``login_required``, and what was posted in these fields comes back in ``kept_values`` after the log-in."""

    def decorated(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **named: Any) -> HttpResponse:
            if request.user.is_authenticated:
                return view(request, *args, **named)
            return _ended(request, list(fields))

        return guarded

    return decorated


def _ended(request: HttpRequest, fields: list[str]) -> HttpResponse:
    if request.method == "POST" and request.htmx:  # type: ignore[attr-defined]
        # A part of the page: loaded anew, it would take with it what was typed.
        return render(request, "partials/_log_in_ended.html")
    typed = {name: request.POST.getlist(name) for name in fields if name in request.POST}
    whose = _signed_by_us(request.POST.get("whose", ""))
    if not whose or not typed or sum(len(text) for texts in typed.values() for text in texts) > MOST_CHARACTERS:
        return log_in_first(request)
    draft = seal_json({"whose": whose, "path": request.path, "typed": typed})
    context = {"next": request.path, "username": "", "draft": draft, "ended": True}
    return render(request, "tenants/login.html", context, status=401)


def _signed_by_us(text: str) -> str:
    try:
        return _signer.unsign(text)
    except BadSignature:
        return ""


def draft_in(request: HttpRequest) -> str:
    """The sealed draft that a log-in form carries, to be shown in it again; empty for one that cannot be ours."""
    draft = request.POST.get(FIELD, "")
    return draft if len(draft) <= LONGEST_SEALED else ""


def keep_draft(request: HttpRequest) -> None:
    """Lay the draft of the log-in form into the session that was just opened, if it is this user's own."""
    draft = draft_in(request)
    try:
        is_own = unseal_json(draft).get("whose") == str(request.user.pk)
    except SealBroken:
        return
    if is_own:
        request.session[FIELD] = draft


def kept_values(request: HttpRequest) -> MultiValueDict[str, str] | None:
    """What this user had typed into the form of this address when his log-in ended; once, and nobody else's."""
    if getattr(request, "real_user", None) is not None:
        return None  # the draft of who really sits there waits until he is himself again
    try:
        draft = unseal_json(request.session.pop(FIELD, ""))
    except SealBroken:
        return None
    if (draft.get("whose"), draft.get("path")) != (str(request.user.pk), request.path) or "typed" not in draft:
        return None
    messages.info(request, _("Your log-in had ended. What you had typed is here again."))
    return MultiValueDict(draft["typed"])
