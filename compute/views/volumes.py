"""The page of a storage domain's volumes, of which templates can be made, and their offering to departments. For super-admins."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from compute.services import template_copies, volume_offers
from compute.services.sharing import uid_in
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.hypervisors.base import MOST_VOLUMES
from tenants.models import DataCenter
from tenants.tried import audited


@require_safe
@login_required
def volume_list(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What lies there and is no disk of ours; the hypervisor is asked now."""
    actor = actor_of(request)
    domain, offers = template_copies.offers(actor, uid)
    offered, centers = volume_offers.offered_in(actor, domain), list(volume_offers.could_have(actor, domain))
    rows = [_row(one, offered.get(one.volume.external_id, []), centers) for one in offers]
    context = {"section": "providers", "domain": domain, "rows": rows, "centers": centers, "most": MOST_VOLUMES}
    return render(request, "compute/volume_list.html", context)


def _row(one: template_copies.Offer, offered: list[Any], centers: list[DataCenter]) -> dict[str, Any]:
    """``others``: the data centers to which it could be offered besides."""
    has = {offer.assignment.data_center_id for offer in offered}
    can_be = not one.reasons and not one.volume.users and not one.volume.is_other_portals
    others = [center for center in centers if center.pk not in has] if can_be else []
    return {"volume": one.volume, "reasons": one.reasons, "offered": offered, "others": others}


@require_POST
@login_required
@audited("VOLUME_OFFER", "storage_domain")
def volume_offer(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Let a data center make templates of one; the hypervisor is asked now."""
    actor, center = actor_of(request), uid_in(request.POST.get("data_center", ""))
    looked = volume_offers.look(actor, uid, request.POST.get("name", ""))
    offer = volume_offers.offer_volume(actor, looked, center)
    text = _("%(name)s is offered to %(data_center)s.")
    messages.success(request, text % {"name": offer.name, "data_center": offer.assignment.data_center.name})
    return redirect("compute:volumes", uid=uid)


@require_POST
@login_required
def volume_withdraw(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Offer it no longer."""
    offer = volume_offers.withdraw_offer(actor_of(request), uid)
    text = _("%(name)s is not offered to %(data_center)s any more.")
    messages.success(request, text % {"name": offer.name, "data_center": offer.assignment.data_center.name})
    return redirect("compute:volumes", uid=offer.assignment.storage_domain_id)
