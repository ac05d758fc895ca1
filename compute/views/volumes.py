"""The page of a storage domain's volumes, of which templates can be made. For super-admins."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from compute.services import template_copies
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.hypervisors.base import MOST_VOLUMES


@require_safe
@login_required
def volume_list(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What lies there and is no disk of ours; the hypervisor is asked now."""
    domain, offers = template_copies.offers(actor_of(request), uid)
    context = {"section": "providers", "domain": domain, "offers": offers, "most": MOST_VOLUMES}
    return render(request, "compute/volume_list.html", context)
