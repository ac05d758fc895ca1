"""The pages of one machine beside its overview, each a tab with an address of its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from compute import selectors
from compute.views import parts
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.permits import Permit
from tenants.selectors import readable_jobs
from tenants.views.events import events_page
from tenants.views.holders import holders_shown
from tenants.views.jobs import jobs_page


def of_machine(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    """What each tab of a machine shows: its head and tabs. Raises ``NotFound`` where it may not be seen."""
    actor = actor_of(request)
    return {"section": "machines", "here_is": request.path} | parts.head(actor, selectors.get_vm(actor, uid))


@require_safe
@login_required
def vm_disks(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A machine's disks."""
    context = of_machine(request, uid)
    context["disks"] = list(context["vm"].disks.select_related("storage_domain"))
    return render(request, "compute/vm_disks.html", context)


@require_safe
@login_required
def vm_nics(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A machine's network cards."""
    context = of_machine(request, uid)
    context["nics"] = list(context["vm"].nics.select_related("vnic_profile__network"))
    return render(request, "compute/vm_nics.html", context)


@require_safe
@login_required
def vm_events(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Everything that happened to a machine, newest first."""
    context = of_machine(request, uid)
    rows = selectors.events_of(actor_of(request), context["vm"], context["permits"])
    return events_page(request, rows, context, template="compute/vm_events.html")


@require_safe
@login_required
def vm_who(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Who holds a role on a machine, itself or through its data center. For whoever may give roles on it."""
    context = of_machine(request, uid)
    shown = holders_shown(request, context["vm"])
    may_manage = Permit.GRANT in selectors.permits_on_center(actor_of(request), context["vm"].data_center)
    people = reverse("tenants:people", args=[context["vm"].data_center_id]) if may_manage else ""
    return render(request, "compute/vm_who.html", context | shown | {"people": people})


@require_safe
@login_required
def vm_jobs(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What was done to a machine, job by job, newest first."""
    context = of_machine(request, uid)
    actor = actor_of(request)
    page = jobs_page(request, selectors.jobs_of(actor, context["vm"], context["permits"]))
    named = [UUID(job["id"]) for job in page["jobs"]]
    page["readable"] = {str(pk) for pk in readable_jobs(actor, named)}
    return render(request, "compute/vm_jobs.html", context | page)
