"""The page of readiness: what the last look at each provider found, and another look."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from compute.services import readiness as services
from compute.views.provider_verbs import check, connect
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.jobs.feed import job_json


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def readiness(request: HttpRequest) -> HttpResponse:
    """What was found, with its age; a POST looks again, by a job that the page follows."""
    actor = actor_of(request)
    if request.method == "POST":
        return redirect("job", uid=services.check_readiness(actor).pk)
    found = services.readiness(actor)
    job = services.open_check()
    own = services.portal_readiness(actor)
    shown = [own, *found] if found and own.checks else found
    looked = any(row.checked_at for row in found)
    context = {
        "section": "readiness",
        "providers": shown,
        "job": job_json(job) if job else None,
        "looked": looked,
        "check": check(actor, again=looked),
        "connect": connect(actor),
    }
    return render(request, "compute/readiness.html", context)
