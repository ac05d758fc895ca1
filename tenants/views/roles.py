"""Pages of roles: all of them, one with what is in it, and the making of the institute's own by super-admins."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants import policy
from tenants.fitting import fits
from tenants.forms.roles import RoleForm, by_noun
from tenants.kinds import kinds
from tenants.models import Role
from tenants.permits import Permit
from tenants.services import role_uses
from tenants.services import roles as services
from tenants.services.roles import RoleEdit, RoleRequest
from tenants.tried import audited
from tenants.verbs import Verb

SECTION = {"section": "roles"}


def _may_make(request: HttpRequest) -> bool:
    return policy.holds_everywhere(actor_of(request), Permit.SYSTEM_MANAGE)


def _above(request: HttpRequest, verb: Verb) -> Verb | None:
    return verb.asking_above(actor_of(request), Permit.SYSTEM_MANAGE)


def _verbs(request: HttpRequest, row: Role) -> list[Verb]:
    """What can be done with a role: to begin another from it, and to one of the institute's own the rest."""
    begin = f"{reverse('tenants:role-create')}?{urlencode({'from': row.codename})}"
    found = [Verb("copy", _("Start a role from it"), "copy", begin)]
    if not row.predefined:
        found.append(Verb("edit", _("Edit"), "pencil", reverse("tenants:role-edit", args=[row.pk])))
        found.append(Verb("delete", _("Delete"), "trash", reverse("tenants:role-remove", args=[row.pk])))
    return [shown for verb in found if (shown := _above(request, verb)) is not None]


@require_safe
@login_required
def role_list(request: HttpRequest) -> HttpResponse:
    """All roles: those of the portal, and the institute's own; to super-admins how often each is held."""
    may_make = _may_make(request)
    counts = role_uses.use_counts() if may_make else {}
    rows = [(row, counts.get(row.codename, 0)) for row in services.roles()]
    own = [one for one in rows if not one[0].predefined]
    comes_with = [one for one in rows if one[0].predefined]
    make = Verb("make", _("Make a role"), "plus", reverse("tenants:role-create"))
    context = {"own": own, "predefined": comes_with, "may_make": may_make, "make": _above(request, make)}
    return render(request, "tenants/role_list.html", SECTION | context)


@require_safe
@login_required
def role_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One role: what is in it, on what it can be given; to super-admins where it is held."""
    row, may_make = services.get_role(uid), _may_make(request)
    context = {
        "role": row,
        "groups": by_noun(row.permits),
        "places": [kind.title for kind in kinds() if fits(row.permits, kind.name)],
        "may_make": may_make,
        "verbs": _verbs(request, row),
        "uses": role_uses.uses(row) if may_make else [],
    }
    return render(request, "tenants/role_detail.html", SECTION | context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("ROLE_CREATE", "role")
def role_create(request: HttpRequest) -> HttpResponse:
    """A role of the institute's own; ``?from=`` the one whose permits it starts with."""
    actor = actor_of(request)
    services.authorize_roles(actor)
    start = services.roles().filter(codename=request.GET.get("from", "")[:64]).first()
    initial = {"permits": start.permits} if start else {}
    form = RoleForm(request.POST if request.method == "POST" else None, initial=initial)

    def work() -> Role:
        given = form.cleaned_data
        began = start.pk if start else None
        wanted = RoleRequest(given["name"], given["description"], tuple(given["permits"]), began)
        return services.create_role(actor, wanted)

    said = _("%(name)s was made. Give it to people where they need it.")
    return _form_page(request, form, work, said=said, context={"start": start})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("ROLE_EDIT", "role")
def role_edit(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another name or description, other permits: for all who hold it, at once."""
    actor = actor_of(request)
    row = services.authorize_change(actor, uid)
    initial = {name: getattr(row, name) for name in ("name", "description", "permits")}
    initial["version"] = services.role_version(row)
    form = RoleForm(request.POST if request.method == "POST" else None, initial=initial)

    def work() -> Role:
        given = form.cleaned_data
        edit = RoleEdit(given["name"], given["description"], tuple(given["permits"]), given["version"])
        return services.edit_role(actor, uid, edit)

    context = {"role": row, "held": role_uses.use_counts().get(row.codename, 0)}
    return _form_page(request, form, work, said=_("%(name)s was changed."), context=context)


def _form_page(request: HttpRequest, form: RoleForm, work: Any, *, said: str, context: dict[str, Any]) -> HttpResponse:
    if request.method == "POST" and (row := form.tried(work)):
        messages.success(request, said % {"name": row.name})
        return redirect("tenants:role", uid=row.pk)
    status = 400 if form.errors else 200
    return render(request, "tenants/role_form.html", SECTION | context | {"form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("ROLE_DELETE", "role")
def role_remove(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Delete a role that nobody holds; the page says who does."""
    actor = actor_of(request)
    row = services.authorize_change(actor, uid)
    if request.method == "POST":
        services.delete_role(actor, uid)
        messages.info(request, _("The role %(name)s was deleted.") % {"name": row.name})
        return redirect("tenants:roles")
    context = {"role": row, "reasons": role_uses.use_reasons(row)}
    return render(request, "tenants/role_remove.html", SECTION | context)
