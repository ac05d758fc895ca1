"""Who may touch whose account: nobody becomes more by looking after the accounts of those who are more than he."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotPermitted, Reason
from tenants import policy
from tenants.holdings import live
from tenants.models import Directory, SystemGroupGrant, SystemUserGrant, User
from tenants.permits import Permit
from tenants.services.grant_ends import NEVER, ends_by_permit, ends_of


def refuse_above(actor: Actor, user: User) -> None:
    """Raise ``NotPermitted`` for an account that holds on the whole system what the actor does not hold there.

    Who sets a password, takes a second factor away, ends log-ins or lets an account in again may log in as its user next.
    """
    if not actor.is_system and actor.uid != user.pk:
        _refuse_more(actor, user, ends_of(user, policy.system()))


def refuse_to_let_in(actor: Actor, user: User) -> None:
    """The same, and for one that holds it for longer: whoever could be its user next would rule on beyond his own end."""
    if not actor.is_system and actor.uid != user.pk:
        his = ends_of(user, policy.system())
        _refuse_more(actor, user, his)
        _refuse_longer(actor, user, his)


def refuse_to_lead(actor: Actor, directory: Directory) -> None:
    """The same for all of a directory's people and groups: whoever says where it is asked may be any of them next."""
    if actor.is_system:
        return
    people = live(SystemUserGrant.objects.filter(user__directory=directory))
    groups = live(SystemGroupGrant.objects.filter(group__of_directory__directory=directory))
    fields = ("permission__codename", "expires_at")
    rows = [*people.values_list(*fields), *groups.values_list(*fields)]
    theirs = ends_by_permit((code, end, frozenset(Permit)) for code, end in rows)
    told = _("Somebody of %(name)s") % {"name": directory.name}
    _refuse_more(actor, told, theirs)
    _refuse_longer(actor, told, theirs)


def _refuse_more(actor: Actor, who: Any, held: Mapping[str, datetime]) -> None:
    """From the rows: a disabled super-admin is one again as soon as he is enabled."""
    mine = policy.permits_on(actor, [policy.system()])[policy.system().pk]
    beyond = sorted(permit.value for permit in Permit if permit in held and permit not in mine)
    if beyond:
        text = _(
            "%(name)s holds on the whole system what you do not: %(permits)s. Ask somebody who holds that too, a super-admin."
        )
        told = text % {"name": who, "permits": ", ".join(beyond)}
        raise NotPermitted(told, reasons=(Reason("above_own", told, "", {"permits": beyond}),))


def _refuse_longer(actor: Actor, who: Any, held: Mapping[str, datetime]) -> None:
    mine = ends_of(actor.user, policy.system())
    end = min((mine[one] for one in held if one in mine and mine[one] < held[one]), default=NEVER)
    if end != NEVER:
        text = _(
            "%(name)s holds for longer what you hold until %(end)s only. Ask a super-admin who holds it without an end."
        )
        told = text % {"name": who, "end": date_format(timezone.localtime(end), "SHORT_DATETIME_FORMAT")}
        raise NotPermitted(told, reasons=(Reason("longer_than_own", told, "", {"end": end.isoformat()}),))
