"""The page of who can do what with an object: one for every noun that has no tabs of its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants import policy
from tenants.kinds import kind_of, owner_of
from tenants.permit_words import permit_titles
from tenants.permits import Permit
from tenants.services.explaining import may_ask_for_others, object_of
from tenants.services.holders import Cursor, holders
from tenants.views.explaining import about_object


@require_safe
@login_required
def who(request: HttpRequest, uid: UUID, *, kind: str) -> HttpResponse:
    """Who holds a role that means something on it. For whoever may give roles on it."""
    target = object_of(actor_of(request), f"{kind}:{uid}")
    return render(request, "tenants/who.html", about_object(target) | holders_shown(request, target))


def holders_shown(request: HttpRequest, target: Model) -> dict[str, Any]:
    """What ``_holders.html`` shows: the page of them that the query asks for."""
    kind, owner = kind_of(type(target)).name, owner_of(target)
    actor = actor_of(request)
    page = holders(actor, target, cursor=Cursor.of(request.GET.get("cursor", "")[:300]))
    return {
        "kind": kind,
        "about": f"{kind}:{target.pk}",
        "holders": [(each, permit_titles(each.permits, kind)) for each in page.holders],
        "tells_system": policy.holds_everywhere(actor, Permit.GRANT),
        "gives": reverse("tenants:grants", args=[kind, target.pk]) if may_ask_for_others(actor, target) else "",
        "previous": page.previous,
        "more": page.next,
        "asleep": owner if owner is not None and not owner.enabled else None,
    }
