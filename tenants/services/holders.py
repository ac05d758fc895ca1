"""The hallway of who holds what on an object: for those who may give roles on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Model, Q, QuerySet

from portal.common.actor import Actor
from tenants import policy
from tenants.holdings import CODENAME, live
from tenants.kinds import Kind, kind_of
from tenants.models import DataCenter, DataCenterGroupGrant, DataCenterUserGrant, Role, User
from tenants.permits import Permit

PER_PAGE = 50
MOST_GROUPS = 50


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role somebody holds that means something on the object: on the object itself, or through its data center."""

    codename: str
    name: str
    through_data_center: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holder:
    """A user or a group, what it holds, and the permits on this kind of object that come of it."""

    subject: User | Group
    roles: tuple[HeldRole, ...]
    permits: tuple[Permit, ...]

    @property
    def is_group(self) -> bool:
        """Whether it is a group, whose members all hold it."""
        return isinstance(self.subject, Group)


def holders(actor: Actor, target: Model, *, after: str = "") -> tuple[list[Holder], str]:
    """Who holds a role that means something on an object, groups first, then users by name, a page of them.

    Also the user name to go on from, empty at the end. Roles on the whole system are not told: who runs the institute is
    none of a machine's matter. Raises ``NotFound`` or ``NotPermitted`` for whoever may not give roles on the object.
    """
    policy.authorize(actor, Permit.GRANT, target)
    of = _Grants(target)
    users = list(of.users().filter(username__gt=after).order_by("username")[: PER_PAGE + 1])
    groups = [] if after else list(of.groups().order_by("name")[:MOST_GROUPS])
    shown = users[:PER_PAGE]
    more = shown[-1].username if len(users) > PER_PAGE else ""
    return [*of.holders("group", groups), *of.holders("user", shown)], more


class _Grants:
    """The grants on an object and on its data center whose roles have a permit for objects of its kind."""

    def __init__(self, target: Model) -> None:
        self._kind: Kind = kind_of(type(target))
        self._target = target
        self._center: DataCenter = reduce(getattr, self._kind.data_center_path.split("__"), target)  # type: ignore[assignment]
        prefix = f"{self._kind.name.upper()}_"
        every = {row.codename: row for row in Role.objects.all()}
        # Making new ones is a matter of the data center and gives nothing on those that are there.
        on_it = {permit for permit in Permit if permit.startswith(prefix) and not permit.endswith("_CREATE")}
        permits = {code: on_it.intersection(row.permits) for code, row in every.items()}
        self._roles = {code: (every[code].name, found) for code, found in permits.items() if found}

    def users(self) -> QuerySet[User]:
        """The users who hold something themselves and may log in."""
        own, above = self._rows("user")
        named = Q(pk__in=own.values("user")) | Q(pk__in=above.values("user"))
        return User.objects.filter(named, is_active=True)

    def groups(self) -> QuerySet[Group]:
        """The groups that hold something."""
        own, above = self._rows("group")
        return Group.objects.filter(Q(pk__in=own.values("group")) | Q(pk__in=above.values("group")))

    def holders(self, who: str, subjects: list[Any]) -> list[Holder]:
        """These with what they hold, in two queries."""
        found: dict[Any, list[HeldRole]] = {}
        for rows, through in zip(self._rows(who), (False, True), strict=True):
            fields = rows.filter(**{f"{who}__in": subjects}).order_by("permission__codename")
            for pk, codename, expires in fields.values_list(f"{who}_id", "permission__codename", "expires_at"):
                code = codename.removeprefix(CODENAME)
                held = HeldRole(code, self._roles[code][0], through, expires)
                found.setdefault(pk, []).append(held)
        return [Holder(each, tuple(found.get(each.pk, ())), self._permits(found.get(each.pk, ()))) for each in subjects]

    def _permits(self, roles: Iterable[HeldRole]) -> tuple[Permit, ...]:
        held: set[Permit] = set().union(*(self._roles[role.codename][1] for role in roles))
        return tuple(permit for permit in Permit if permit in held)

    def _rows(self, who: str) -> tuple[QuerySet[Any], QuerySet[Any]]:
        codenames = [CODENAME + code for code in self._roles]
        own = self._kind.user_grants if who == "user" else self._kind.group_grants
        above = DataCenterUserGrant if who == "user" else DataCenterGroupGrant
        wanted = {"permission__codename__in": codenames}
        return (
            live(own._default_manager.filter(content_object=self._target, **wanted)),
            live(above._default_manager.filter(content_object=self._center, **wanted)),
        )
