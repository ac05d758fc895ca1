"""The hallway of who can do what with an object: for those who may give roles on it, or on a data center that may use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Model, Q, QuerySet

from portal.common.actor import Actor
from tenants import policy
from tenants.holdings import CODENAME, live
from tenants.kinds import Kind, kind_named, kind_of, users_of
from tenants.models import DataCenter, Directory, Role, User
from tenants.models.data_center import SYSTEM_UID
from tenants.permit_words import permits_for
from tenants.permits import ASSIGNED, Permit
from tenants.remedies import Scope
from tenants.services.told import Told, gives, people_told, places_told

PER_PAGE = 50
ORDER = ("group", "user")  # groups first, each by name


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role that means something on the object: on what it is held, since when no more, and through which group.

    ``assigned``: on a data center that may merely use the object. ``group`` is empty for what is held directly.
    """

    codename: str
    name: str
    scope: Scope
    assigned: bool
    expires_at: datetime | None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A user or a group, what it holds, and the permits on the object that come of it. ``directory``: of a group, if any."""

    subject: User | Group
    roles: tuple[HeldRole, ...]
    permits: tuple[Permit, ...]
    directory: str = ""

    @property
    def is_group(self) -> bool:
        """Whether it is a group, whose members all hold it."""
        return isinstance(self.subject, Group)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Behind (or before) whom a page begins."""

    who: str = ""
    name: str = ""
    backward: bool = False

    def text(self) -> str:
        """As it stands in a link."""
        return f"{'before' if self.backward else 'after'}:{self.who}:{self.name}"

    @classmethod
    def of(cls, text: str) -> Cursor | None:
        """Read from a link; None for anything that we did not write."""
        direction, _colon, rest = text.partition(":")
        who, _colon, name = rest.partition(":")
        known = direction in {"after", "before"} and who in ORDER
        return cls(who, name, backward=direction == "before") if known else None


@dataclass(frozen=True, slots=True)
class HoldersPage:
    """Some of them, and the cursors of what is before and behind; empty where there is nothing."""

    holders: list[Holder]
    previous: str = ""
    next: str = ""


def holders(actor: Actor, target: Model, *, cursor: Cursor | None = None, size: int = PER_PAGE) -> HoldersPage:
    """Who holds a role that means something on an object, groups first, then users by user name, a page of them.

    Told are the roles on the object and its data center to whoever may give roles on the object; those on what it is a part of,
    and of a part of the institute's those of other departments' people, to whoever may give roles on the whole; those on a
    data center that may merely use it to whoever may give roles there; those on the whole system, and the members of
    groups, to super-admins. Raises ``NotFound`` or ``NotPermitted`` for everybody else.
    """
    of = _Grants(actor, target, _places(actor, target))
    place = cursor or Cursor(ORDER[0])
    found: list[tuple[str, Any]] = []
    for who in reversed(ORDER) if place.backward else ORDER:
        if len(found) <= size and (who == place.who or (ORDER.index(who) > ORDER.index(place.who)) != place.backward):
            rows = of.subjects(who, place)[: size + 1 - len(found)]
            found += [(who, row) for row in rows]
    goes_on, found = len(found) > size, found[:size]
    if place.backward:
        found.reverse()
    came = cursor is not None
    return HoldersPage(
        of.holders("group", [row for who, row in found if who == "group"])
        + of.holders("user", [row for who, row in found if who == "user"]),
        previous=_cursor(found[:1], backward=True) if came and (goes_on or not place.backward) else "",
        next=_cursor(found[-1:], backward=False) if goes_on or place.backward else "",
    )


def may_see_holders(actor: Actor, target: Model) -> bool:
    """Whether ``holders`` would answer, for links that lead there."""
    return gives(actor, target) or bool(_users_of(actor, target))


def _cursor(rows: list[tuple[str, Any]], *, backward: bool) -> str:
    return Cursor(rows[0][0], _name(*rows[0]), backward=backward).text() if rows else ""


def _name(who: str, row: Any) -> str:
    return str(row.name if who == "group" else row.username)


@dataclass(frozen=True, slots=True)
class _Place:
    """Objects of one kind on which roles may be held, by uid with their names."""

    kind: Kind
    names: dict[UUID, str]
    assigned: bool = False
    told: Told | None = None  # of whom alone; None: of all

    def rows(self, who: str, codenames: list[str]) -> QuerySet[Any]:
        """The live grants of these roles there, to users or to groups."""
        table = self.kind.user_grants if who == "user" else self.kind.group_grants
        rows = live(table._default_manager.filter(content_object__in=self.names, permission__codename__in=codenames))
        if self.told is None:
            return rows
        return rows.filter(user__in=self.told.users) if who == "user" else rows.filter(group__in=self.told.groups)


def _places(actor: Actor, target: Model) -> list[_Place]:
    """Where roles on an object may be held, as far as this actor may know of it. Raises as ``holders``."""
    users = _users_of(actor, target)
    found = [_Place(kind_of(DataCenter), users, assigned=True)] if users else []
    if not gives(actor, target):
        if not found:
            policy.authorize(actor, Permit.GRANT, target)
        return found
    near = [
        _Place(kind_of(type(one)), {one.pk: _called(one)}, told=people_told(actor, one) if one == target else None)
        for one in reversed(places_told(actor, target))
    ]
    system = kind_named("system")
    if system is not None and policy.holds_everywhere(actor, Permit.GRANT) and target.pk != SYSTEM_UID:
        near.insert(0, _Place(system, {SYSTEM_UID: ""}))
    return near + found


def _called(target: Model) -> str:
    return "" if target.pk == SYSTEM_UID else str(target)


def _users_of(actor: Actor, target: Model) -> dict[UUID, str]:
    """The data centers that may merely use an object, of those where the actor may give roles, with their names."""
    if not kind_of(type(target)).assignment_path:
        return {}
    rows = policy.visible(actor, Permit.GRANT, users_of(target))
    return dict(rows.order_by().values_list("pk", "name"))


class _Grants:
    """The grants in some places whose roles have a permit that means something on the object."""

    def __init__(self, actor: Actor, target: Model, places: list[_Place]) -> None:
        self._places = places
        self._tells_members = policy.holds_everywhere(actor, Permit.USER_MANAGE)
        meant = frozenset(permits_for(kind_of(type(target)).name))
        roles = {row.codename: row for row in Role.objects.all()}
        self._names = {code: row.name for code, row in roles.items()}
        # By whether it is held on a data center that may merely use the object.
        self._permits = {
            assigned: {code: bounds.intersection(row.permits) for code, row in roles.items() if bounds & {*row.permits}}
            for assigned, bounds in ((False, meant), (True, meant & ASSIGNED))
        }

    def subjects(self, who: str, place: Cursor) -> QuerySet[Any]:
        """Users who may log in, or groups, that hold something, in the order of the page from a place on."""
        field = "name" if who == "group" else "username"
        rows = self._groups() if who == "group" else self._users()
        if who == place.who and place.name:
            rows = rows.filter(**{f"{field}__{'lt' if place.backward else 'gt'}": place.name})
        return rows.order_by(f"-{field}" if place.backward else field)

    def _users(self) -> QuerySet[User]:
        direct = [Q(pk__in=rows.values("user")) for _place, rows in self._rows("user")]
        members = User.groups.through._default_manager
        if self._tells_members:
            groups = [rows.values("group") for _place, rows in self._rows("group")]
            direct += [Q(pk__in=members.filter(group__in=each).values("user")) for each in groups]
        return User.objects.filter(reduce(or_, direct), is_active=True)

    def _groups(self) -> QuerySet[Group]:
        return Group.objects.filter(
            reduce(or_, (Q(pk__in=rows.values("group")) for _place, rows in self._rows("group")))
        )

    def _rows(self, who: str) -> list[tuple[_Place, QuerySet[Any]]]:
        codes = {assigned: [CODENAME + code for code in roles] for assigned, roles in self._permits.items()}
        return [(place, place.rows(who, codes[place.assigned])) for place in self._places]

    def holders(self, who: str, subjects: list[Any]) -> list[Holder]:
        """These with what they hold, in two queries for each kind of place."""
        if not subjects:
            return []
        found: dict[Any, list[HeldRole]] = {}
        self._read(found, self._rows(who), who, subjects)
        if who == "user" and self._tells_members:
            self._read(found, self._rows("group"), "group__user", subjects)
        directories = self._directories(subjects) if who == "group" else {}
        return [
            Holder(each, tuple(held := found.get(each.pk, [])), self._worth(held), directories.get(each.pk, ""))
            for each in subjects
        ]

    def _read(self, found: dict[Any, list[HeldRole]], rows: Any, who: str, subjects: list[Any]) -> None:
        through = ["group__name"] if who == "group__user" else []
        for place, grants in rows:
            fields = [who, "content_object_id", "permission__codename", "expires_at", *through]
            of_these = grants.filter(**{f"{who}__in": subjects}).order_by("permission__codename")
            for pk, uid, codename, expires, *group in of_these.values_list(*fields):
                code = codename.removeprefix(CODENAME)
                scope = Scope(place.kind.name, uid, place.names[uid])
                held = HeldRole(code, self._names[code], scope, place.assigned, expires, group[0] if group else "")
                found.setdefault(pk, []).append(held)

    def _worth(self, roles: Iterable[HeldRole]) -> tuple[Permit, ...]:
        held: set[Permit] = set().union(*(self._permits[role.assigned][role.codename] for role in roles))
        return tuple(permit for permit in Permit if permit in held)

    def _directories(self, groups: list[Group]) -> dict[Any, str]:
        rows = Directory.objects.filter(groups__group__in=groups).order_by()
        return dict(rows.values_list("groups__group", "name"))
