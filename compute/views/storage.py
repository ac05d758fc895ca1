"""The page of storage domains: how full each is, and whose machines may lie there."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from compute import health
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.paging import page_by_name
from tenants import policy
from tenants.permits import Permit

PER_PAGE = 50


@require_safe
@login_required
def storage_list(request: HttpRequest) -> HttpResponse:
    """The storage domains one may see, a page of them by name."""
    actor = actor_of(request)
    health.authorize_storage(actor)
    rows = health.storage_of(actor)
    page, more = page_by_name(rows, request.GET.get("after", ""), size=PER_PAGE)
    context = {
        "section": "storage",
        "storage_domains": page,
        "more": more,
        "runs_providers": policy.holds_everywhere(actor, Permit.PROVIDER_VIEW),
        "opens_volumes": policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE),
        "almost_full": health.filled(rows, least=health.ALMOST_FULL),
        "full": health.filled(rows, least=health.FULL),
    }
    return render(request, "compute/storage_list.html", context)
