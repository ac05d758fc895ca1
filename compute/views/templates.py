"""Pages of templates: the list, one, and its making, changing and removing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute import health, selectors
from compute.assigned import places_of, sees_all, with_users
from compute.forms.templates import INSTITUTE, TemplateForm
from compute.models import StorageDomain, Template
from compute.services import images, sharing, templates
from compute.services.template_rows import TemplateTraits, takes_no_disks
from compute.services.templates import TemplateEdit
from compute.versions import later_than, latest
from compute.views import page_verbs
from compute.views.template_sources import Source, source_of
from portal.common.actor import Actor
from portal.common.errors import Reason
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.paging import page_by_name
from portal.common.units import bytes_text
from tenants import policy
from tenants.permits import Permit
from tenants.selectors import get_data_center
from tenants.services.holders import may_see_holders
from tenants.tried import audited
from tenants.verbs import rights_page

SECTION = {"section": "templates"}
PER_PAGE = 50


@require_safe
@login_required
def template_list(request: HttpRequest) -> HttpResponse:
    """The templates one may see, a page of them by name."""
    actor = actor_of(request)
    seen = with_users(actor, selectors.all_templates(actor))
    rows, more = page_by_name(seen, request.GET.get("after", ""), size=PER_PAGE)
    context = SECTION | {
        "templates": rows,
        "more": more,
        "sees_all": sees_all(actor),
        "upload": page_verbs.upload_image(actor),
    }
    return render(request, "compute/template_list.html", context)


@require_safe
@login_required
def template_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One template, and for its admins what needs it."""
    actor = actor_of(request)
    row = selectors.get_template(actor, uid)
    permits = policy.permits_on(actor, [row])[row.pk]
    count, names = templates.dependents(actor, row) if Permit.TEMPLATE_EDIT in permits else (0, ())
    context = {
        "template": row,
        "may_edit": Permit.TEMPLATE_EDIT in permits,
        "opens_volumes": policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE) and row.storage_domain.shows_volumes,
        "verbs": page_verbs.of_template(actor, row, permits, _made_from(actor, row)),
        "sees_holders": may_see_holders(actor, row),
        "rights": rights_page(row),
        "places": places_of(actor, row),
        "stranded": health.why_stranded(row, names_storage=Permit.TEMPLATE_EDIT in permits),
        "is_latest": latest(Template.objects.filter(pk=row.pk)).exists(),
        "count": count,
        "names": names,
        "job": selectors.last_job_of(actor, row.pk),
    }
    return render(request, "compute/template_detail.html", SECTION | context)


def _made_from(actor: Actor, row: Template) -> Template | None:
    """The version of a template that this actor makes machines from: this one, or a later one; None where he makes none."""
    if row.status != "ok":
        return None
    offered = selectors.offered_templates(actor)
    return offered.filter(pk=row.pk).first() or later_than(row, offered)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("TEMPLATE_CREATE", "template")
def template_create(request: HttpRequest) -> HttpResponse:
    """A template from an image, a machine or a volume (``?image=`` ...). The page of the job that makes it follows."""
    actor = actor_of(request)
    templates.authorize_making(actor)
    source = source_of(actor, request.GET)
    initial = {name: getattr(source.traits, name) for name in TemplateTraits.__dataclass_fields__}
    initial |= {"data_center": source.owner_uid or INSTITUTE}
    places = _places(actor, source)
    form = source.form_of(_posted(request), initial=initial, places=places)

    def work() -> HttpResponse:
        _template, job = source.make(form)
        return redirect("job", uid=job.pk)

    back = reverse(source.back[0], args=source.back[1])
    context = {"source": source, "back": back, "unfit": _unfit(actor, places["data_center"], source)}
    return _form_page(request, form, work, context=context)


def _places(actor: Actor, source: Source) -> dict[str, list[tuple[str, str]]]:
    """Whose it can be (what is proposed first), and where its disk can lie."""
    centers = list(policy.visible(actor, Permit.TEMPLATE_CREATE, images.upload_places(actor)))
    if source.is_bound:
        centers = [center for center in centers if center.pk == source.owner_uid]
    centers.sort(key=lambda center: center.pk != source.owner_uid)
    whose = [(str(center.pk), center.name) for center in centers]
    found: dict[Any, StorageDomain] = {}
    for center in centers:
        found |= {row.pk: row for row in selectors.storage_for_templates(center, ability=source.ability)}
    if source.for_all and policy.holds_everywhere(actor, Permit.TEMPLATE_CREATE):
        whose.insert(0 if source.owner_uid is None else len(whose), (INSTITUTE, _("The whole institute")))
        found |= {row.pk: row for row in selectors.storage_for_templates(None, ability=source.ability)}
    fit = [row for row in found.values() if source.provider_uid in {None, row.provider_id}]
    names_providers = policy.holds_everywhere(actor, Permit.PROVIDER_VIEW)
    places = [(str(row.pk), _place(row, names_providers=names_providers)) for row in fit]
    return {"data_center": whose, "storage_domain": places}


def _place(row: StorageDomain, *, names_providers: bool) -> str:
    """A storage domain as it is chosen: several hosts may have one of the same name."""
    name = f"{row.name} ({row.provider.name})" if names_providers else row.name
    room = _("%(free)s free of %(total)s") % {"free": bytes_text(row.free_bytes), "total": bytes_text(row.total_bytes)}
    return f"{name}: {room}"


def _unfit(actor: Actor, whose: list[tuple[str, str]], source: Source) -> list[Reason]:
    """Why storage domains that could be chosen by their data centers are not offered."""
    rows: dict[Any, StorageDomain] = {}
    for value, _name in whose:
        owner = None if value == INSTITUTE else get_data_center(actor, UUID(value))
        rows |= {row.pk: row for row in selectors.storage_without(owner, ability=source.ability)}
    return [takes_no_disks(row) for row in rows.values() if source.provider_uid in {None, row.provider_id}]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("TEMPLATE_EDIT", "template")
def template_edit(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Other words, sizes or flags."""
    actor = actor_of(request)
    row = selectors.get_template(actor, uid)
    policy.authorize(actor, Permit.TEMPLATE_EDIT, row)
    initial = {name: getattr(row, name) for name in templates.EDITABLE}
    form = TemplateForm(_posted(request), initial=initial | {"version": templates.template_version(row)})
    fixed = templates.FOLLOWED if row.is_engines else ()
    form.fix(fixed)

    def work() -> HttpResponse:
        changes = {name: form.cleaned_data[name] for name in templates.EDITABLE if name not in fixed}
        changed = templates.edit_template(actor, uid, TemplateEdit(changes, form.cleaned_data["version"]))
        messages.success(request, _("%(name)s was changed.") % {"name": changed.name})
        return redirect("compute:template", uid=uid)

    return _form_page(request, form, work, context={"template": row})


@require_POST
@login_required
def template_share(request: HttpRequest, uid: UUID, *, given: bool) -> HttpResponse:
    """Let a data center make machines from it, or no longer."""
    act = sharing.assign if given else sharing.unassign
    act(actor_of(request), sharing.uid_in(request.POST.get("data_center", "")), "template", uid)
    return redirect("compute:template", uid=uid)


@require_POST
@login_required
def template_delete(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Remove it; the page of the job follows."""
    job = templates.delete_template(actor_of(request), uid)
    return redirect("job", uid=job.pk)


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _form_page(
    request: HttpRequest, form: TemplateForm, work: Callable[[], HttpResponse], *, context: dict[str, Any]
) -> HttpResponse:
    if request.method == "POST" and (answer := form.tried(work)):
        return answer
    status = 400 if form.errors else 200
    context |= SECTION | {"form": form}
    return render(request, "compute/template_form.html", context, status=status)
