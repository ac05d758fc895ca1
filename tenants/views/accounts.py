"""The page of an account: its log-ins and tokens, and ending log-ins. One's own, or anybody's for super-admins."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from portal.common.errors import NotFound
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.services import factors, sessions, tokens, users
from tenants.tried import audited

MOST_SHOWN = 50


@require_safe
@login_required
def account(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Log-ins of a person; one's own tokens too."""
    actor = actor_of(request)
    person = users.get_user(actor, uid)
    found = [(row, sessions.is_present(actor, row)) for row in sessions.sessions_of(actor, person)[:MOST_SHOWN]]
    is_own = person.pk == actor.uid
    context = {
        "section": "" if is_own else "users",
        "person": person,
        "is_own": is_own,
        "sessions": found,
        "tokens": list(tokens.tokens_of(actor)[:MOST_SHOWN]) if is_own else [],
        "now": timezone.now(),
        "factor": factors.factor_of(person),
        "others": any(not is_present for _row, is_present in found),
    }
    return render(request, "tenants/user_detail.html", context)


@require_POST
@login_required
@audited("SESSION_END", "user")
def sessions_end(request: HttpRequest, uid: UUID) -> HttpResponse:
    """End the log-in that the form names, or all but one's present one."""
    actor = actor_of(request)
    person = users.get_user(actor, uid)
    if named := request.POST.get("session", ""):
        sessions.end_session(actor, person, _uid(named))
        messages.info(request, _("The log-in was ended."))
    else:
        ended = sessions.end_sessions(actor, person)
        said = ngettext("%(count)d log-in was ended.", "%(count)d log-ins were ended.", ended)
        messages.info(request, said % {"count": ended})
    return redirect("tenants:user", uid=uid)


def _uid(text: str) -> UUID:
    with suppress(ValueError):
        return UUID(text)
    raise NotFound(_("There is no such log-in, or it has ended already."))
