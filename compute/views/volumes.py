"""The page of a storage domain's volumes, of which templates can be made, and their offering to departments. For super-admins."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from compute.resources import first_of
from compute.services import template_copies, volume_offers
from compute.services.sharing import uid_in
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.hypervisors.base import MOST_VOLUMES
from tenants.models import DataCenter
from tenants.tried import audited
from tenants.views.asked import uid_or_none


@require_safe
@login_required
def volume_list(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What lies there and is no disk of ours; the hypervisor is asked now. To whom one offers is chosen once for all of them."""
    actor = actor_of(request)
    domain, offers = template_copies.offers(actor, uid)
    offered, could_have = volume_offers.offered_in(actor, domain), volume_offers.could_have(actor, domain)
    centers, more = first_of(could_have)
    chosen = _chosen(request, could_have, centers)
    rows = [_row(one, offered.get(one.volume.external_id, []), chosen) for one in offers]
    context = {
        "section": "providers",
        "domain": domain,
        "rows": rows,
        "centers": centers,
        "more": more,
        "chosen": chosen,
        "most": MOST_VOLUMES,
    }
    return render(request, "compute/volume_list.html", context)


def _chosen(
    request: HttpRequest, could_have: QuerySet[DataCenter], centers: tuple[DataCenter, ...]
) -> DataCenter | None:
    """The only one, or that of the address, which may be beyond those that are named."""
    if len(centers) == 1:
        return centers[0]
    uid = uid_or_none(request.GET.get("data_center", ""))
    return could_have.filter(pk=uid).first() if uid else None


def _row(one: template_copies.Offer, offered: list[Any], chosen: DataCenter | None) -> dict[str, Any]:
    """``can_be``: offered to the chosen data center, which has it not yet."""
    is_fit = not one.reasons and not one.volume.users and not one.volume.is_other_portals
    has_it = chosen is not None and any(offer.assignment.data_center_id == chosen.pk for offer in offered)
    can_be = is_fit and chosen is not None and not has_it
    return {"volume": one.volume, "reasons": one.reasons, "offered": offered, "can_be": can_be}


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
    return redirect(f"{reverse('compute:volumes', args=[uid])}?data_center={center}")


@require_POST
@login_required
def volume_withdraw(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Offer it no longer."""
    offer = volume_offers.withdraw_offer(actor_of(request), uid)
    text = _("%(name)s is not offered to %(data_center)s any more.")
    messages.success(request, text % {"name": offer.name, "data_center": offer.assignment.data_center.name})
    return redirect("compute:volumes", uid=offer.assignment.storage_domain_id)
