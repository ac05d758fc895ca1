"""The wizard that launches a data center: seven pages of plain posts, the last of which shows the plan and starts the job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from compute.forms.launch import OF_STEPS, STAGES, LaunchForm, carried_on, entered, proposed, stage_in
from compute.services import launch as service
from compute.services.launch import LaunchPlan, LaunchRequest
from portal.common.actor import Actor
from portal.common.drafts import kept_values, login_keeping, whose_form
from portal.common.errors import Invalid, PortalError, Reason, Unavailable
from portal.common.http import actor_of
from portal.common.idempotency import Answer, form_key, once
from portal.common.kept_forms import drop_form, keep_form, kept_form
from portal.jobs.failure import text_of
from tenants.models.quota import Dimension
from tenants.tried import audited
from tenants.views.asked import uid_or_none

SECTION = {"section": "data_centers"}
REVIEW = len(STAGES) - 1
OF_OWN_NETWORK = {"network_name", "network_cidr"}
WIZARD = "launch"  # as what is kept of it is known
NEVER_KEPT = {"password"}  # typed on the page that sends it, and told by none


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_keeping([*(name for name in LaunchForm.base_fields if name not in NEVER_KEPT), "at"])
@audited("DATA_CENTER_LAUNCH", "data_center")
def data_center_launch(request: HttpRequest) -> HttpResponse:
    """The wizard. For super-admins. ``?continues=`` a launch that failed shows what was entered there, where it failed.

    What was entered and not launched is there again at the next visit.
    """
    actor = actor_of(request)
    if request.method != "POST":
        return _enter(request, actor)
    if request.POST.get("go") == "anew":
        service.offered(actor)
        drop_form(actor, WIZARD)
        return redirect("compute:data-center-launch")
    values, at = _posted(request.POST), _at(request.POST.get("at", ""))
    offered = service.offered(actor, _uids(values.get("clusters", ())))
    if request.POST.get("go") == "next":
        values = carried_on(values, offered, at=at)
    form = LaunchForm(values | {name: request.POST.get(name, "") for name in NEVER_KEPT}, offered=offered)
    wanted = _asked(actor, form) if form.is_valid() else None
    plan = service.plan_launch(actor, wanted) if wanted is not None else None
    if request.POST.get("go") == "launch" and wanted is not None and plan is not None:
        return _launch(request, actor, form, wanted, plan)
    if request.POST.get("go") == "back":
        return _page(request, _blank(offered, values), max(0, at - 1), plan)
    if (wrong := _first_wrong(form, plan.reasons if plan else (), until=at)) is not None:
        return _page(request, form, wrong, plan)
    return _page(request, _blank(offered, values | {"reached": _reached(values, at + 1)}), min(REVIEW, at + 1), plan)


def _asked(actor: Actor, form: LaunchForm) -> LaunchRequest:
    """What the form asks for, with whom a directory says its admin is; its silence, or that it cannot say, stands beside the field."""
    wanted = form.request()
    try:
        return service.with_admin(actor, wanted)
    except (Unavailable, Invalid) as error:
        return replace(wanted, silent=str(error.detail))


def _reached(values: Mapping[str, Any], at: int) -> str:
    return str(min(REVIEW, max(at, stage_in(values.get("reached")))))


def _uids(texts: Iterable[str]) -> list[UUID]:
    return [uid for uid in map(uid_or_none, texts) if uid is not None]


def _enter(request: HttpRequest, actor: Actor) -> HttpResponse:
    offered = service.offered(actor)
    before = service.launched_before(uid_or_none(request.GET.get("continues")))
    if before is None and (typed := _typed_before(request, actor)) is not None:
        return _again(request, actor, typed)
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


def _typed_before(request: HttpRequest, actor: Actor) -> MultiValueDict[str, str] | None:
    """What was typed when a log-in ended, else at the last visit."""
    if typed := kept_values(request):
        return typed
    if (kept := kept_form(actor, WIZARD)) is None:
        return None
    moment = date_format(timezone.localtime(kept[1]), "SHORT_DATETIME_FORMAT")
    messages.info(request, _("What you had entered here until %(moment)s is here again.") % {"moment": moment})
    return MultiValueDict(kept[0])


def _again(request: HttpRequest, actor: Actor, typed: MultiValueDict[str, str]) -> HttpResponse:
    """The page at which it was left, or the first before the review where something is wrong by now."""
    values, at = _posted(typed), _at(typed.get("at", ""))
    offered = service.offered(actor, _uids(values.get("clusters", ())))
    form = LaunchForm(values, offered=offered)
    plan = service.plan_launch(actor, _asked(actor, form)) if form.is_valid() else None
    if at == REVIEW and (wrong := _first_wrong(form, plan.reasons if plan else (), until=REVIEW - 1)) is not None:
        return _page(request, form, wrong, plan)
    return _page(request, _blank(offered, values), at, plan)


def _blank(offered: Mapping[str, Any], values: dict[str, Any]) -> LaunchForm:
    return LaunchForm(None, offered=offered, initial=values)


def _at(at: str) -> int:
    """The stage that was posted; what is none is the review, which asks for everything."""
    return min(REVIEW, int(at)) if at.isascii() and at.isdigit() and len(at) == 1 else REVIEW


def _posted(given: MultiValueDict[str, str]) -> dict[str, Any]:
    """The form's values as they were posted; of a choice of several all."""
    several = {"clusters", "storage_domains", "networks", "templates"}
    return {
        name: given.getlist(name) if name in several else given[name]
        for name in LaunchForm.base_fields
        if name in given and name not in NEVER_KEPT
    }


def _first_wrong(form: LaunchForm, reasons: Iterable[Reason], *, until: int) -> int | None:
    """The first stage up to this one with something wrong, which then stands beside its field."""
    seen = {name for stage in STAGES[: until + 1] for name in stage.fields}
    form.add_reasons([reason for reason in reasons if reason.field in seen])
    return next((at for at, stage in enumerate(STAGES[: until + 1]) if set(stage.fields) & set(form.errors)), None)


def _launch(
    request: HttpRequest, actor: Actor, form: LaunchForm, wanted: LaunchRequest, plan: LaunchPlan
) -> HttpResponse:
    def work() -> Answer:
        job = service.launch_data_center(actor, wanted)
        return Answer(HTTPStatus.SEE_OTHER, {}, reverse("job", args=[job.pk]))

    fingerprint = {
        "path": request.path,
        "body": sorted((name, str(value)) for name, value in _posted(request.POST).items()),
    }
    try:
        answer, _repeated = once(actor, form_key(request.POST.get("key", "")), fingerprint, work)
    except PortalError as error:
        wrong = _first_wrong(form, error.reasons, until=REVIEW)
        if wrong is None:
            raise
        return _page(request, form, wrong, plan)
    drop_form(actor, WIZARD)
    return redirect(answer.location)


def _page(
    request: HttpRequest, form: LaunchForm, at: int, plan: LaunchPlan | None = None, *, failed: str = ""
) -> HttpResponse:
    stage, is_posted = STAGES[at], request.method == "POST"
    if is_posted:
        _keep(request, form, at)
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
        "whose": whose_form(actor_of(request).uid),
        "can_begin_anew": bool(form["name"].value()),
        "key": token_urlsafe(24),
    }
    return render(request, "compute/data_center_launch.html", context, status=400 if form.errors and is_posted else 200)


def _keep(request: HttpRequest, form: LaunchForm, at: int) -> None:
    typed: dict[str, list[str]] = {"at": [str(at)]}
    for name, value in _kept(form, but=()):
        typed.setdefault(name, []).append(value)
    keep_form(actor_of(request), WIZARD, typed)


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
