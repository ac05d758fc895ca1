"""Pages of directories: the list, one with its groups and its sync, and its connecting and changing. For super-admins."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.common.actor import Actor
from portal.common.errors import PortalError, PreconditionFailed
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.sealed import SealBroken, keyed_hash, seal_json, unseal_json
from tenants import policy
from tenants.directory.diagnosis import Told
from tenants.forms.directories import DirectoryForm, LookForm, MappingForm
from tenants.models import Directory, DirectoryGroup
from tenants.permits import Permit
from tenants.services import directories as services
from tenants.services import directory_groups as groups
from tenants.services import simulation
from tenants.services.directories import DirectoryValues, NotReached
from tenants.sync import Change
from tenants.tried import audited
from tenants.verbs import Verb

SECTION = {"section": "directories"}
KEPT_SECONDS = 30 * 60  # how long a form carries a password that was typed into it
LEADING = ("kind", "urls", "starts_tls", "bind_dn")  # with the CA, as the services ask of one that is stored
MOST_SHOWN = 200  # changes of one sync: more nobody reads, and the API tells them all


@require_safe
@login_required
def directory_list(request: HttpRequest) -> HttpResponse:
    """All directories."""
    rows = services.directories(actor_of(request))
    return render(request, "tenants/directory_list.html", SECTION | {"directories": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("GROUP_MAP", "directory")
def directory_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One directory: how it is followed, which groups hold which roles; and a form that gives a group a role."""
    actor = actor_of(request)
    row = groups.get_directory(actor, uid)
    form = _mapping_form(actor, request, sent=request.POST if request.method == "POST" else None)

    def work() -> groups.Mapped:
        given = form.cleaned_data
        target = groups.place(actor, given["target"])
        return groups.map_group(
            actor, uid, group=given["group"], role=given["role"], target=target, expires_at=form.expires_at()
        )

    if request.method == "POST" and (mapped := form.tried(work)):
        said = _("The group %(dn)s holds the role. Its members get it within a minute, or when they log in.")
        messages.success(request, said % {"dn": mapped.dn})
        return redirect("tenants:directory", uid=uid)
    return _detail(request, row, form=form, status=400 if form.errors else 200)


def _detail(request: HttpRequest, row: Directory, *, status: int = 200, **more: Any) -> HttpResponse:
    actor, start = actor_of(request), _number(request.GET.get("start", ""))
    found = groups.mappings(actor, row.pk, start=start)
    context = {"directory": row, "mappings": found[: groups.PER_PAGE], "start": start}
    context["next"] = start + groups.PER_PAGE if len(found) > groups.PER_PAGE else None
    context |= {"form": _mapping_form(actor, request), "give": _give(actor), **_looked(request, actor, row)} | more
    return render(request, "tenants/directory_detail.html", SECTION | context, status=status)


def _give(actor: Actor) -> Verb | None:
    """Giving and taking the roles of groups: greyed, in place of the form, for whoever may give none anywhere."""
    verb = Verb("give", _("Give a group a role"), "plus", "")
    return verb if policy.holds_anywhere(actor, Permit.GRANT) else verb.asking_above(actor, Permit.GRANT)


def _looked(request: HttpRequest, actor: Actor, row: Directory) -> dict[str, Any]:
    """The form that looks for groups and objects, and the groups that it found."""
    look = LookForm(request.GET if {"group_like", "on_like"} & request.GET.keys() else None)
    wanted = look.cleaned_data["group_like"] if look.is_valid() else ""
    return {"look": look, "looked": groups.find_groups(actor, row.pk, wanted) if wanted else None}


def _mapping_form(actor: Actor, request: HttpRequest, *, sent: QueryDict | None = None) -> MappingForm:
    """With the objects that were looked for among the choices, and the one that was sent."""
    found = groups.places_like(actor, request.GET.get("on_like", "")[:150])
    found += groups.places_sent(actor, sent.get("target", "") if sent else "")
    choices = [(title, [(one.named, one.title) for one in told]) for title, told in found]
    initial = {"group": request.GET.get("group", "")}
    return MappingForm(sent, roles=groups.roles_to_give(), centers=groups.places(actor), found=choices, initial=initial)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DIRECTORY_CONNECT", "directory")
def directory_create(request: HttpRequest) -> HttpResponse:
    """Connect one: try it as often as wanted, then store it."""
    services.directories(actor_of(request))
    return _form_page(request, None)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DIRECTORY_EDIT", "directory")
def directory_edit(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another way to it, other names."""
    return _form_page(request, groups.get_directory(actor_of(request), uid))


def _form_page(request: HttpRequest, row: Directory | None) -> HttpResponse:
    actor = actor_of(request)
    form = DirectoryForm(request.POST if request.method == "POST" else None, initial=_initial(row))
    context: dict[str, Any] = {"directory": row, "form": form}
    status = HTTPStatus.OK
    if request.method == "POST" and form.is_valid():
        try:
            done = _attempted(actor, form, row, is_trial=request.POST.get("action") == "test")
        except NotReached as error:
            context |= {"steps": error.steps, "refused": error.detail}
            status = HTTPStatus(error.status)
        except PortalError as error:
            if not form.add_reasons(error.reasons):
                raise
        else:
            if isinstance(done, Directory):
                said = _("%(name)s was changed.") if row else _("%(name)s is connected. Give its groups roles.")
                messages.success(request, said % {"name": done.name})
                return redirect("tenants:directory", uid=done.pk)
            context["steps"] = done
    if form.errors:
        status = HTTPStatus.BAD_REQUEST
    _keep_password(actor, form)
    return render(request, "tenants/directory_form.html", SECTION | context, status=status)


def _attempted(
    actor: Actor, form: DirectoryForm, row: Directory | None, *, is_trial: bool
) -> tuple[Told, ...] | Directory:
    values = _values(actor, form)
    if is_trial:
        return services.try_directory(actor, values, uid=row.pk if row else None, user=form.cleaned_data["user"])
    if row is None:
        return services.connect_directory(actor, values)
    return services.edit_directory(actor, row.pk, values, version=form.cleaned_data["version"])


def _values(actor: Actor, form: DirectoryForm) -> DirectoryValues:
    given = form.cleaned_data
    as_they_are = (
        "name",
        "kind",
        "bind_dn",
        "base_dn",
        "group_base_dn",
        "login_attribute",
        "is_default",
        "brake_percent",
    )
    return DirectoryValues(
        **{name: given[name] for name in as_they_are},
        urls=tuple(given["urls"].split()),
        starts_tls=given["starts_tls"] == "yes",
        ca_pem=given["ca_pem"].replace("\r\n", "\n").strip(),
        domains=tuple(part.strip() for part in given["domains"].split(",") if part.strip()),
        password=_password(actor, form),
    )


def _password(actor: Actor, form: DirectoryForm) -> str:
    """What was typed now, else what his try before had, half an hour ago at most, for the same servers."""
    return str(form.cleaned_data.get("password") or _kept(actor, form).get("password", ""))


def _kept(actor: Actor, form: DirectoryForm) -> dict[str, Any]:
    """What the form carries of the password, none where it is not this person's, is old, or would go elsewhere."""
    try:
        found = unseal_json(form.cleaned_data.get("kept", ""))
    except (SealBroken, ValueError):
        return {}
    same = found.get("for") == str(actor.uid) and found.get("leads") == _leads(form)
    same = same and found.get("ca") in {"", _told(form, "ca_pem")}  # a CA where none was is what the first try asks for
    return found if same and time.time() - found.get("at", 0) < KEPT_SECONDS else {}


def _leads(form: DirectoryForm) -> str:
    """What says to whom the password goes, and as which account."""
    return _told(form, *LEADING)


def _told(form: DirectoryForm, *names: str) -> str:
    """A hash of what these fields hold; empty where all are."""
    told = [str(form.data.get(name, "")).split() for name in names]
    return keyed_hash(json.dumps(told), purpose="directory form") if any(told) else ""


def _keep_password(actor: Actor, form: DirectoryForm) -> None:
    """The password goes back sealed, for this person's next try of the form with the same servers."""
    if not form.is_bound:
        return
    data = cast("QueryDict", form.data).copy()
    data["kept"] = ""
    if password := _password(actor, form):
        typed = bool(form.cleaned_data.get("password"))
        at = time.time() if typed else _kept(actor, form)["at"]
        bound = {"for": str(actor.uid), "at": at, "leads": _leads(form), "ca": _told(form, "ca_pem")}
        data["kept"] = seal_json({**bound, "password": password})
    form.data = data


def _initial(row: Directory | None) -> dict[str, Any]:
    if row is None:
        return {"kind": "active_directory", "starts_tls": "no", "brake_percent": 30}
    names = (
        "name",
        "kind",
        "ca_pem",
        "bind_dn",
        "base_dn",
        "group_base_dn",
        "login_attribute",
        "is_default",
        "brake_percent",
    )
    return {name: getattr(row, name) for name in names} | {
        "urls": "\n".join(row.urls),
        "domains": ", ".join(row.domains),
        "starts_tls": "yes" if row.starts_tls else "no",
        "version": services.directory_version(row),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DIRECTORY_TEST", "directory")
def directory_test(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Try it as it is connected, and show the steps on its page, where a look at this address leads back to."""
    actor = actor_of(request)
    row = groups.get_directory(actor, uid)
    if request.method != "POST":
        return redirect("tenants:directory", uid=uid)
    return _detail(request, row, steps=services.try_directory(actor, services.values_of(row), uid=uid))


@require_POST
@login_required
def directory_enable(request: HttpRequest, uid: UUID, *, enabled: bool) -> HttpResponse:
    """Disable it, or enable it again."""
    row = services.set_directory_enabled(actor_of(request), uid, enabled=enabled)
    again = _(
        "%(name)s is enabled again. Whoever was logged in before is let in once it was asked about him, within a minute."
    )
    said = again if enabled else _("%(name)s is disabled. Its people are logged out.")
    messages.info(request, said % {"name": row.name})
    return redirect("tenants:directory", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DIRECTORY_REMOVE", "directory")
def directory_remove(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Remove it, when nobody came from it; the page says who did."""
    actor = actor_of(request)
    row = groups.get_directory(actor, uid)
    if request.method == "POST":
        services.remove_directory(actor, uid)
        messages.info(request, _("%(name)s was removed. In the directory nothing changed.") % {"name": row.name})
        return redirect("tenants:directories")
    context = {"directory": row, "reasons": services.depends_on(row)}
    return render(request, "tenants/directory_remove.html", SECTION | context)


@require_POST
@login_required
@audited("GROUP_UNMAP", "directory")
def group_unmap(request: HttpRequest, uid: UUID, group: UUID) -> HttpResponse:
    """Take a role from a group."""
    actor = actor_of(request)
    groups.authorize_directories(actor)
    target = groups.place(actor, request.POST.get("target", ""))
    groups.unmap_group(actor, uid, group, role=request.POST.get("role", ""), target=target)
    messages.info(request, _("The role was taken from the group."))
    return redirect("tenants:directory", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("DIRECTORY_RELEASE", "directory")
def directory_sync(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What a sync would change now; and doing it, past the brake."""
    actor = actor_of(request)
    row = groups.get_directory(actor, uid)
    if request.method != "POST":
        return _sync(request, row)
    try:
        plan = services.release_sync(actor, uid, look=request.POST.get("look", ""))
    except PreconditionFailed as error:
        return _sync(request, row, status=error.status, refused=error.detail)
    count = len(plan.changes)
    said = ngettext("Done: %(count)d account changed.", "Done: %(count)d accounts changed.", count)
    messages.success(request, said % {"count": count})
    return redirect("tenants:directory", uid=uid)


def _sync(request: HttpRequest, row: Directory, *, status: int = 200, refused: str = "") -> HttpResponse:
    plan = services.preview_sync(actor_of(request), row.pk)
    shown = plan.changes[:MOST_SHOWN]
    context = {"directory": row, "plan": plan, "shown": _with_roles(shown), "more": len(plan.changes) - len(shown)}
    return render(request, "tenants/directory_sync.html", SECTION | context | {"refused": refused}, status=status)


def _with_roles(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Each change with the groups that are left and joined, and what these hold."""
    moved = [group for change in changes for group in (*change.moves.left, *change.moves.joined)]
    held = simulation.roles_of_groups({group.group_id for group in moved})

    def with_roles(groups: Iterable[DirectoryGroup]) -> list[tuple[DirectoryGroup, list[simulation.WouldHold]]]:
        return [(group, held.get(group.group_id, [])) for group in groups]

    return [
        {"change": change, "left": with_roles(change.moves.left), "joined": with_roles(change.moves.joined)}
        for change in changes
    ]


@require_safe
@login_required
def directory_simulate(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Whom a name means there, and what a log-in would come to."""
    actor = actor_of(request)
    row = groups.get_directory(actor, uid)
    typed = request.GET.get("username", "").strip()[:150]
    if not typed:
        return redirect("tenants:directory", uid=uid)
    try:
        found = simulation.simulate_login(actor, uid, typed)
    except PortalError as error:
        if [one.field for one in error.reasons] != ["username"]:
            raise
        return _detail(request, row, status=error.status, simulated=typed, unfound=error.detail)
    return _detail(request, row, simulation=found, simulated=typed)
