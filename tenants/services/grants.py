"""The hallway of grants and quotas: the policy and the ledger, with a record of each attempt."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.auth.models import Group
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Invalid, Reason
from portal.events.record import Subject, attempt
from tenants import policy, quota
from tenants.models import DataCenter, System, User
from tenants.models.quota import Dimension
from tenants.permits import Permit


def grant_role(actor: Actor, role: str, user: User, target: DataCenter | System) -> None:
    """Give a user a role on a data center or on the whole system; bounded as ``policy.grant`` says."""
    with attempt(actor, "GRANT", _subject(target)) as trial:
        trial.data = {"role": role, "user": str(user.pk)}
        policy.grant(actor, role, user, target)


def revoke_role(actor: Actor, role: str, user: User, target: DataCenter | System) -> None:
    """Take it back; open pages and consoles that lived by it end."""
    with attempt(actor, "REVOKE", _subject(target)) as trial:
        trial.data = {"role": role, "user": str(user.pk)}
        policy.revoke(actor, role, user, target)


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


def _subject(target: DataCenter | System) -> Subject:
    is_center = isinstance(target, DataCenter)
    return Subject("data_center" if is_center else "system", target.pk, str(target), target.pk if is_center else None)
