"""What single shares reach: roles on an object itself, or on what it is a part of. ``tenants.policy`` decides with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from portal.common.actor import Actor
from portal.common.compiled import compiled
from tenants.bounds import Way
from tenants.holdings import CODENAME, Holdings, any_user, grants_to, held
from tenants.kinds import Kind, whole_of
from tenants.models import DataCenter, System


def by_share(mine: Holdings, kind: Kind, roles: frozenset[str], *, alone: bool) -> list[Q]:
    """Single shares, of what it is a part of too. ``alone``: there is nothing besides them."""
    if kind.model in {DataCenter, System} or not roles or not mine.active:
        return []
    whole, shares = whole_of(kind), _shared(mine, kind, roles, "pk", alone=alone)
    if whole is not None:
        shares += _shared(mine, whole, roles, kind.whole, alone=alone)
    if not shares:
        return []
    share = reduce(or_, shares)
    if kind.data_center_path and mine.disabled:
        # A disabled data center's machines are nobody's for the time being.
        share &= ~Q(**{f"{kind.data_center_path}__in": sorted(mine.disabled)})
    return [share]


def _shared(mine: Holdings, kind: Kind, roles: frozenset[str], path: str, *, alone: bool) -> list[Q]:
    """That the object at the end of the path is one of this kind on which the actor holds one of the roles.

    By their ids where they are few and all there is to see, from which the database then starts instead of looking through
    everybody's. Else by subqueries: a thousand grants are not a thousand parameters, and of many a page is soon found.
    """
    few = mine.singles(kind) if alone else None
    if few is not None:
        ids = sorted(uid for uid, held_there in few.items() if roles & set(held_there))
        return [Q(**{f"{path}__in": ids})] if ids else []
    codenames = tuple(sorted(CODENAME + role for role in roles))
    asked = [_shared_by(which, kind.user_grants, kind.group_grants, codenames) for which in (0, 1)]
    return [Q(**{f"{path}__in": each.subquery(user=mine.uid)}) for each in asked]


@compiled
def _shared_by(which: int, users: Any, groups: Any, codenames: tuple[str, ...]) -> QuerySet[Any]:
    """The objects on which one of these roles was given to somebody himself, or to one of his groups."""
    rows = grants_to(any_user(), users, groups)[which]
    return rows.filter(permission__codename__in=codenames).values("content_object")


@dataclass(frozen=True, slots=True)
class Share:
    """The roles held on single objects of a kind. ``on``: for each row the object that counts, itself or what it is a part of."""

    kind: str
    on: dict[Any, UUID]
    roles: dict[UUID, dict[str, str]]

    def ways(self, pk: Any) -> list[Way]:
        """Those to this row."""
        uid = self.on[pk]
        return [Way(role, how, self.kind, uid) for role, how in self.roles.get(uid, {}).items()]


def shares_of(actor: Actor, kind: Kind, rows: Sequence[Model]) -> list[Share]:
    """What the actor holds on each of these rows, and on what they are parts of; one query each."""
    if kind.model in {DataCenter, System}:
        return []
    found, whole = [(kind, {row.pk: row.pk for row in rows})], whole_of(kind)
    if whole is not None:
        found.append((whole, {row.pk: getattr(row, f"{kind.whole}_id") for row in rows}))
    return [
        Share(each.name, on, held(actor, each.user_grants, each.group_grants, only=set(on.values())).by_object)
        for each, on in found
    ]
