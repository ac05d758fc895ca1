"""The page of who can do what with an object: one for every noun that has no tabs of its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.common.actor import Actor
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants import policy
from tenants.kinds import Kind, kind_of, kinds, owner_of, whole_of, with_whole
from tenants.permit_words import permit_titles
from tenants.permits import Permit
from tenants.services.explaining import may_ask_for_others, object_of
from tenants.services.holders import Cursor, holders, may_see_holders
from tenants.views.explaining import WHO, about_object


@require_safe
@login_required
def who(request: HttpRequest, uid: UUID, *, kind: str) -> HttpResponse:
    """Who holds a role that means something on it. For whoever may give roles on it."""
    actor = actor_of(request)
    target = object_of(actor, f"{kind}:{uid}")
    shown = about_object(target) | holders_shown(request, target) | _beside(actor, target)
    return render(request, "tenants/who.html", shown)


def _beside(actor: Actor, target: Model) -> dict[str, Any]:
    """The same page of what the object is a part of, if it would answer, and of the object's own parts."""
    kind = kind_of(type(target))
    whole = getattr(target, kind.whole) if kind.whole else None
    parts = [
        (part.title, [(row, reverse(WHO[part.name], args=[row.pk])) for row in rows])
        for part in kinds()
        if whole_of(part) is kind
        and (rows := policy.visible(actor, policy.SEE[part.name], _parts(part, target)).order_by("name", "pk"))
    ]
    seen = whole is not None and may_see_holders(actor, whole)
    up = reverse(WHO[kind_of(type(whole)).name], args=[whole.pk]) if whole is not None and seen else ""
    return {"whole": whole, "up": up, "parts": parts}


def _parts(kind: Kind, target: Model) -> QuerySet[Any]:
    return with_whole(kind).filter(**{kind.whole: target})


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
