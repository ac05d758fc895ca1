"""Pages of adoption: what was found on providers, taking it into a data center, giving it back; and protection."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from compute.models import FoundVm
from compute.services import adoption
from compute.services.adoption import Adoption
from compute.views.vms import confirmed, machine_answer
from portal.common.errors import PortalError, Reason
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.paging import page_by_name
from portal.hypervisors.models import Provider
from tenants.models import DataCenter
from tenants.tried import audited
from tenants.views.asked import uid_or_none

SECTION = {"section": "unassigned"}
PER_PAGE = adoption.MOST_AT_ONCE  # so that all that is shown can be adopted together
FIELDS = ("machines", "data_center", "owner")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("VMS_ADOPT", "vm")
def unassigned(request: HttpRequest) -> HttpResponse:
    """The machines nobody here looks after. Posted: what adopting the chosen ones would mean, then their adoption."""
    actor = actor_of(request)
    if request.method != "POST":
        return _list(request, {})
    wish = _wish(request)
    try:
        wish = adoption.with_owner(actor, wish)
        if request.POST.get("action") == "adopt":
            taken = adoption.adopt(actor, wish)
        else:
            plan = adoption.plan_adoption(actor, wish)
            return render(request, "compute/adoption_review.html", SECTION | {"plan": plan, "wish": wish})
    except PortalError as error:
        if not error.reasons:
            raise
        return _list(request, {"reasons": error.reasons, "wish": wish}, status=error.status)
    said = ngettext("%(count)d machine is being adopted.", "%(count)d machines are being adopted.", len(taken))
    messages.success(request, said % {"count": len(taken)})
    return redirect("compute:unassigned" if adoption.some_left(actor) else "home")


@require_POST
@login_required
@audited("VMS_MEASURE", "vm")
def measure(request: HttpRequest) -> HttpResponse:
    """Ask the hypervisors what the disks of the chosen ones promise, or of all on this page of the list."""
    actor, chosen = actor_of(request), _wish(request).machines
    if not chosen:
        chosen = tuple(row.pk for row in _found(request)[0])
    adoption.measure(actor, chosen)
    kept = urlencode(_kept(request) | {"after": request.GET.get("after", "")})
    return redirect(f"{reverse('compute:unassigned')}?{kept}")


@require_POST
@login_required
def vm_unadopt(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Let go of an adopted machine."""

    def work() -> HttpResponse:
        job = adoption.unadopt_vm(actor_of(request), uid, confirm=request.POST.get("confirm", ""))
        said = _("%(name)s is being given back. It stays on its hypervisor as it is.")
        messages.info(request, said % {"name": job.target_name})
        return redirect("job", uid=job.pk)

    return confirmed(request, uid, "unadopt", work)


@require_POST
@login_required
def vm_protect(request: HttpRequest, uid: UUID, *, protected: bool) -> HttpResponse:
    """Protect a machine, or no longer."""
    adoption.set_protected(actor_of(request), uid, protected=protected)
    return machine_answer(request, uid)


def _wish(request: HttpRequest) -> Adoption:
    chosen = [uid for uid in map(uid_or_none, request.POST.getlist("machine")) if uid is not None]
    center = uid_or_none(request.POST.get("data_center")) or UUID(int=0)
    return Adoption(tuple(chosen), center, request.POST.get("owner", "")[:150])


def _kept(request: HttpRequest) -> dict[str, str]:
    """The filters of the list, to go along."""
    return {name: value for name in ("q", "provider") if (value := request.GET.get(name, ""))}


def _asked(request: HttpRequest) -> tuple[str, UUID | None]:
    """The name and the provider that the list is of."""
    return request.GET.get("q", "").strip()[:64], uid_or_none(request.GET.get("provider", ""))


def _found(request: HttpRequest) -> tuple[list[FoundVm], str]:
    """This page of the list, and the next one's beginning."""
    query, provider = _asked(request)
    found = adoption.unassigned(actor_of(request), query=query, provider=provider)
    return page_by_name(found, request.GET.get("after", ""), size=PER_PAGE)


def _list(request: HttpRequest, more: dict[str, Any], *, status: int = 200) -> HttpResponse:
    (rows, onward), (query, provider) = _found(request), _asked(request)
    reasons: tuple[Reason, ...] = more.get("reasons", ())
    had = adoption.had_already(rows)
    for row in rows:
        row.ours = had.get(row.pk)  # type: ignore[attr-defined]
    context = {
        "machines": rows,
        "more": onward,
        "next_page": urlencode(_kept(request) | {"after": onward}),
        "this_page": urlencode(_kept(request) | {"after": request.GET.get("after", "")}),
        "select_all": urlencode(_kept(request) | {"after": request.GET.get("after", ""), "select": "all"}),
        "all_selected": request.GET.get("select") == "all",
        "query": query,
        "provider": provider,
        "providers": Provider.objects.order_by("name"),
        "data_centers": DataCenter.objects.filter(enabled=True).order_by("name"),
        "chosen_machines": more["wish"].machines if "wish" in more else (),
        "errors": {name: [one.text for one in reasons if one.field == name] for name in FIELDS},
        "refusals": [reason.text for reason in reasons if reason.field not in FIELDS],
    }
    return render(request, "compute/unassigned_list.html", SECTION | context | more, status=status)
