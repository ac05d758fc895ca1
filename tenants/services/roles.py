"""The hallway of roles. Those that come with the portal are read; the institute's own are made of permits by super-admins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import slugify
from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted, PreconditionFailed, Reason
from portal.common.versions import version_of
from portal.events.record import Attempt, Subject, attempt
from tenants import bounds, policy
from tenants.holdings import CODENAME
from tenants.models import Role
from tenants.permits import Permit
from tenants.services.grant_ends import end_of
from tenants.services.role_uses import people_of_role, use_reasons
from tenants.services.super_admins import one_remains

NAME = re.compile(r"[A-Za-z0-9]+(?:[ _.-][A-Za-z0-9]+)*")
LONGEST_NAME, LONGEST_DESCRIPTION = 64, 300


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """A role to make. ``permits`` None: those of the role that it starts from (its uid); a second factor is asked as of that."""

    name: str
    description: str = ""
    permits: tuple[str, ...] | None = None
    start_from: UUID | None = None


@dataclass(frozen=True, slots=True)
class RoleEdit:
    """What is to be changed; None stays as it is. ``version`` of the row that was looked at, empty: whatever it is now."""

    name: str | None = None
    description: str | None = None
    permits: tuple[str, ...] | None = None
    version: str = ""


def roles() -> QuerySet[Role]:
    """Every role, by name. What a role is, is no secret; who holds it is."""
    return Role.objects.order_by("name", "uid")


def get_role(uid: UUID) -> Role:
    """One of them. Raises ``NotFound``."""
    row = roles().filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such role."))
    return row


def authorize_roles(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may not make roles: in oVirt MANIPULATE_ROLES is SuperUser's alone, too."""
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())


def authorize_change(actor: Actor, uid: UUID) -> Role:
    """The role, for whoever may change or delete it. Raises ``NotPermitted``, and ``Conflict`` for one of the portal's."""
    authorize_roles(actor)
    row = get_role(uid)
    _refuse_predefined(row)
    return row


def role_version(row: Role) -> str:
    """The version of what can be edited."""
    return version_of(row.name, row.description, sorted(row.permits))


def create_role(actor: Actor, request: RoleRequest) -> Role:
    """Make a role. ``Invalid`` and ``Conflict`` name the field; ``NotPermitted`` for permits that the maker lacks."""
    with attempt(actor, "ROLE_CREATE", Subject("role", None, request.name)) as trial:
        authorize_roles(actor)
        start = _start_of(request)
        permits = set(request.permits if request.permits is not None else start.permits if start else ())
        _refuse(request.name, request.description, permits)
        _refuse_beyond_own(actor, permits)
        row = Role.objects.create(
            name=request.name,
            codename=_free_codename(request.name),
            description=request.description,
            permits=sorted(permits),
            needs_factor=start is not None and start.needs_factor,
        )
        trial.subject = Subject("role", row.pk, row.name)
        trial.data = {"permits": row.permits}
    return row


def edit_role(actor: Actor, uid: UUID, edit: RoleEdit) -> Role:
    """Change a role of the institute's own. It counts at once, and open pages and consoles of all who hold it ask anew.

    The record has the difference. ``PreconditionFailed`` when it is another version now; else refused as ``create_role``.
    """
    with attempt(actor, "ROLE_EDIT", Subject("role", uid)) as trial, one_remains():
        row = _locked(actor, uid, trial)
        if edit.version and edit.version != role_version(row):
            raise PreconditionFailed(_("Somebody else changed this role meanwhile. Look at it again."))
        name = row.name if edit.name is None else edit.name
        description = row.description if edit.description is None else edit.description
        permits = set(row.permits if edit.permits is None else edit.permits)
        _refuse(name, description, permits, but=row)
        _refuse_beyond_own(actor, permits - set(row.permits))
        _refuse_for_good(actor, permits - set(row.permits))
        if permits - set(row.permits):
            bounds.refuse_without(actor, Permit.GRANT)  # it is given to all who hold the role
        trial.data = _difference(row, name, description, permits)
        row.name, row.description, row.permits = name, description, sorted(permits)
        row.save(update_fields=["name", "description", "permits"])
        Permission.objects.filter(codename=CODENAME + row.codename).update(name=name)
        if trial.data.get("added") or trial.data.get("removed"):
            access_changed(people_of_role(row))
    return row


def delete_role(actor: Actor, uid: UUID) -> Role:
    """Delete a role that nobody holds. ``Conflict`` with a reason for each kind of object on which somebody does."""
    with attempt(actor, "ROLE_DELETE", Subject("role", uid)) as trial:
        row = _locked(actor, uid, trial)
        reasons = use_reasons(row)
        if reasons:
            told = _("The role %(name)s is held: %(where)s") % {
                "name": row.name,
                "where": " ".join(reason.text for reason in reasons),
            }
            raise Conflict(told, reasons=tuple(reasons))
        Permission.objects.filter(codename=CODENAME + row.codename).delete()  # and with it grants that have ended
        row.delete()
    return row


def _locked(actor: Actor, uid: UUID, trial: Attempt) -> Role:
    """The row, which nobody changes or gives meanwhile (``services.grants`` holds it as well)."""
    trial.subject = Subject("role", uid, authorize_change(actor, uid).name)
    row = Role.objects.select_for_update().filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such role."))
    return row


def _start_of(request: RoleRequest) -> Role | None:
    if request.start_from is None:
        return None
    start = roles().filter(pk=request.start_from).first()
    if start is None:
        text = _("There is no such role to start from.")
        raise Invalid(text, reasons=(Reason("start_from_invalid", text, "start_from"),))
    return start


def _refuse(name: str, description: str, permits: set[str], *, but: Role | None = None) -> None:
    reasons = []
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        text = _(
            "A role's name has 1 to 64 characters: words of letters A-Z and digits, with a blank, '-', '_' or '.' between."
        )
        reasons.append(Reason("name_invalid", text, "name"))
    if len(description) > LONGEST_DESCRIPTION or "\x00" in description:
        text = _("A description has at most %(most)d characters.") % {"most": LONGEST_DESCRIPTION}
        reasons.append(Reason("description_invalid", text, "description"))
    unknown = sorted(permits - {permit.value for permit in Permit} - set(but.permits if but else ()))
    if unknown:
        text = _("There is no permit %(names)s.") % {"names": ", ".join(one[:40] for one in unknown[:5])}
        reasons.append(Reason("permits_unknown", text, "permits"))
    if not permits:
        reasons.append(Reason("permits_missing", _("Choose at least one permit."), "permits"))
    if reasons:
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
    _refuse_name_taken(name, but)


def _refuse_name_taken(name: str, but: Role | None) -> None:
    """Names that differ in capitals and punctuation alone would be taken for each other."""
    others = Role.objects.exclude(pk=but.pk) if but else Role.objects.all()
    if _bare(name) in {_bare(other) for other in others.values_list("name", flat=True)}:
        text = _("A role of this name is already there. Choose another name.")
        raise Conflict(text, reasons=(Reason("name_taken", text, "name"),))


def _free_codename(name: str) -> str:
    """By the name, and told from that of a role which was called so once, or whose long name begins alike."""
    codename = f"custom-{slugify(name.replace('.', '-'))}"[:50]
    taken = Role.objects.filter(codename=codename).exists()
    return f"{codename}-{uuid4().hex[:8]}" if taken else codename


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _refuse_beyond_own(actor: Actor, permits: set[str]) -> None:
    """Nobody puts into a role what he does not hold on the whole system: he might hold the role himself."""
    mine = {permit.value for permit in policy.permits_on(actor, [policy.system()])[policy.system().pk]}
    beyond = sorted(permits - mine)
    if beyond:
        text = _("You can put into a role only what you hold on the whole system; you lack %(permits)s there.")
        told = text % {"permits": ", ".join(beyond)}
        raise NotPermitted(told, reasons=(Reason("beyond_own", told, "permits", {"permits": beyond}),))


def _refuse_for_good(actor: Actor, added: set[str]) -> None:
    """Nor what ends for him: he may hold the role itself without an end."""
    end = end_of(actor, added, policy.system())
    if end is not None:
        text = _(
            "You hold what you would add until %(end)s only; a role gives it for good. Ask a super-admin who holds it without an end."
        )
        told = text % {"end": date_format(timezone.localtime(end), "SHORT_DATETIME_FORMAT")}
        raise NotPermitted(told, reasons=(Reason("longer_than_own", told, "permits", {"end": end.isoformat()}),))


def _refuse_predefined(row: Role) -> None:
    if row.predefined:
        text = _(
            "The role %(name)s comes with the portal and stays as it is. Make a role of your own that starts from it."
        )
        told = text % {"name": row.name}
        raise Conflict(told, reasons=(Reason("predefined", told),))


def _difference(row: Role, name: str, description: str, permits: set[str]) -> dict[str, Any]:
    before = set(row.permits)
    changes: dict[str, Any] = {"added": sorted(permits - before), "removed": sorted(before - permits)}
    for field, old, new in (("name", row.name, name), ("description", row.description, description)):
        if old != new:
            changes[field] = {"before": old, "after": new}
    return changes
