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
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.jobs.models import Job
from tenants.tried import audited


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("NETWORK_CREATE", "data_center")
def network_create(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A network of a data center's own. For super-admins."""
    actor = actor_of(request)
    row, providers = services.authorize_networks(actor, uid), services.providers_for(actor)
    form = NetworkForm(request.POST if request.method == "POST" else None, providers=providers)

    def work() -> Job:
        wanted = form.cleaned_data
        provider = next(one for one in providers if str(one.pk) == wanted["provider"])
        cidr = wanted["cidr"] or services.free_range(provider)
        return services.create_network(actor, row, provider=provider, name=wanted["name"], cidr=cidr)[1]

    if request.method == "POST" and (job := form.tried(work)):
        messages.success(request, _("%(name)s is being made.") % {"name": job.target_name})
        return redirect("job", uid=job.pk)
    context = {"section": "data_centers", "form": form, "data_center": row, "has_providers": bool(providers)}
    return render(request, "network/network_form.html", context, status=400 if form.errors else 200)
