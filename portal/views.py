"""Pages that span apps: home, jobs, the theme."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from compute import selectors
from compute.choices import VmStatusChoice
from compute.first_steps import first_steps
from compute.forms.vms import told_apart
from compute.views import parts
from compute.views.listing import NEWEST, Listing
from compute.views.page_verbs import create_machine
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.context import THEME_COOKIE, THEMES, frame_of
from portal.job_access import get_job
from portal.jobs.feed import job_json
from portal.jobs.states import JobStatus
from tenants import policy, quota
from tenants.disabled import why_disabled
from tenants.pages import way_to
from tenants.selectors import data_centers, jobs, users
from tenants.views.jobs import job_parts, jobs_page

DISABLED = "compute/data_center_disabled.html"
IN_DRAWER = 8
IN_SEARCH = 20
TAKING_AWAY = {
    "compute.delete_vm",
    "compute.unadopt_vm",
    "compute.delete_template",
}  # at whose end their object is gone
YEAR = 365 * 24 * 3600


@require_safe
@ensure_csrf_cookie
def api_docs(request: HttpRequest) -> HttpResponse:
    """The API's documentation, to read and to try. (drf-spectacular's own page breaks our content policy.)"""
    return render(request, "api_docs.html")


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The machines this person may see: as cards, with his quota, or as a table for who runs data centers."""
    actor, frame, listing = actor_of(request), frame_of(request), Listing.of(request.GET)
    shown, more = listing.page(selectors.my_vms(actor))
    context = {
        "section": "machines",
        "listing": listing,
        "chosen_data_center": next((row for row in frame.data_centers if row.pk == listing.data_center), None),
        "cards": parts.cards(actor, shown),
        "more": more,
    }
    context["disabled"] = why_disabled(actor)
    if context["disabled"] and not (frame.data_centers or shown):
        return render(request, DISABLED, context)
    first = _("Create the first machine") if frame.runs_data_centers else _("Create your first machine")
    title = "" if shown or listing.is_filtered else first
    context["create"] = create_machine(actor, possible=bool(frame.data_centers), title=title)
    if frame.runs_data_centers:
        steps = () if shown or listing.is_filtered else first_steps(actor)
        return render(request, "compute/vm_list.html", context | _table(request, listing) | {"first_steps": steps})
    quotas = [{"data_center": row, "meters": quota.usage(row, actor.uid)} for row in frame.data_centers]
    return render(request, "home.html", context | {"quotas": quotas})


def _table(request: HttpRequest, listing: Listing) -> dict[str, Any]:
    """What the table has more than the cards: other orders, filters, and a form over the rows that are ticked."""
    here = request.GET.copy()
    here["select"] = "all"
    return {
        "statuses": VmStatusChoice.choices,
        "by_age": listing.link(sort="" if listing.sort else NEWEST),
        "key": token_urlsafe(24),
        "select_all": here.urlencode(),
        "all_selected": request.GET.get("select") == "all",
    }


@require_safe
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Everything this person may see whose name holds a text, noun by noun."""
    listing = Listing.of(request.GET)
    found = _found(request, listing) if listing.query else {}
    return render(request, "search.html", {"query": listing.query, "nothing": not any(found.values())} | found)


def _found(request: HttpRequest, listing: Listing) -> dict[str, Any]:
    actor, named = actor_of(request), {"name__icontains": listing.query}
    every: dict[str, Any] = {
        "machines": listing.matching(selectors.my_vms(actor)),
        "data_centers": data_centers(actor).filter(**named),
        "templates": selectors.visible_templates(actor).filter(**named).order_by("name", "uid"),
        "users": users(actor, query=listing.query) if frame_of(request).manages_users else (),
    }
    found = {noun: list(rows[:IN_SEARCH]) for noun, rows in every.items()}
    told_apart(found["templates"], names_providers=policy.holds_everywhere(actor, policy.Permit.PROVIDER_VIEW))
    return found


@require_safe
@login_required
def job_list(request: HttpRequest) -> HttpResponse:
    """The jobs this person may see, newest first; with ``?status=stuck`` those that wait for somebody to end them."""
    rows, stuck = jobs(actor_of(request)), request.GET.get("status") == JobStatus.STUCK
    page = jobs_page(request, rows.filter(status=JobStatus.STUCK) if stuck else rows)
    context = {"section": "jobs", "stuck": stuck, **page}
    return render(request, "tenants/job_list.html", context)


@require_safe
@login_required
def jobs_drawer(request: HttpRequest) -> HttpResponse:
    """The newest jobs, over any page."""
    rows = jobs(actor_of(request))[:IN_DRAWER]
    return render(request, "tenants/partials/_jobs_drawer.html", {"jobs": [job_json(row) for row in rows]})


@require_safe
@login_required
def job_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One job with its steps, live."""
    actor = actor_of(request)
    job = get_job(actor, uid)
    context = {"section": "jobs", "about": way_to(actor, job), "takes_away": job.operation in TAKING_AWAY}
    context |= job_parts(actor, job)
    return render(request, "tenants/job_detail.html", context)


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system has it; kept in a cookie, as the language is."""
    wanted = request.POST.get("theme", "")
    answer = HttpResponseRedirect(_safe_next(request))
    if wanted not in THEMES:
        answer.delete_cookie(THEME_COOKIE)
        return answer
    answer.set_cookie(
        THEME_COOKIE, wanted, max_age=YEAR, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )
    return answer


def _safe_next(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    known: dict[str, Any] = {"allowed_hosts": {request.get_host()}, "require_https": request.is_secure()}
    return wanted if url_has_allowed_host_and_scheme(wanted, **known) else reverse("home")
