"""Pages of providers: the list, one with what it has, and its connecting and changing. For super-admins."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute import selectors
from compute.actions import screen_reasons
from compute.diagnosis import Told
from compute.engine_networks import engine_networks
from compute.forms.kept import Kept, Typed, opened, seal
from compute.forms.providers import ProviderForm, form_of
from compute.services import providers as services
from compute.services.adoption import unassigned
from compute.services.providers import NotReached, ProviderEdit
from compute.services.upgrades import accept_version, upgrade_of
from compute.views.page_verbs import of_found_networks
from compute.views.provider_verbs import connect, of_provider
from portal.common.actor import Actor
from portal.common.errors import PortalError
from portal.common.http import actor_of
from portal.common.kinds import kind_title
from portal.common.login_first import login_required
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import kinds
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.tried import audited

SECTION = {"section": "providers"}


@require_safe
@login_required
def provider_list(request: HttpRequest) -> HttpResponse:
    """All providers."""
    actor = actor_of(request)
    policy.authorize(actor, Permit.PROVIDER_VIEW, policy.system())
    context = {"providers": selectors.providers(actor), "connect": connect(actor)}
    return render(request, "compute/provider_list.html", SECTION | context)


@require_safe
@login_required
def provider_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One provider: how it was last seen, and what it has."""
    return _detail(request, selectors.get_provider(actor_of(request), uid))


def _detail(request: HttpRequest, row: Provider, *, steps: tuple[Told, ...] = ()) -> HttpResponse:
    actor = actor_of(request)
    manages = policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE)
    engine = selectors.of_engine(row)
    context = {
        "provider": row,
        "verbs": of_provider(actor, row),
        "hosts": selectors.hosts(actor).filter(provider=row),
        "storage_domains": selectors.storage_domains(actor).filter(provider=row).prefetch_related("provider__zones"),
        **(_engines(actor, row) if engine else of_found_networks(actor, row)),
        "engine": engine,
        "steps": steps,
        "no_screens": screen_reasons(row),
        "upgrade": upgrade_of(row),
        "unassigned": unassigned(actor, provider=row.pk).count() if manages else 0,
        "opens_volumes": manages,
        "to_share": manages
        and not DataCenter.objects.filter(cluster_assignments__cluster__hosts__provider=row).exists(),
    }
    return render(request, "compute/provider_detail.html", SECTION | context)


def _engines(actor: Actor, row: Provider) -> dict[str, Any]:
    return {"networks": engine_networks(actor, row.pk)}


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("PROVIDER_CONNECT", "provider")
def provider_create(request: HttpRequest) -> HttpResponse:
    """Connect one: try it as often as wanted, then store it."""
    actor = actor_of(request)
    services.authorize_management(actor)

    def attempt(form: ProviderForm, *, is_trial: bool) -> tuple[Told, ...] | Provider:
        given = {name: form.cleaned_data[name] for name in ("kind", "address")}
        given |= {"ca_pem": form.trusted_ca, "username": form.cleaned_data.get("username", "")}
        secrets = _secrets(actor, form)
        if is_trial:
            return services.try_new(actor, **given, secrets=secrets, name=form.cleaned_data["name"]).steps
        return services.connect_provider(actor, name=form.cleaned_data["name"], **given, secrets=secrets)

    return _form_page(request, attempt, {}, said=_("%(name)s is connected."))


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("PROVIDER_EDIT", "provider")
def provider_edit(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another name, address or credentials."""
    actor = actor_of(request)
    row = selectors.get_provider(actor, uid)
    services.authorize_management(actor)

    def attempt(form: ProviderForm, *, is_trial: bool) -> tuple[Told, ...] | Provider:
        edit = _edit(actor, form, row)
        if is_trial:
            return services.try_connected(actor, uid, edit)
        return services.edit_provider(actor, uid, edit)

    return _form_page(request, attempt, {"provider": row}, said=_("%(name)s was changed."))


def _edit(actor: Actor, form: ProviderForm, row: Provider) -> ProviderEdit:
    """What differs. What was left empty stays."""
    given, ca_pem = form.cleaned_data, form.trusted_ca.replace("\r\n", "\n").strip()
    return ProviderEdit(
        name=given["name"] if given["name"] != row.name else None,
        address=given["address"] if given["address"] != row.address else None,
        username=given["username"] if given.get("username", row.username) != row.username else None,
        ca_pem=ca_pem if ca_pem != row.ca_pem else None,
        secrets=_secrets(actor, form),
        version=given["version"],
    )


def _secrets(actor: Actor, form: ProviderForm) -> dict[str, str]:
    """What was typed now, else at the try before."""
    return dict(_kept(actor, form).secrets)


def _kept(actor: Actor, form: ProviderForm) -> Kept:
    names = (*form.secrets, *form.shown_secrets)
    typed = {name: form.cleaned_data[name] for name in names if form.cleaned_data[name].strip()}
    return opened(form.cleaned_data["kept"], _typed(actor, form)).with_typed(typed)


def _typed(actor: Actor, form: ProviderForm) -> Typed:
    given = form.cleaned_data
    return Typed(actor.uid, given["kind"], given.get("address", ""), form.trusted_ca)


def _form_page(
    request: HttpRequest,
    attempt: Callable[..., tuple[Told, ...] | Provider],
    context: dict[str, Any],
    *,
    said: str,
) -> HttpResponse:
    row: Provider | None = context.get("provider")
    form = _form(request, row)
    steps: tuple[Told, ...] = ()
    status = HTTPStatus.OK
    if request.method == "POST" and form.is_valid():
        try:
            done = attempt(form, is_trial=request.POST.get("action") == "test")
        except NotReached as error:
            steps, status = error.steps, HTTPStatus(error.status)
            context |= {"refused": error.detail}
        except PortalError as error:
            if not form.add_reasons(error.reasons):
                raise
        else:
            if isinstance(done, Provider):
                messages.success(request, said % {"name": done.name})
                return redirect("compute:provider", uid=done.pk)
            steps = done
    if form.errors:
        status = HTTPStatus.BAD_REQUEST
    context["usable"] = bool(steps) and not any(step.status == "failed" or step.step == "already" for step in steps)
    context |= {"steps": steps, "kept": _kept_names(request, form), **_found(steps)}
    found_ca = (context["found_ca"] or {}).get("ca_pem", "")
    context |= {"form": _blanked(actor_of(request), form, found_ca=found_ca), **_opened_parts(form)}
    context["kinds"] = [(kind, kind_title(kind)) for kind in kinds()] if row is None else []
    return render(request, "compute/provider_form.html", SECTION | context, status=status)


def _form(request: HttpRequest, row: Provider | None) -> ProviderForm:
    """The form of the kind that the row has, or that was chosen."""
    chosen = row.kind if row else (request.POST.get("kind") or request.GET.get("kind", ""))
    known = (row.kind,) if row else kinds()
    kind = chosen if chosen in known else "libvirt"
    return form_of(kind)(request.POST or None, initial=_initial(row) | {"kind": kind}, kinds=known)


def _found(steps: tuple[Told, ...]) -> dict[str, Any]:
    """What the test found that can be pinned."""
    return {
        "found_key": next((step.data for step in steps if step.data.get("host_key")), None),
        "found_ca": next((step.data for step in steps if step.data.get("ca_pem")), None),
    }


def _opened_parts(form: ProviderForm) -> dict[str, Any]:
    """Which parts of the form stand open."""
    address = str(form["address"].value() or "")
    return {
        "kind": str(form["kind"].value()),
        "open_ssh": not address or address.startswith("qemu+ssh"),
        "open_tls": address.startswith("qemu+tls"),
    }


def _initial(row: Provider | None) -> dict[str, Any]:
    if row is None:
        return {}
    shown = {name: getattr(row, name) for name in ("name", "address", "username", "ca_pem")}
    return shown | {"version": services.provider_version(row)}


def _kept_names(request: HttpRequest, form: ProviderForm) -> list[str]:
    """The secrets that need not be given again, by their fields' names."""
    return sorted(set(_secrets(actor_of(request), form)) & set(form.secrets)) if _is_read(form) else []


def _blanked(actor: Actor, form: ProviderForm, *, found_ca: str) -> ProviderForm:
    """The form without the secrets in it: they go back sealed, for where they were typed for (``forms.kept``)."""
    if not form.is_bound:
        return form
    data = cast("QueryDict", form.data).copy()
    kept = seal(_kept(actor, form), _typed(actor, form), found_ca=found_ca) if _is_read(form) else ""
    for name in form.secrets:
        data[name] = ""
    if "ca_pem" in getattr(form, "cleaned_data", {}):
        data["ca_pem"] = form.trusted_ca
    data["kept"] = kept
    form.data = data
    return form


def _is_read(form: ProviderForm) -> bool:
    return form.is_bound and form.cleaned_data.keys() >= {"kept", "kind", *form.secrets, *form.shown_secrets}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("PROVIDER_TEST", "provider")
def provider_test(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Try it as it is connected, and show the steps on its page, where a look at this address leads back to."""
    actor = actor_of(request)
    row = selectors.get_provider(actor, uid)
    if request.method != "POST":
        return redirect("compute:provider", uid=uid)
    return _detail(request, row, steps=services.try_connected(actor, uid))


@require_POST
@login_required
def provider_enable(request: HttpRequest, uid: UUID, *, enabled: bool) -> HttpResponse:
    """Disable it, or enable it again."""
    row = services.set_provider_enabled(actor_of(request), uid, enabled=enabled)
    said = _("%(name)s is enabled again.") if enabled else _("%(name)s is disabled. Its machines run on.")
    messages.info(request, said % {"name": row.name})
    return redirect("compute:provider", uid=uid)


@require_POST
@login_required
def provider_accept_version(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Let deletions go on where it was upgraded or built anew."""
    despite = "despite_missing" in request.POST
    row = accept_version(actor_of(request), uid, look=request.POST.get("look", ""), despite_missing=despite)
    messages.success(request, _("What waited to be deleted on %(name)s goes on within a minute.") % {"name": row.name})
    return redirect("compute:provider", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("PROVIDER_REMOVE", "provider")
def provider_remove(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Remove it, when nothing depends on it; the page lists what does."""
    actor = actor_of(request)
    row = selectors.get_provider(actor, uid)
    services.authorize_management(actor)
    if request.method == "POST":
        services.remove_provider(actor, uid)
        messages.info(request, _("%(name)s was removed. On its hypervisor nothing changed.") % {"name": row.name})
        return redirect("compute:providers")
    context = {"provider": row, "reasons": selectors.depends_on(row)}
    return render(request, "compute/provider_remove.html", SECTION | context)
