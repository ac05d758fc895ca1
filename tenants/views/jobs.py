"""A page of a list of jobs, as its address asks for it; one job's page; and the ways to end a job."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.common.actor import Actor
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.jobs.feed import job_json
from portal.jobs.models import Job
from tenants import selectors
from tenants.forms.jobs import ClosingForm
from tenants.services import jobs as services
from tenants.tried import audited
from tenants.views.asked import uid_or_none

PER_PAGE = 48
SECTION = {"section": "jobs"}


def jobs_page(request: HttpRequest, rows: QuerySet[Job]) -> dict[str, Any]:
    """The jobs of this page, of rows that come newest first, and the one to go on ``before``, empty at the end."""
    before = uid_or_none(request.GET.get("before"))
    last = rows.filter(pk=before).first() if before else None
    if last is not None:
        rows = rows.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, uid__lt=last.pk))
    found = list(rows[: PER_PAGE + 1])
    older = found[PER_PAGE - 1].pk if len(found) > PER_PAGE else ""
    return {"jobs": [job_json(row) for row in found[:PER_PAGE]], "older": older}


def job_parts(actor: Actor, job: Job) -> dict[str, Any]:
    """What a job's page shows of it, over the socket too."""
    return {"job": job_json(job), "way_out": services.way_out(actor, job)}


@require_POST
@login_required
def job_cancel(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Ask the job to stop and undo what it did."""
    services.cancel_job(actor_of(request), uid)
    return _job_answer(request, uid)


@require_POST
@login_required
def job_retry(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Have the undo tried again."""
    services.retry_job(actor_of(request), uid)
    return _job_answer(request, uid)


def _job_answer(request: HttpRequest, uid: UUID) -> HttpResponse:
    """With htmx the job's part of the page is the answer, without it the page."""
    actor = actor_of(request)
    if request.htmx:  # type: ignore[attr-defined]
        parts = job_parts(actor, selectors.get_job(actor, uid))
        return render(request, "tenants/partials/_job_page.html", parts | {"oob": True})
    return redirect("job", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("JOB_CLOSE", "job")
def job_close(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Says what may be left and where, asks for a reason and for a name to be typed, then ends the job."""
    actor = actor_of(request)
    job, left = services.closing(actor, uid)
    form = ClosingForm(request.POST if request.method == "POST" else None, name=services.typed_for(job))

    def work() -> bool:
        services.close_job(actor, uid, **form.cleaned_data)
        return True

    if request.method == "POST" and form.tried(work):
        messages.info(request, _("The job is closed. What is held by it is free again."))
        return redirect("job", uid=uid)
    context = SECTION | {"job": job_json(job), "left": left, "form": form}
    return render(request, "tenants/job_close.html", context, status=400 if form.errors else 200)
