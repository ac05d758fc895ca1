"""Until when somebody holds what he holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain

from django.db.models import Model

from portal.common.actor import Actor
from tenants import policy
from tenants.holdings import CODENAME, live
from tenants.kinds import kind_of, owner_of
from tenants.models import Role

NEVER = datetime.max.replace(tzinfo=UTC)


def end_of(actor: Actor, permits: Iterable[str], target: Model) -> datetime | None:
    """When the first of these permits that the actor holds on an object ends; None for no end, or none of them held.

    A permit held in several ways ends with the last of them.
    """
    if actor.is_system:
        return None
    wanted = set(permits)
    ends: dict[str, datetime] = {}
    worth = dict(Role.objects.values_list("codename", "permits"))
    for codename, expires_at in _ways(actor, target):
        for permit in wanted.intersection(worth.get(codename.removeprefix(CODENAME), ())):
            ends[permit] = max(ends.get(permit, expires_at or NEVER), expires_at or NEVER)
    first = min(ends.values(), default=NEVER)
    return None if first == NEVER else first


def _ways(actor: Actor, target: Model) -> Iterable[tuple[str, datetime | None]]:
    """The roles held on the object, its data center and the system, himself or through a group, and when each ends."""
    scopes = {scope for scope in (target, owner_of(target), policy.system()) if scope is not None}
    for scope in scopes:
        kind = kind_of(type(scope))
        own = live(kind.user_grants._default_manager.filter(content_object=scope, user=actor.user))
        through = live(kind.group_grants._default_manager.filter(content_object=scope, group__user=actor.user))
        yield from chain(*(rows.values_list("permission__codename", "expires_at") for rows in (own, through)))
