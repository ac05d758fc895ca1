"""Pages of networks."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from network import services
from network.forms import NetworkForm
from portal.common.errors import PortalError
from portal.common.http import actor_of
from portal.common.login_first import login_required


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def network_create(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A network of a data center's own. For super-admins."""
    actor = actor_of(request)
    row, providers = services.authorize_networks(actor, uid), services.providers_for(actor)
    form = NetworkForm(request.POST if request.method == "POST" else None, providers=providers)
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data
        provider = next(one for one in providers if str(one.pk) == wanted["provider"])
        try:
            cidr = wanted["cidr"] or services.free_range(provider)
            _network, job = services.create_network(actor, row, provider=provider, name=wanted["name"], cidr=cidr)
        except PortalError as error:
            if not form.add_reasons(error.reasons):
                raise
        else:
            messages.success(request, _("%(name)s is being made.") % {"name": wanted["name"]})
            return redirect("job", uid=job.pk)
    context = {"section": "data_centers", "form": form, "data_center": row, "has_providers": bool(providers)}
    return render(request, "network/network_form.html", context, status=400 if form.errors else 200)
