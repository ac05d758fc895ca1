"""The page that says why, or why not."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.common.errors import NotFound
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.kinds import kind_of
from tenants.permit_words import permit_title
from tenants.services import explaining

# The page of an object, and the entry of the navigation that it belongs to, by the object's kind.
PAGES = {
    "vm": ("compute:vm-detail", "machines"),
    "template": ("compute:template", "templates"),
    "data_center": ("compute:data-center", "data_centers"),
    "image": ("compute:images", "images"),
    "system": ("", "users"),
}
WHO = {
    "vm": "compute:vm-who",
    "template": "compute:template-who",
    "data_center": "tenants:data-center-who",
    "network": "network:network-who",
    "vnic_profile": "network:vnic-profile-who",
    "image": "compute:image-who",
}


def who_page(kind: str, target: Model) -> str:
    """The address of the page of who can do what with an object of this kind; empty for one that has none."""
    if kind == "system":
        return reverse("tenants:system-who")
    return reverse(WHO[kind], args=[target.pk]) if kind in WHO else ""


@require_safe
@login_required
def explain(request: HttpRequest) -> HttpResponse:
    """All that somebody may on an object, or why he may or may not one thing (``?object=&permit=&user=``)."""
    actor = actor_of(request)
    about, user = request.GET.get("object", "")[:100], request.GET.get("user", "")[:200]
    unknown = ""
    try:
        target, person, held = explaining.permits_of(actor, about=about, user=user)
    except NotFound as error:
        if not any(reason.field == "user" for reason in error.reasons):
            raise
        unknown = str(error.detail)
        target, person, held = explaining.permits_of(actor, about=about, user="")
    kind = kind_of(type(target)).name
    context: dict[str, Any] = about_object(target) | {
        "about": about,
        "person": person,
        "is_other": person.pk != actor.uid,
        "asked": user if unknown else person.username if person.pk != actor.uid else "",
        "unknown": unknown,
        "may_ask": explaining.may_ask_for_others(actor, target),
        "holders": who_page(kind, target),
        "permits": [(permit, permit_title(permit, kind), allowed) for permit, allowed in held],
    }
    if (permit := request.GET.get("permit", "")[:64]) and not unknown:
        answer = explaining.explain(actor, permit=permit, about=about, user=user)
        context |= {"answer": answer, "title": permit_title(answer.permit, kind)}
    return render(request, "tenants/explain.html", context, status=404 if unknown else 200)


def about_object(target: Model) -> dict[str, Any]:
    """What pages about an object's rights say of it: its kind, its name, the way back, and where it stands."""
    kind = kind_of(type(target)).name
    address, section = PAGES.get(kind, ("", ""))
    takes_uid = kind != "image"
    return {
        "target": target,
        "kind": kind,
        "section": section,
        "back": reverse(address, args=[target.pk] if takes_uid else []) if address else "",
    }
