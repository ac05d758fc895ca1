"""The wizard that launches a data center: seven pages of plain posts, the last of which shows the plan and starts the job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from compute.forms.launch import OF_STEPS, STAGES, LaunchForm, carried_on, entered, proposed, stage_in
from compute.services import launch as service
from compute.services.launch import LaunchPlan
from portal.common.actor import Actor
from portal.common.errors import PortalError, Reason
from portal.common.http import actor_of
from portal.common.idempotency import Answer, form_key, once
from portal.common.login_first import login_required
from portal.jobs.failure import text_of
from tenants.models.quota import Dimension
from tenants.tried import audited
from tenants.views.asked import uid_or_none

SECTION = {"section": "data_centers"}
REVIEW = len(STAGES) - 1
OF_OWN_NETWORK = {"network_name", "network_cidr"}
NEVER_KEPT = {"password"}  # typed on the page that sends it, and told by none


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DATA_CENTER_LAUNCH", "data_center")
def data_center_launch(request: HttpRequest) -> HttpResponse:
    """The wizard. For super-admins. ``?continues=`` a launch that failed shows what was entered there, where it failed."""
    actor = actor_of(request)
    if request.method != "POST":
        return _enter(request, actor)
    values, at = _posted(request), _at(request)
    offered = service.offered(actor, _uids(values.get("clusters", ())))
    if request.POST.get("go") == "next":
        values = carried_on(values, offered, at=at)
    form = LaunchForm(values | {name: request.POST.get(name, "") for name in NEVER_KEPT}, offered=offered)
    plan = service.plan_launch(actor, form.request()) if form.is_valid() else None
    if request.POST.get("go") == "launch" and plan is not None:
        return _launch(request, actor, form, plan)
    if request.POST.get("go") == "back":
        return _page(request, _blank(offered, values), max(0, at - 1), plan)
    if (wrong := _first_wrong(form, plan.reasons if plan else (), until=at)) is not None:
        return _page(request, form, wrong, plan)
    return _page(request, _blank(offered, values | {"reached": _reached(values, at + 1)}), min(REVIEW, at + 1), plan)


def _reached(values: Mapping[str, Any], at: int) -> str:
    return str(min(REVIEW, max(at, stage_in(values.get("reached")))))


def _uids(texts: Iterable[str]) -> list[UUID]:
    return [uid for uid in map(uid_or_none, texts) if uid is not None]


def _enter(request: HttpRequest, actor: Actor) -> HttpResponse:
    offered = service.offered(actor)
    before = service.launched_before(uid_or_none(request.GET.get("continues")))
    if before is None:
        alone = proposed(offered)["clusters"]
        offered = service.offered(actor, _uids(alone)) if alone else offered
        return _page(request, _blank(offered, proposed(offered)), 0)
    wanted = service.request_of(before)
    offered = service.offered(actor, wanted.clusters)
    step = before.error.get("step", "")
    names = [stage.name for stage in STAGES]
    stage = OF_STEPS.get(step, step)
    at = names.index(stage) if stage in names else REVIEW
    plan = service.plan_launch(actor, wanted)
    return _page(request, _blank(offered, entered(wanted)), at, plan, failed=text_of(before.error))


def _blank(offered: Mapping[str, Any], values: dict[str, Any]) -> LaunchForm:
    return LaunchForm(None, offered=offered, initial=values)


def _at(request: HttpRequest) -> int:
    """The stage that was posted; what is none is the review, which asks for everything."""
    at = request.POST.get("at", "")
    return min(REVIEW, int(at)) if at.isascii() and at.isdigit() and len(at) == 1 else REVIEW


def _posted(request: HttpRequest) -> dict[str, Any]:
    """The form's values as they were posted; of a choice of several all."""
    several = {"clusters", "storage_domains", "networks", "templates"}
    return {
        name: request.POST.getlist(name) if name in several else request.POST[name]
        for name in LaunchForm.base_fields
        if name in request.POST and name not in NEVER_KEPT
    }


def _first_wrong(form: LaunchForm, reasons: Iterable[Reason], *, until: int) -> int | None:
    """The first stage up to this one with something wrong, which then stands beside its field."""
    seen = {name for stage in STAGES[: until + 1] for name in stage.fields}
    form.add_reasons([reason for reason in reasons if reason.field in seen])
    return next((at for at, stage in enumerate(STAGES[: until + 1]) if set(stage.fields) & set(form.errors)), None)


def _launch(request: HttpRequest, actor: Actor, form: LaunchForm, plan: LaunchPlan) -> HttpResponse:
    def work() -> Answer:
        job = service.launch_data_center(actor, form.request())
        return Answer(HTTPStatus.SEE_OTHER, {}, reverse("job", args=[job.pk]))

    fingerprint = {"path": request.path, "body": sorted((name, str(value)) for name, value in _posted(request).items())}
    try:
        answer, _repeated = once(actor.user.pk, form_key(request.POST.get("key", "")), fingerprint, work)
    except PortalError as error:
        wrong = _first_wrong(form, error.reasons, until=REVIEW)
        if wrong is None:
            raise
        return _page(request, form, wrong, plan)
    return redirect(answer.location)


def _page(
    request: HttpRequest, form: LaunchForm, at: int, plan: LaunchPlan | None = None, *, failed: str = ""
) -> HttpResponse:
    stage = STAGES[at]
    shown = [name for name in stage.fields if form.makes_networks or name not in OF_OWN_NETWORK]
    context = SECTION | {
        "form": form,
        "stages": STAGES,
        "stage": stage,
        "at": at,
        "is_review": at == REVIEW,
        "fields": {name: form[name] for name in shown},
        "kept": list(_kept(form, but=shown)),
        "passed": {one.name for one in STAGES[: max(at, stage_in(form["reached"].value()))]},
        "chosen": {name: _names(form, name) for name in form.fields},
        "limits": [form[name] for name in map(str, Dimension) if form[name].value() not in {None, ""}],
        "plan": plan,
        "failed": failed,
        "key": token_urlsafe(24),
    }
    return render(request, "compute/data_center_launch.html", context, status=400 if form.errors else 200)


def _kept(form: LaunchForm, *, but: Iterable[str]) -> Iterable[tuple[str, str]]:
    """What the other stages hold, to be posted with this one."""
    for name in form.fields:
        if name in but or name in NEVER_KEPT:
            continue
        value = form[name].value()
        values = value if isinstance(value, (list, tuple)) else [value]
        yield from ((name, str(one)) for one in values if one not in {None, "", False})


def _names(form: LaunchForm, name: str) -> list[str]:
    """What of a choice was chosen, as people read it."""
    chosen = form[name].value() or []
    choices = getattr(form.fields[name], "choices", ())
    return [
        str(label) for value, label in choices if value and value in (chosen if isinstance(chosen, list) else [chosen])
    ]
