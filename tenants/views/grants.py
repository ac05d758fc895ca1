"""The page of the grants on one object, whatever its kind: to whom which role was given there, giving and taking."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.common.actor import Actor
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.forms.grants import GrantForm, GroupSearchForm
from tenants.kinds import kind_of, owner_of
from tenants.models import Directory, System
from tenants.services import grantees as services
from tenants.services.directory_groups import may_look_through
from tenants.services.grantees import GrantRequest
from tenants.services.grants import grantable
from tenants.services.told import gives, naming
from tenants.tried import audited

SECTIONS = {
    "vm": "machines",
    "data_center": "data_centers",
    "template": "templates",
    "image": "images",
    "network": "data_centers",
    "vnic_profile": "data_centers",
    "system": "users",
}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("GRANT")
def grants(request: HttpRequest, kind: str, uid: UUID) -> HttpResponse:
    """To whom which role was given on an object, and a form that gives one. For whoever may give roles there."""
    actor = actor_of(request)
    target = grantable(actor, kind, uid)
    to_give, beyond = services.roles_to_give(actor, target)
    chosen = request.GET.get("group", "")
    initial = {"who": "group", "name": chosen} if chosen else None
    sent, groupless = request.POST if request.method == "POST" else None, services.why_no_group(actor, target)
    form = GrantForm(sent, roles=to_give, groupless=groupless, initial=initial)

    def work() -> services.Grantee:
        given = form.cleaned_data
        who = {given["who"]: given["name"]}
        wanted = GrantRequest(given["role"], who.get("user", ""), who.get("group", ""), form.expires_at())
        return services.give(actor, target, wanted)

    if request.method == "POST" and (grantee := form.tried(work)):
        messages.success(request, _("%(name)s has the role now.") % {"name": grantee.name})
        return redirect("tenants:grants", kind=kind, uid=uid)
    rows, more, unnamed = services.page_of(actor, target, after=request.GET.get("after", "")[:150])
    context = {"section": SECTIONS.get(kind, ""), "kind": kind, "target": target, "title": _title(actor, target)}
    context |= {
        "rows": rows,
        "more": more,
        "unnamed": unnamed,
        "form": form,
        "beyond": beyond,
        "crumbs": _crumbs(target),
    }
    context |= _search(request, actor)
    return render(request, "tenants/grants.html", context, status=400 if form.errors else 200)


def _search(request: HttpRequest, actor: Actor) -> dict[str, Any]:
    """The form that looks for a directory's group, for those who may, and what it found."""
    if not may_look_through(actor) or not Directory.objects.filter(enabled=True).exists():
        return {}
    search = GroupSearchForm(request.GET if "group_like" in request.GET else None)
    if not search.is_valid():
        return {"search": search}
    return {"search": search, "looked": services.look_for_groups(actor, search.cleaned_data["group_like"])}


@require_POST
@login_required
@audited("REVOKE")
def grant_take(request: HttpRequest, kind: str, uid: UUID) -> HttpResponse:
    """Take a role back."""
    actor = actor_of(request)
    target = grantable(actor, kind, uid)
    user, group = _uid(request.POST.get("user", "")), request.POST.get("group", "")
    number = int(group) if group.isascii() and group.isdigit() and len(group) < 10 else None
    found = services.take(actor, target, role=request.POST.get("role", "")[:64], user=user, group=number)
    messages.info(request, _("The role of %(name)s was taken back.") % {"name": found.name})
    if gives(actor, target):
        return redirect("tenants:grants", kind=kind, uid=uid)
    return redirect("home")  # it was his own by which he could look at this page


def _title(actor: Actor, target: Model) -> str:
    if isinstance(target, System):
        return _("Roles on the whole system")
    return _("Roles on %(name)s") % {"name": naming(actor)(target)}


def _crumbs(target: Model) -> list[tuple[str, str]]:
    """The way back: the object where it has a page of its own, else the data center that it is in."""
    if isinstance(target, System):
        return [(str(_("Users")), reverse("tenants:users"))]
    shown = next((one for one in (target, owner_of(target)) if one is not None and kind_of(type(one)).page), None)
    return [(str(shown), reverse(kind_of(type(shown)).page, args=[shown.pk]))] if shown is not None else []


def _uid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
