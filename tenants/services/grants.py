"""The hallway of grants and quotas: the policy and the ledger, with a record of each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.constraints import at_once
from portal.common.errors import Invalid, NotFound, NotPermitted, Reason
from portal.events.record import Subject, attempt
from tenants import policy, quota
from tenants.fitting import fits
from tenants.kinds import kind_named, kind_of, owner_of
from tenants.models import DataCenter, Role, System, User
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.selectors import roles_for
from tenants.services.grant_ends import end_of
from tenants.services.super_admins import one_remains


def grantable(actor: Actor, kind_name: str, uid: UUID) -> Model:
    """The object, for whoever may give roles on it. Raises ``NotFound`` for what he may not see, else ``NotPermitted``."""
    kind = kind_named(kind_name)
    row = None if kind is None else kind.model._default_manager.filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such object, or you may not see it."))
    policy.authorize(actor, Permit.GRANT, row)
    return row


def grant_role(
    actor: Actor, role: str, subject: User | Group, target: Model, *, expires_at: datetime | None = None
) -> None:
    """Give a user or a group a role on an object, for good or until a time; again changes that time.

    Nobody gives what he does not hold there himself (``policy.grant``), nor for longer than he holds it. ``Invalid`` names the
    field: a role that means nothing on such an object, a time that is over. ``Conflict`` when no super-admin would be left.
    """
    with attempt(actor, "GRANT", _subject(target)) as trial, _super_admins(target):
        trial.data = {"role": role, **_named(subject), "expires_at": expires_at.isoformat() if expires_at else None}
        hold_role(actor, role, target, expires_at=expires_at)
        trial.subject = _subject(target)
        with at_once():  # who is forgotten in this moment would be missed at the commit alone, which may be another's
            policy.grant(actor, role, subject, target, expires_at=expires_at)


def revoke_role(actor: Actor, role: str, subject: User | Group, target: Model) -> None:
    """Take it back; open pages and consoles that lived by it end. ``Conflict`` when no super-admin would be left."""
    with attempt(actor, "REVOKE", _subject(target)) as trial, _super_admins(target):
        trial.data = {"role": role, **_named(subject)}
        _hold_in_place(target)
        policy.revoke(actor, role, subject, target)


def hold_role(
    actor: Actor, role: str, target: Model, *, expires_at: datetime | None = None, field: str = "expires_at"
) -> None:
    """Before it is given: nobody changes or deletes the role in this transaction, nor moves the object to another data
    center, and it may be given there so long.

    ``field``: what whoever asks calls the end.
    """
    row = _held_fast(role)
    _refuse_time(expires_at)
    _hold_in_place(target)
    policy.authorize(actor, Permit.GRANT, target)
    _refuse_unfit(row, target)
    _refuse_longer(actor, row, target, expires_at, field)


def _super_admins(target: Model) -> AbstractContextManager[None]:
    return one_remains() if isinstance(target, System) else nullcontext()


def _held_fast(codename: str) -> Role:
    """The role, which nobody deletes or changes before it is given (``services.roles`` holds it as well)."""
    row = Role.objects.select_for_update(no_key=True).filter(codename=codename).first()
    if row is None:
        text = _("There is no role %(role)s.") % {"role": codename[:64]}
        raise NotFound(text, reasons=(Reason("role_unknown", text, "role"),))
    return row


def _hold_in_place(target: Model) -> None:
    """The object's row, and in which data center it is now: a move holds it as well, and ends what was given before."""
    path = kind_of(type(target)).data_center_path
    if not path:
        return
    rows = type(target)._default_manager.select_for_update(no_key=True).filter(pk=target.pk)
    if not list(rows.values_list("pk")):
        raise NotFound(_("There is no such object, or you may not see it."))
    target.refresh_from_db(fields=[path.split("__")[0]])


def _refuse_time(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        text = _("The end is over already. Choose a later one, or none.")
        raise Invalid(text, reasons=(Reason("end_is_past", text, "expires_at"),))


def _refuse_unfit(role: Role, target: Model) -> None:
    kind = kind_of(type(target)).name
    if not fits(role.permits, kind):
        text = _("The role %(role)s means nothing on an object of this kind. There are: %(roles)s.")
        told = text % {"role": role.codename, "roles": ", ".join(row.codename for row in roles_for(kind))}
        raise Invalid(told, reasons=(Reason("role_unfit", told, "role"),))


def _refuse_longer(actor: Actor, role: Role, target: Model, expires_at: datetime | None, field: str) -> None:
    """An end would be worth nothing if whoever has one could give himself, or a friend, the same without."""
    end = end_of(actor, role.permits, target)
    if end is not None and (expires_at is None or expires_at > end):
        text = _("You hold this yourself until %(end)s only. Give it until then at most.")
        told = text % {"end": date_format(timezone.localtime(end), "SHORT_DATETIME_FORMAT")}
        raise NotPermitted(told, reasons=(Reason("longer_than_own", told, field, {"end": end.isoformat()}),))


def set_quota(
    actor: Actor,
    data_center: DataCenter,
    limits: Mapping[Dimension, int | None],
    *,
    user: User | None = None,
    group: Group | None = None,
) -> None:
    """Set limits (None: unlimited). A data center's own are the institute's to set, shares of it its admin's."""
    with attempt(actor, "QUOTA_EDIT", _subject(data_center)) as trial:
        trial.data = {
            "limits": {str(key): value for key, value in limits.items()},
            "user": str(user.pk) if user else "",
            "group": group.name if group else "",
        }
        if user is None and group is None:
            policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        policy.authorize(actor, Permit.QUOTA_EDIT, data_center)
        _refuse_negative(limits)
        quota.set_limits(data_center, dict(limits), user_uid=user.pk if user else None, group=group)


def _refuse_negative(limits: Mapping[Dimension, int | None]) -> None:
    text = _("A limit is 0 or more; leave it out for no limit.")
    reasons = tuple(Reason("limit_negative", text, str(key)) for key, value in limits.items() if (value or 0) < 0)
    if reasons:
        raise Invalid(text, reasons=reasons)


def _subject(target: Model) -> Subject:
    center = owner_of(target)
    return Subject(kind_of(type(target)).name, target.pk, str(target), center.pk if center else None)


def _named(subject: User | Group) -> dict[str, str]:
    return {"user": str(subject.pk)} if isinstance(subject, User) else {"group": subject.name}
