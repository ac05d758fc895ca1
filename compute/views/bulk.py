"""One verb on the machines that were ticked in the list, and what became of each."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from compute.services.bulk import losses, start_many
from portal.common.http import actor_of
from portal.common.idempotency import form_key
from portal.common.login_first import login_required
from tenants.views.asked import uid_or_none

SECTION = {"section": "machines"}


@require_POST
@login_required
def vms_bulk(request: HttpRequest) -> HttpResponse:
    """Run, shut down, stop, reboot or delete several machines; deleting asks first, naming them and what is lost."""
    actor, verb, key = actor_of(request), request.POST.get("verb", ""), form_key(request.POST.get("key", ""))
    chosen = [uid for uid in map(uid_or_none, request.POST.getlist("machine")) if uid]
    if verb == "delete" and request.POST.get("confirmed") != "1":
        found = losses(actor, chosen)
        going = [loss for loss in found if not loss.refusal]
        total = sum(loss.size_gib for loss in going)
        context: dict[str, Any] = {"losses": found, "going": going, "total_gib": total, "key": key}
        return render(request, "compute/vms_delete.html", SECTION | context)
    outcomes = start_many(actor, verb, chosen, key=key)
    accepted = sum(each.was_accepted for each in outcomes)
    context = {"outcomes": outcomes, "verb": verb, "title": _titles()[verb], "accepted": accepted}
    return render(request, "compute/vms_outcomes.html", SECTION | context | {"refused": len(outcomes) - accepted})


def _titles() -> dict[str, str]:
    return {
        "run": _("Run several machines"),
        "shut_down": _("Shut several machines down"),
        "stop": _("Stop several machines"),
        "reboot": _("Reboot several machines"),
        "delete": _("Delete several machines"),
    }
