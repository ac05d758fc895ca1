"""Pages of data centers: the list, one with what it may use, and its making and changing."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute import health, selectors
from compute.forms.data_centers import DataCenterForm
from compute.forms.vms import told_apart
from compute.resources import resources_of
from compute.services import sharing
from compute.services.launch import unfinished_launch
from compute.views import page_verbs
from portal.common.errors import Conflict
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants import policy, quota
from tenants.models import DataCenter
from tenants.selectors import get_data_center
from tenants.services.data_centers import (
    DataCenterEdit,
    authorize_creation,
    authorize_edit,
    create_data_center,
    data_center_version,
    edit_data_center,
    set_data_center_enabled,
)
from tenants.tried import audited
from tenants.verbs import rights_page

SECTION = {"section": "data_centers"}
PER_PAGE = 50


@require_safe
@login_required
def data_center_list(request: HttpRequest) -> HttpResponse:
    """The data centers one may see, a page of them by name."""
    actor = actor_of(request)
    rows = list(selectors.data_centers(actor, after=request.GET.get("after", "")[:64])[: PER_PAGE + 1])
    more = rows[PER_PAGE - 1].name if len(rows) > PER_PAGE else ""
    context = SECTION | {
        "data_centers": rows[:PER_PAGE],
        "more": more,
        "degraded": health.degraded([row.pk for row in rows[:PER_PAGE]]),
        "verbs": page_verbs.new_centers(actor),
    }
    return render(request, "compute/data_center_list.html", context)


@require_safe
@login_required
def data_center_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One data center: its quota, and what of the institute's it may use."""
    actor = actor_of(request)
    row = get_data_center(actor, uid)
    resources = resources_of(actor, row)
    lent = {kind.kind: kind.assigned for kind in resources}
    given = lent["template"]
    told_apart(given, names_providers=policy.holds_everywhere(actor, policy.Permit.PROVIDER_VIEW))
    context = {
        "data_center": row,
        "linked": set(
            selectors.all_templates(actor).filter(pk__in=[one.pk for one in given]).values_list("pk", flat=True)
        ),
        "may": selectors.rights_over_data_centers(actor, row),
        "verbs": page_verbs.of_center(actor, row, selectors.permits_on_center(actor, row)),
        "rights": rights_page(row),
        "meters": quota.usage(row),
        "resources": resources,
        "networks": (networks := list(selectors.own_networks(row))),
        "network_verbs": page_verbs.of_networks(actor, [*networks, *lent["network"]]),
        "degraded": health.degradations(row),
        "unfinished": unfinished_launch(row),
        "opens_volumes": policy.holds_everywhere(actor, policy.Permit.PROVIDER_MANAGE),
    }
    return render(request, "compute/data_center_detail.html", SECTION | context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DATA_CENTER_CREATE", "data_center")
def data_center_create(request: HttpRequest) -> HttpResponse:
    """A new data center. For super-admins."""
    actor = actor_of(request)
    authorize_creation(actor)
    form = DataCenterForm(request.POST if request.method == "POST" else None)

    def work() -> DataCenter:
        return create_data_center(actor, name=form.cleaned_data["name"], description=form.cleaned_data["description"])

    return _form_page(request, form, work, said=_("%(name)s was made. Assign it what it may use."), context={})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DATA_CENTER_EDIT", "data_center")
def data_center_edit(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another name or description."""
    actor = actor_of(request)
    row = authorize_edit(actor, uid)
    initial = {"name": row.name, "description": row.description, "version": data_center_version(row)}
    form = DataCenterForm(request.POST if request.method == "POST" else None, initial=initial)
    if not policy.holds_everywhere(actor, policy.Permit.SYSTEM_MANAGE):
        form.fix_name()

    def work() -> DataCenter:
        return edit_data_center(actor, uid, DataCenterEdit(**form.cleaned_data))

    return _form_page(request, form, work, said=_("%(name)s was changed."), context={"data_center": row})


def _form_page(
    request: HttpRequest, form: DataCenterForm, work: Any, *, said: str, context: dict[str, Any]
) -> HttpResponse:
    if request.method == "POST" and (row := form.tried(work)):
        messages.success(request, said % {"name": row.name})
        return redirect("compute:data-center", uid=row.pk)
    status = 400 if form.errors else 200
    return render(request, "compute/data_center_form.html", SECTION | context | {"form": form}, status=status)


@require_POST
@login_required
def data_center_enable(request: HttpRequest, uid: UUID, *, enabled: bool) -> HttpResponse:
    """Disable it, or enable it again."""
    row = set_data_center_enabled(actor_of(request), uid, enabled=enabled)
    said = _("%(name)s is enabled again.") if enabled else _("%(name)s is disabled. Its machines run on.")
    messages.info(request, said % {"name": row.name})
    return redirect("compute:data-center", uid=uid)


@require_POST
@login_required
def resource_assign(request: HttpRequest, uid: UUID, kind: str) -> HttpResponse:
    """Let it use one more thing."""
    sharing.assign(actor_of(request), uid, kind, sharing.uid_in(request.POST.get("id", "")))
    return redirect("compute:data-center", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def resource_unassign(request: HttpRequest, uid: UUID, kind: str) -> HttpResponse:
    """Take a thing back from it, once that was confirmed; the page lists what needs it (``?id=`` the thing)."""
    actor, status = actor_of(request), HTTPStatus.OK
    thing = sharing.uid_in((request.POST if request.method == "POST" else request.GET).get("id", ""))
    if request.method == "POST":
        try:
            sharing.unassign(actor, uid, kind, thing)
            return redirect("compute:data-center", uid=uid)
        except Conflict:
            status = HTTPStatus.CONFLICT
    context = SECTION | {"kind": kind, "asked": sharing.taking_back(actor, uid, kind, thing)}
    return render(request, "compute/unassign.html", context, status=status)
