"""Who may touch whose account: nobody becomes more by looking after the accounts of those who are more than he."""

from __future__ import annotations

from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotPermitted, Reason
from tenants import policy
from tenants.holdings import CODENAME, live
from tenants.models import Role, SystemGroupGrant, SystemUserGrant, User
from tenants.permits import Permit


def refuse_above(actor: Actor, user: User) -> None:
    """Raise ``NotPermitted`` for an account that holds on the whole system what the actor does not hold there.

    Who sets a password, takes a second factor away, ends log-ins or lets an account in again may log in as its user next.
    """
    if actor.is_system or actor.uid == user.pk:
        return
    mine = policy.permits_on(actor, [policy.system()])[policy.system().pk]
    beyond = sorted(permit.value for permit in _permits_above(user) - mine)
    if beyond:
        text = _(
            "%(name)s holds on the whole system what you do not: %(permits)s. Ask somebody who holds that too, a super-admin."
        )
        told = text % {"name": user, "permits": ", ".join(beyond)}
        raise NotPermitted(told, reasons=(Reason("above_own", told, "", {"permits": beyond}),))


def _permits_above(user: User) -> frozenset[Permit]:
    """What he holds on the whole system, from the rows: a disabled super-admin is one again as soon as he is enabled."""
    own = live(SystemUserGrant.objects.filter(user=user))
    through = live(SystemGroupGrant.objects.filter(group__user=user))
    names = own.order_by().values_list("permission__codename", flat=True)
    held = set(names.union(through.order_by().values_list("permission__codename", flat=True)))
    roles = Role.objects.filter(codename__in=[name.removeprefix(CODENAME) for name in held])
    told = {permit for permits in roles.values_list("permits", flat=True) for permit in permits}
    return frozenset(permit for permit in Permit if permit.value in told)
