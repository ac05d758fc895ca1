"""Pages of people: those of a data center with their shares of its quota, and all local accounts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.common.actor import Actor
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants import policy, selectors
from tenants.forms.people import PasswordForm, PersonForm, QuotaForm, UserForm
from tenants.models import DataCenter, User
from tenants.models.data_center import SYSTEM_UID
from tenants.permits import Permit
from tenants.services import people, users
from tenants.tried import audited
from tenants.verbs import Verb

OF_CENTERS = {"section": "data_centers"}
OF_USERS = {"section": "users"}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("GRANT", "data_center")
def data_center_people(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Who is of a data center, in which role, with which share; and a form that adds somebody."""
    actor = actor_of(request)
    row = people.authorize_people(actor, uid)
    posted = request.POST if request.method == "POST" else None
    form = PersonForm(posted, roles=people.roles_to_give())

    def work() -> User:
        given = form.cleaned_data
        return people.add_person(
            actor, uid, username=given["username"], role=given["role"], expires_at=form.expires_at()
        )

    if posted is not None and (user := form.tried(work)):
        messages.success(request, _("%(name)s is of %(data_center)s now.") % {"name": user, "data_center": row.name})
        return redirect("tenants:people", uid=uid)
    row, found, more = people.people(actor, uid, after=request.GET.get("after", "")[:150])
    context = OF_CENTERS | {"data_center": row, "people": found, "more": more, "form": form}
    return render(request, "tenants/data_center_people.html", context, status=400 if form.errors else 200)


@require_POST
@login_required
def person_remove(request: HttpRequest, uid: UUID, user: UUID) -> HttpResponse:
    """Take a role back."""
    found = people.remove_person(actor_of(request), uid, user, request.POST.get("role", ""))
    messages.info(request, _("The role of %(name)s was taken back.") % {"name": found})
    return redirect("tenants:people", uid=uid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("QUOTA_EDIT", "data_center")
def person_share(request: HttpRequest, uid: UUID, user: UUID) -> HttpResponse:
    """A person's share of the quota."""
    row, found = people.person(actor_of(request), uid, user)
    title = _("Share of %(name)s") % {"name": found.user}
    back = reverse("tenants:people", args=[uid])
    return _quota_page(request, row, found.user, {"title": title, "back": back, "meters": found.share})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("QUOTA_EDIT", "data_center")
def data_center_quota(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A data center's own limits. For super-admins."""
    row = people.authorize_quota(actor_of(request), uid)
    title = _("Quota of %(name)s") % {"name": row.name}
    return _quota_page(request, row, None, {"title": title, "back": reverse("compute:data-center", args=[uid])})


def _quota_page(request: HttpRequest, row: DataCenter, user: User | None, context: dict[str, Any]) -> HttpResponse:
    limits = people.limits_of(row, user)
    initial = {str(name): value for name, value in limits.items()} | {"version": people.limits_version(limits)}
    form = QuotaForm(request.POST if request.method == "POST" else None, initial=initial)

    def work() -> bool:
        version = form.cleaned_data["version"]
        people.edit_quota(actor_of(request), row, form.limits(), user=user, version=version)
        return True

    if request.method == "POST" and form.tried(work):
        messages.success(request, _("The limits were set."))
        return redirect(context["back"])
    shown = OF_CENTERS | context | {"form": form, "data_center": row}
    return render(request, "tenants/quota_form.html", shown, status=400 if form.errors else 200)


@require_safe
@login_required
def user_list(request: HttpRequest) -> HttpResponse:
    """All accounts, a page of them by user name. For super-admins."""
    query, after = request.GET.get("q", "").strip()[:64], request.GET.get("after", "")[:150]
    actor = actor_of(request)
    rows = list(selectors.users(actor, query=query, after=after)[: people.PER_PAGE + 1])
    more = rows[people.PER_PAGE - 1].username if len(rows) > people.PER_PAGE else ""
    return render(
        request,
        "tenants/user_list.html",
        OF_USERS
        | {"users": rows[: people.PER_PAGE], "more": more, "query": query, "system_uid": SYSTEM_UID}
        | {
            "verbs": _verbs(actor),
            "looks_as": policy.runs_everything(actor),
            "told": policy.holds_everywhere(actor, Permit.GRANT),
        },
    )


def _verbs(actor: Actor) -> list[Verb]:
    """What the list of users leads to. To look as one of them is a verb of each row, greyed once for all."""
    system = ["system", SYSTEM_UID]
    asked = [
        (Verb("factors", _("Second factors"), "shield-lock", reverse("tenants:factor-ranks")), Permit.SYSTEM_MANAGE),
        (
            Verb("roles", _("Roles on the whole system"), "user-key", reverse("tenants:grants", args=system)),
            Permit.GRANT,
        ),
    ]
    if not policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE):
        asked.append((Verb("view", _("See the portal as a user"), "eye", ""), Permit.SYSTEM_MANAGE))
    shown = [verb.asking_above(actor, permit) for verb, permit in asked]
    return [verb for verb in shown if verb is not None]


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("USER_CREATE", "user")
def user_create(request: HttpRequest) -> HttpResponse:
    """A new local account. For super-admins."""
    actor = actor_of(request)
    users.authorize_users(actor)
    form = UserForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and (user := form.tried(lambda: users.create_user(actor, **form.cleaned_data))):
        messages.success(request, _("%(name)s was created. Give a role in a data center next.") % {"name": user})
        return redirect("tenants:users")
    listed = {"back": reverse("tenants:users"), "up": _("Users")}
    context = OF_USERS | listed | {"form": form, "title": _("Create user"), "do": _("Create")}
    return render(request, "tenants/user_form.html", context, status=400 if form.errors else 200)


@require_POST
@login_required
@audited("USER_DISABLE", "user", enabling="USER_ENABLE")
def user_enable(request: HttpRequest, uid: UUID, *, enabled: bool) -> HttpResponse:
    """Disable an account, or enable it again. For super-admins."""
    actor = actor_of(request)
    user = users.get_user(actor, uid)
    users.set_active(actor, user, active=enabled)
    said = (
        _("%(name)s may log in again.")
        if enabled
        else _("%(name)s is logged out everywhere and stays out. The API tokens of this account are gone for good.")
    )
    messages.info(request, said % {"name": user})
    return redirect("tenants:users")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("PASSWORD_SET", "user")
def user_password(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another password: one's own, or anybody's for super-admins. It ends all log-ins with the old one."""
    actor = actor_of(request)
    user = users.get_user(actor, uid)
    form = PasswordForm(request.POST if request.method == "POST" else None)
    own = user.pk == actor.uid
    if not own:
        del form.fields["present"]

    def work() -> bool:
        typed = form.cleaned_data
        users.set_password(actor, user, password=typed["password"], present=typed.get("present", ""))
        return True

    back, up = (
        (reverse("tenants:user", args=[uid]), _("Log-ins and tokens"))
        if own
        else (reverse("tenants:users"), _("Users"))
    )
    if request.method == "POST" and form.tried(work):
        messages.success(request, _("The password of %(name)s is another now. Log in with it.") % {"name": user})
        return redirect("home" if own else back)
    title = _("Password of %(name)s") % {"name": user}
    shown = {"title": title, "do": _("Set"), "back": back, "up": up}
    context = shown | {"section": "" if own else "users", "form": form}
    return render(request, "tenants/user_form.html", context, status=400 if form.errors else 200)
