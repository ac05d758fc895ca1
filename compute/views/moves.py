"""The pages by which a machine is moved to another data center: where to, what that would mean, and the move."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from compute.forms.moves import MoveForm
from compute.services import moves
from compute.services.moves import MovePlan
from portal.common.actor import Actor
from portal.common.errors import PortalError, Reason
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.tried import audited

SECTION = {"section": "machines"}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("VM_MOVE", "vm")
def vm_move(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Where to, and whose it will be. Posted: what the move would mean, then the move."""
    actor = actor_of(request)
    vm, data_centers = moves.destinations(actor, uid)
    form = MoveForm(request.POST if request.method == "POST" else None, data_centers=data_centers)
    context = SECTION | {"vm": vm, "form": form}
    status = 200
    refused: tuple[Reason, ...] = ()
    if request.POST.get("action") == "move" and form.is_valid():
        try:
            moved = moves.move_vm(actor, uid, moves.with_owner(actor, uid, form.move()))
        except PortalError as error:
            if not error.reasons:
                raise
            status, refused = error.status, error.reasons  # and the review says why
        else:
            told = {"name": moved.name, "data_center": moved.data_center.name}
            messages.success(request, _("%(name)s is in %(data_center)s now.") % told)
            return redirect("compute:vm-detail", uid=uid)
    plan = form.tried(lambda: _plan(actor, uid, form)) if form.is_bound else None
    if plan is None:
        return render(request, "compute/vm_move.html", context, status=400 if form.errors else 200)
    form.add_reasons([reason for reason in refused if reason.field == "despite_unknown"])
    return render(request, "compute/vm_move_review.html", context | {"plan": plan}, status=status)


def _plan(actor: Actor, uid: UUID, form: MoveForm) -> MovePlan:
    """As the review asks it: what is to be confirmed stands there as a box to tick, not as what is in the way."""
    move = moves.with_owner(actor, uid, form.move())
    return moves.plan_move(actor, uid, replace(move, despite_unknown=True))
