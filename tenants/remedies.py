"""What would help whoever lacks a permit: the smallest grant, on what it is given, and who can give it.

``tenants.policy`` and the pages that explain ask here. Nobody is named whom the asker may not know: the administrators of a
data center to those who see it, those who hold an object itself to those who see it or hold something on the object too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model

from portal.common.actor import Actor
from tenants.fitting import fits
from tenants.holdings import CODENAME, Holdings, held, holdings, live
from tenants.kinds import Kind, around, kind_of, owner_of
from tenants.models import DataCenter
from tenants.models.data_center import SYSTEM_UID
from tenants.permits import Permit

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """What a role is given on: an object, its data center, or the whole system (whose ``name`` is empty)."""

    kind: str
    uid: UUID
    name: str = ""


@dataclass(frozen=True, slots=True)
class Remedy:
    """The roles that have the permit, the smallest first; on what that one is given; who can give it.

    ``givers`` are user names and names of groups; without any it takes a super-admin.
    """

    roles: tuple[str, ...]
    scope: Scope
    givers: tuple[str, ...] = ()


def remedy(asker: Actor, permit: str, target: Model) -> Remedy:
    """What would give somebody this permit on the target, told to this asker. Twelve queries at most."""
    kind, mine = kind_of(type(target)), holdings(asker)
    owner = owner_of(target)
    scope = _lowest(target, kind, owner)
    having = {code: permits for code, permits in mine.permits.items() if permit in permits}
    fitting = {code: permits for code, permits in having.items() if fits(permits, scope.kind)}
    if not fitting:
        scope, fitting = Scope("system", SYSTEM_UID), having
    roles = tuple(sorted(fitting, key=lambda code: (len(fitting[code]), code)))
    return Remedy(roles, scope, _givers(asker, target, owner, roles[0]) if roles else ())


def _lowest(target: Model, kind: Kind, owner: DataCenter | None) -> Scope:
    """Where a grant reaches least besides what is wanted: the object itself, where grants on its kind are kept."""
    if kind.user_grants is not None and target.pk != SYSTEM_UID:
        return Scope(kind.name, target.pk, str(target))
    return Scope("data_center", owner.pk, owner.name) if owner else Scope("system", SYSTEM_UID)


def _givers(asker: Actor, target: Model, owner: DataCenter | None, role: str) -> tuple[str, ...]:
    """Who holds all that the role has, and may give: by the roles with which one may give, each subject by its own."""
    mine = holdings(asker)
    sees_owner = owner is not None and _sees(mine, owner)
    found: dict[str, set[str]] = {}
    for where in around(target):
        kind = kind_of(type(where))
        if where.pk == SYSTEM_UID or not (sees_owner or _holds(asker, kind, where)):
            continue
        for table, who in ((kind.user_grants, "user"), (kind.group_grants, "group")):
            for name, code in _giving(mine, table, who, where):
                found.setdefault(name, set()).update(mine.permits[code])
    wanted = mine.permits[role]
    return tuple(name for name, permits in found.items() if wanted <= permits)[:MOST_NAMED]


def _holds(asker: Actor, kind: Kind, where: Model) -> bool:
    """Whether the asker holds something on a single object, and so may know who else does."""
    is_single = not isinstance(where, DataCenter)
    return is_single and bool(held(asker, kind.user_grants, kind.group_grants, only=[where.pk]).by_object)


def _sees(mine: Holdings, center: DataCenter) -> bool:
    seeing = mine.roles_with(Permit.DATA_CENTER_VIEW)
    return bool(seeing & set(mine.system) or (center.enabled and seeing & set(mine.centers.roles(center.pk))))


def _giving(mine: Holdings, table: Any, who: str, where: Model) -> list[tuple[str, str]]:
    """(name, role) of those who may give roles on this, by name."""
    codenames = [CODENAME + code for code in mine.roles_with(Permit.GRANT)]
    rows = live(table._default_manager.filter(content_object=where, permission__codename__in=codenames))
    name = "user__username" if who == "user" else "group__name"
    if who == "user":
        rows = rows.filter(user__is_active=True)
    pairs = rows.order_by(name).values_list(name, "permission__codename")[: 10 * MOST_NAMED]
    return [(found, codename.removeprefix(CODENAME)) for found, codename in pairs]
