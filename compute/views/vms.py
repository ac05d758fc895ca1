"""Pages of machines: the create wizard, one machine, and its verbs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute import selectors
from compute.forms.vms import NO_NIC, VmForm, proposed_name
from compute.models import Template
from compute.services import vms
from compute.services.wishes import offered_profiles
from compute.versions import homes_of, later_than
from compute.views import page_verbs, parts
from portal.common.actor import Actor
from portal.common.drafts import kept_values, login_keeping, whose_form
from portal.common.errors import Conflict, NotFound, PortalError
from portal.common.http import actor_of
from portal.common.idempotency import Answer, form_key, once
from portal.common.login_first import login_required
from tenants import policy
from tenants.disabled import why_disabled
from tenants.permits import Permit
from tenants.tried import audited
from tenants.views.asked import uid_or_none

SECTION = {"section": "machines"}
VERBS = {"run": vms.run_vm, "shut_down": vms.shut_down_vm, "stop": vms.stop_vm, "reboot": vms.reboot_vm}


@require_http_methods(["GET", "HEAD", "POST"])
@login_keeping(VmForm.base_fields)
def vm_create(request: HttpRequest) -> HttpResponse:
    """The wizard: a form, a review of the plan, one button. Without JavaScript it is three plain posts."""
    actor = actor_of(request)
    if (disabled := why_disabled(actor)) and not selectors.usable_data_centers(actor).exists():
        return _disabled(request, disabled)
    if request.method != "POST":
        if typed := kept_values(request):
            return _form_page(request, _form(actor, None, initial=_again(typed)))
        name, template = request.GET.get("name", ""), request.GET.get("template", "")
        form = _form(actor, None, name=name, template=template)
        if template and form.initial["template"] != template:
            why, instead = _why_not_offered(actor, template)
            messages.warning(request, why)
            if instead is not None:
                form = _form(actor, None, name=name, template=str(instead.pk))
        return _form_page(request, form)
    form = _form(actor, request.POST)
    action = request.POST.get("action", "review")
    if action == "nics":
        return render(request, "compute/partials/_vm_choices.html", {"form": form})
    if action == "edit":
        return _form_page(request, _form(actor, None, initial=_again(request.POST)))
    if not form.is_valid():
        return _form_page(request, form, preview=action == "preview")
    if action == "create":
        return _create(request, form)
    return _review(request, form, preview=action == "preview")


def _again(given: MultiValueDict[str, str]) -> dict[str, Any]:
    """What was posted, to be shown in the form once more; boxes are not sent by a browser where they are not ticked."""
    ticked = {name: name in given for name in ("run", "clone")}
    return given.dict() | ticked | {"nics": given.getlist("nics")}


def _form(
    actor: Actor, data: Any, *, initial: dict[str, Any] | None = None, name: str = "", template: str = ""
) -> VmForm:
    places = selectors.usable_data_centers(actor)
    templates = list(selectors.offered_templates(actor))
    data_centers = list(places)
    homes = homes_of(templates, places)
    if initial is None:
        row = _first(templates, homes, template)
        home = next((one for one in data_centers if row and one.pk in homes[row.pk]), None)
        taken = selectors.my_vms(actor).filter(owner_id=actor.uid).values_list("name", flat=True)
        initial = {
            "name": name[:64] or proposed_name(actor.name, taken=list(taken)),
            "template": str(row.pk) if row else "",
            "data_center": str((home or data_centers[0]).pk) if data_centers else "",
            "user_name": "",
            "run": True,
        }
    given = initial if data is None else data
    template_row = next((row for row in templates if str(row.pk) == given.get("template")), None)
    center = next((row for row in data_centers if str(row.pk) == given.get("data_center")), None)
    return VmForm(
        data,
        templates=templates,
        data_centers=data_centers,
        homes=homes,
        initial=initial,
        profiles=offered_profiles(actor, center, template_row) if center and template_row else (),
        names_providers=policy.holds_everywhere(actor, Permit.PROVIDER_VIEW),
    )


def _first(templates: Sequence[Template], homes: Mapping[UUID, Collection[UUID]], asked: str) -> Template | None:
    """The template that is preset: the one that is asked for, else the first that one of the data centers may use."""
    if asked:
        return next((row for row in templates if str(row.pk) == asked), None)
    return next((row for row in templates if homes[row.pk]), templates[0] if templates else None)


def _why_not_offered(actor: Actor, asked: str) -> tuple[str, Template | None]:
    """Why the form does not offer the template that its address names, and the version of it that is offered instead."""
    uid = uid_or_none(asked)
    row = selectors.visible_templates(actor).filter(pk=uid).first() if uid else None
    if row is None:
        why = _("The template of this address is not there, is not ready, or is not for you to see. Choose another.")
        return why, None
    told = {"name": row.name, "version": row.version}
    if instead := later_than(row, selectors.offered_templates(actor)):
        told |= {"later": instead.version}
        return _("Version %(later)d of %(name)s is chosen, as it is later than version %(version)d.") % told, instead
    return _("%(name)s, version %(version)d, is not for your data centers. Choose another, or ask for it.") % told, None


def _form_page(request: HttpRequest, form: VmForm, *, preview: bool = False) -> HttpResponse:
    actor = actor_of(request)
    cards, places = form.cards(), list(selectors.usable_data_centers(actor))
    context = SECTION | {
        "form": form,
        "data_centers": places,
        "missing": None if cards and places else page_verbs.nothing_to_make_from(actor, possible=bool(places)),
        "needed": None if cards and places else page_verbs.first_needed(actor, possible=bool(places)),
        "whose": whose_form(actor.uid),
    }
    if preview:
        return render(request, "compute/partials/_vm_plan.html", {"incomplete": True})
    return render(request, "compute/vm_form.html", context, status=400 if form.errors else 200)


def _review(request: HttpRequest, form: VmForm, *, preview: bool) -> HttpResponse:
    actor, wanted = actor_of(request), form.request()
    try:
        plan = vms.plan_create(actor, wanted)
    except PortalError as error:
        if form.add_reasons(error.reasons) or preview:
            return _form_page(request, form, preview=preview)
        raise
    if preview:
        return render(request, "compute/partials/_vm_plan.html", {"plan": plan})
    if form.add_reasons(plan.reasons):
        return _form_page(request, form)
    context = SECTION | {"form": form, "plan": plan, "wanted": wanted, "key": token_urlsafe(24)}
    context |= {
        "template_name": dict(form.fields["template"].choices)[form.cleaned_data["template"]],  # type: ignore[attr-defined]
        "data_center_name": dict(form.fields["data_center"].choices)[form.cleaned_data["data_center"]],  # type: ignore[attr-defined]
        "values": _reviewed(request, form),
        "whose": whose_form(actor.uid),
    }
    return render(request, "compute/vm_review.html", context)


def _posted(request: HttpRequest) -> list[tuple[str, str]]:
    """The form's values as they were posted, to be posted again from the review."""
    return [(name, value) for name in VmForm.base_fields for value in request.POST.getlist(name)]


def _reviewed(request: HttpRequest, form: VmForm) -> list[tuple[str, str]]:
    """The same to be made as it was reviewed: on these very networks, whatever is usual by then."""
    rest = [(name, value) for name, value in _posted(request) if name != "nics"]
    return rest + [("nics", uid) for uid in form.chosen_nics() or [NO_NIC]]


def _create(request: HttpRequest, form: VmForm) -> HttpResponse:
    actor = actor_of(request)

    def work() -> Answer:
        vm, _job = vms.create_vm(actor, form.request())
        return Answer(HTTPStatus.SEE_OTHER, {}, reverse("compute:vm-detail", args=[vm.pk]))

    fingerprint = {"path": request.path, "body": sorted(_posted(request))}
    try:
        answer, _repeated = once(actor, form_key(request.POST.get("key", "")), fingerprint, work)
    except PortalError as error:
        if form.add_reasons(error.reasons):
            return _form_page(request, form)
        raise
    return redirect(answer.location)


@require_safe
@login_required
def vm_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One machine; of one that is gone, deleted or never made to the end, the way to the job that tells."""
    actor = actor_of(request)
    try:
        vm = selectors.get_vm(actor, uid)
    except NotFound as error:
        if disabled := why_disabled(actor):
            return _disabled(request, disabled)
        job = selectors.last_job_of(actor, uid)
        raise NotFound(error.detail, data={"job": {"id": str(job.pk)}} if job else None) from error
    return render(request, "compute/vm_detail.html", SECTION | {"here_is": request.path} | parts.machine(actor, vm))


def _disabled(request: HttpRequest, why: str) -> HttpResponse:
    """In place of a page of what is in a disabled data center, or is not there: to one of its people both are the same."""
    context = SECTION | {"disabled": why}
    return render(request, "compute/data_center_disabled.html", context, status=HTTPStatus.NOT_FOUND)


@require_POST
@login_required
def vm_verb(request: HttpRequest, uid: UUID, verb: str) -> HttpResponse:
    """Run, shut down, stop or reboot. With htmx the machine's part of the page is the answer, without it the page."""
    actor, confirm = actor_of(request), request.POST.get("confirm", "")

    def work() -> HttpResponse:
        VERBS[verb](actor, uid, confirm=confirm)
        return machine_answer(request, uid)

    return confirmed(request, uid, verb, work)


def confirmed(request: HttpRequest, uid: UUID, verb: str, work: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer to the work; the question once more where the name of a protected machine was not typed as it is."""
    try:
        return work()
    except Conflict as error:
        if "confirm" not in {reason.field for reason in error.reasons}:
            raise
        vm = selectors.get_vm(actor_of(request), uid)
        context = SECTION | {"vm": vm, "verb": verb, "error": error.detail}
        return render(request, "compute/vm_confirm.html", context, status=error.status)


def machine_answer(request: HttpRequest, uid: UUID) -> HttpResponse:
    """After something was done to a machine: with htmx its part of the page, without it the page."""
    actor = actor_of(request)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("compute:vm-detail", uid=uid)
    vm = selectors.get_vm(actor, uid)
    if request.POST.get("part") in {"card", "row"}:
        [card] = parts.cards(actor, [vm])
        return render(request, f"compute/partials/_vm_{request.POST['part']}.html", {"card": card, "oob": True})
    if request.POST.get("part") == "console":
        return render(request, "compute/partials/_console_head.html", parts.at_console(actor, vm) | {"oob": True})
    if request.POST.get("part") == parts.HEAD:
        return render(request, "compute/partials/_vm_head.html", parts.head(actor, vm) | {"oob": True})
    return render(request, "compute/partials/_vm_parts.html", parts.machine(actor, vm) | {"oob": True})


@require_safe
@login_required
def vm_confirm(request: HttpRequest, uid: UUID, verb: str) -> HttpResponse:
    """Asks for the name of a protected machine before it is ended."""
    vm = selectors.get_vm(actor_of(request), uid)
    return render(request, "compute/vm_confirm.html", SECTION | {"vm": vm, "verb": verb})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("VM_DELETE", "vm")
def vm_delete(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Says what will be lost, then deletes. The job's page follows, for the machine's own will be gone."""
    actor = actor_of(request)
    vm = selectors.get_vm(actor, uid)
    if request.method != "POST":
        return render(request, "compute/vm_delete.html", SECTION | {"vm": vm, "disks": list(vm.disks.all())})

    def work() -> HttpResponse:
        job = vms.delete_vm(actor, uid, confirm=request.POST.get("confirm", ""))
        messages.info(request, _("%(name)s is being deleted.") % {"name": vm.name})
        return redirect("job", uid=job.pk)

    return confirmed(request, uid, "delete", work)
