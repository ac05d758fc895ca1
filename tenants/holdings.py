"""What an actor holds: roles by scope, read from guardian's tables. ``tenants.policy`` decides with it, nobody else.

Read anew at each question, for a right that ended a moment ago must not count. Only within ``one_look``, where a page or
a part of one is shown and nothing is changed, are the answers kept: a page asks the same a dozen times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, TextField, UUIDField, Value
from django.db.models.functions import Cast, Concat, Now

from portal.common.actor import Actor
from portal.common.compiled import Slot, compiled
from tenants.kinds import Kind, kinds
from tenants.models import (
    DataCenter,
    DataCenterGroupGrant,
    DataCenterUserGrant,
    Role,
    SystemGroupGrant,
    SystemUserGrant,
    User,
)
from tenants.models.data_center import SYSTEM_UID

CODENAME = "role_"  # of guardian's permission for a role
# What stands beside the grants, in the place of a codename (these have their prefix).
ACTIVE, DISABLED, WORTH = BESIDES = ("active", "disabled", "worth")
NOBODY = UUID(int=0)
FEW = 100  # single grants that are read to be asked for by their objects' ids

_LIVE = Q(expires_at=None) | Q(expires_at__gt=Now())

_look: ContextVar[dict[UUID, Holdings] | None] = ContextVar("look", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Within it an actor's roles on the system and on data centers are read once. For showing, never for changing."""
    token = _look.set({})
    try:
        yield
    finally:
        _look.reset(token)


def is_looking() -> bool:
    """Whether this is within ``one_look``."""
    return _look.get() is not None


@dataclass(frozen=True, slots=True)
class Held:
    """The roles an actor holds on one scope, by object: role codename -> how ("" himself, or a group's name)."""

    by_object: dict[UUID, dict[str, str]]

    def roles(self, uid: UUID) -> dict[str, str]:
        """Those on this object."""
        return self.by_object.get(uid, {})


class Holdings:
    """An actor's roles on the system and on data centers, and what roles are worth. Each part is read when first asked."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self.uid = actor.uid
        self._singles: dict[str, dict[UUID, dict[str, str]] | None] = {}

    @cached_property
    def permits(self) -> dict[str, frozenset[str]]:
        """Every role's permits. From the rows: a cache per process would outlive a change elsewhere."""
        told = [name.partition(" ") for _uid, what, name in self._rows if what == WORTH]
        return {code: _as_set(permits) for code, _space, permits in told}

    @cached_property
    def _rows(self) -> list[tuple[UUID, str, str]]:
        """What is held on the system and on data centers, which of these are disabled, whether the user is active, and
        what each role is worth, in one query.
        """
        return _above().rows(user=self.uid or NOBODY)

    @cached_property
    def active(self) -> bool:
        """Whether what is held counts. Asked of the row, not of the object in hand: an open socket holds its user for hours."""
        return _counts(self._actor) and any(what == ACTIVE for _uid, what, _name in self._rows)

    @cached_property
    def _above(self) -> dict[UUID, dict[str, str]]:
        return _by_object(row for row in self._rows if row[1] not in BESIDES) if self.active else {}

    @cached_property
    def system(self) -> dict[str, str]:
        """The roles held on the system."""
        return self._above.get(SYSTEM_UID, {})

    @cached_property
    def centers(self) -> Held:
        """The roles held on data centers, the disabled ones too."""
        return Held({uid: roles for uid, roles in self._above.items() if uid != SYSTEM_UID})

    @property
    def enabled(self) -> set[UUID]:
        """The data centers on which a role is held and which are not disabled."""
        return set(self.centers.by_object) - self.disabled

    @cached_property
    def disabled(self) -> set[UUID]:
        """Every disabled data center, whoever holds what there."""
        return {uid for uid, what, _name in self._rows if what == DISABLED}

    def singles(self, kind: Kind) -> dict[UUID, dict[str, str]] | None:
        """The roles held on single objects of a kind, by object; None when there are more than ``FEW`` grants."""
        if kind.name not in self._singles:
            rows: list[Any] = []
            if kind.user_grants is not None and self.active:
                rows = _few(kind.user_grants, kind.group_grants, FEW + 1).rows(user=self.uid)
            self._singles[kind.name] = _by_object(rows) if len(rows) <= FEW else None
        return self._singles[kind.name]

    def roles_with(self, permit: str) -> frozenset[str]:
        """The roles that have this permit."""
        return frozenset(code for code, permits in self.permits.items() if permit in permits)


def holdings(actor: Actor) -> Holdings:
    """What this actor holds now; within ``one_look`` what was read first."""
    look = _look.get()
    if look is None or actor.uid is None:
        return Holdings(actor)
    return look.setdefault(actor.uid, Holdings(actor))


def live(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Grants that have not expired."""
    return rows.filter(_LIVE)


def held(actor: Actor, users: Any, groups: Any, only: Iterable[UUID] | None = None) -> Held:
    """The roles on objects of one kind, whose tables of grants these are, in one query; ``only`` these objects."""
    if users is None or groups is None or not _counts(actor):
        return Held({})
    wanted = Q() if only is None else Q(content_object__in=list(only))
    own, through = grants_to(actor.uid, users, groups)
    # Asked of the row here too.
    parts = own.filter(wanted, user__is_active=True), through.filter(wanted, group__user__is_active=True)
    return Held(_by_object(_told(parts)))


def grants_to(user: UUID | Slot | None, users: Any, groups: Any) -> tuple[QuerySet[Any], QuerySet[Any]]:
    """The grants in these two tables that have not expired: to the user himself, and to groups of his. Is he active?"""
    return users._default_manager.filter(_LIVE, user=user).order_by(), groups._default_manager.filter(
        _LIVE, group__user=user
    ).order_by()


def any_user() -> Slot:
    """The user in the text of a compiled query, whose uid is given as ``user`` when it is asked."""
    return Slot("user", UUIDField())


@compiled
def _above() -> QuerySet[Any]:
    tables = ((SystemUserGrant, SystemGroupGrant), (DataCenterUserGrant, DataCenterGroupGrant))
    active = User.objects.filter(pk=any_user(), is_active=True)
    asleep = DataCenter.objects.filter(enabled=False)
    worth = Concat("codename", Value(" "), Cast("permits", TextField()), output_field=TextField())
    told = (active, ACTIVE, Value("")), (asleep, DISABLED, Value("")), (Role.objects.all(), WORTH, worth)
    besides = [rows.order_by().values_list("pk", Value(what), name) for rows, what, name in told]
    return _told([rows for pair in tables for rows in grants_to(any_user(), *pair)], *besides)


@compiled
def _few(users: Any, groups: Any, most: int) -> QuerySet[Any]:
    return _told(grants_to(any_user(), users, groups))[:most]


@lru_cache(maxsize=1024)
def _as_set(permits: str) -> frozenset[str]:
    return frozenset(json.loads(permits))


def _counts(actor: Actor) -> bool:
    """Whether grants say anything about this actor."""
    return actor.user is not None and actor.user.is_active


def _told(parts: Iterable[QuerySet[Any]], *besides: QuerySet[Any]) -> QuerySet[Any]:
    """(object, codename, group's name or "") of grants, and other such rows, in one query."""
    named: dict[bool, Any] = {True: F("group__name"), False: Value("")}
    told = [
        rows.values_list("content_object_id", "permission__codename", named[hasattr(rows.model, "group")])
        for rows in parts
    ]
    return told[0].union(*told[1:], *besides, all=True)


def _by_object(rows: Iterable[tuple[UUID, str, str]]) -> dict[UUID, dict[str, str]]:
    found: dict[UUID, dict[str, str]] = {}
    for uid, codename, name in rows:
        roles, role = found.setdefault(uid, {}), codename.removeprefix(CODENAME)
        roles[role] = name and roles.get(role, name)
    return found


def people_of(data_center: DataCenter) -> set[UUID]:
    """Everybody who holds something on a data center or on anything in it, himself or through a group."""
    found: set[UUID] = set()
    for kind in kinds():
        path = "content_object" if kind.model is DataCenter else f"content_object__{kind.data_center_path}"
        if kind.user_grants is None or path == "content_object__":
            continue
        there = {path: data_center}
        found.update(kind.user_grants._default_manager.filter(**there).values_list("user_id", flat=True))
        found.update(kind.group_grants._default_manager.filter(**there).values_list("group__user", flat=True))
    return found - {None}
