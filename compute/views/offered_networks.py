"""Pages on which a host's networks and bridges are offered to data centers, and taken back. For super-admins."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from compute import selectors
from compute.services import offered_networks as services
from network.forms import OfferForm
from network.models import Network
from portal.common.errors import Conflict
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.tried import audited

SECTION = {"section": "providers"}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("NETWORK_OFFER", "provider")
def network_offer(request: HttpRequest, uid: UUID, found: UUID) -> HttpResponse:
    """Offer one that was found: what that means is said first."""
    actor = actor_of(request)
    provider = selectors.get_provider(actor, uid)
    offer = services.get_offer(actor, uid, found)
    form = OfferForm(request.POST if request.method == "POST" else None)

    def work() -> Network:
        return services.offer_network(actor, uid, found, name=form.cleaned_data["name"])

    if request.method == "POST" and (row := form.tried(work)):
        messages.success(
            request, _("%(name)s is offered. Assign it to data centers on their pages.") % {"name": row.name}
        )
        return redirect(f"{reverse('compute:provider', args=[uid])}#networks")
    context = SECTION | {"provider": provider, "offer": offer, "form": form}
    return render(request, "compute/network_offer.html", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("NETWORK_TAKE_BACK", "network")
def network_take_back(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Offer it no longer, when nothing depends on it; the page lists what does."""
    actor, status = actor_of(request), HTTPStatus.OK
    asked = services.taking_back(actor, uid)
    if request.method == "POST":
        try:
            row = services.take_back_network(actor, uid)
        except Conflict:
            asked, status = services.taking_back(actor, uid), HTTPStatus.CONFLICT
        else:
            said = _("%(name)s is offered no longer. On its host nothing changed.") % {"name": row.name}
            messages.info(request, said)
            return redirect(f"{reverse('compute:provider', args=[row.provider_id])}#networks")
    return render(request, "compute/network_take_back.html", SECTION | {"asked": asked}, status=status)
