"""A page of a list of jobs, as its address asks for it."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal.jobs.feed import job_json
from portal.jobs.models import Job
from tenants.views.asked import uid_or_none

PER_PAGE = 48


def jobs_page(request: HttpRequest, rows: QuerySet[Job]) -> dict[str, Any]:
    """The jobs of this page, of rows that come newest first, and the one to go on ``before``, empty at the end."""
    before = uid_or_none(request.GET.get("before"))
    last = rows.filter(pk=before).first() if before else None
    if last is not None:
        rows = rows.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, uid__lt=last.pk))
    found = list(rows[: PER_PAGE + 1])
    older = found[PER_PAGE - 1].pk if len(found) > PER_PAGE else ""
    return {"jobs": [job_json(row) for row in found[:PER_PAGE]], "older": older}
