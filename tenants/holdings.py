"""What an actor holds: roles by scope, read from guardian's tables. ``tenants.policy`` decides with it, nobody else.

Read anew at each question, for a right that ended a moment ago must not count. Only within ``one_look``, where a page or
a part of one is shown and nothing is changed, are the answers kept: a page asks the same a dozen times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Now

from portal.common.actor import Actor
from tenants.kinds import Kind, kinds
from tenants.models import (
    DataCenter,
    DataCenterGroupGrant,
    DataCenterUserGrant,
    Role,
    SystemGroupGrant,
    SystemUserGrant,
)
from tenants.models.data_center import SYSTEM_UID

CODENAME = "role_"  # of guardian's permission for a role
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
        self._singles: dict[str, dict[UUID, dict[str, str]] | None] = {}

    @cached_property
    def permits(self) -> dict[str, frozenset[str]]:
        """Every role's permits. From the rows: a cache per process would outlive a change elsewhere."""
        return {code: frozenset(permits) for code, permits in Role.objects.values_list("codename", "permits")}

    @cached_property
    def _above(self) -> dict[UUID, dict[str, str]]:
        """Those on the system and on data centers, in one query."""
        tables = ((SystemUserGrant, SystemGroupGrant), (DataCenterUserGrant, DataCenterGroupGrant))
        return _by_object(_all([rows for pair in tables for rows in _grants(self._actor, *pair)]))

    @cached_property
    def system(self) -> dict[str, str]:
        """The roles held on the system."""
        return self._above.get(SYSTEM_UID, {})

    @cached_property
    def centers(self) -> Held:
        """The roles held on data centers, the disabled ones too."""
        return Held({uid: roles for uid, roles in self._above.items() if uid != SYSTEM_UID})

    @cached_property
    def _known(self) -> dict[UUID, bool]:
        wanted = Q(pk__in=list(self.centers.by_object)) | Q(enabled=False)
        return dict(DataCenter.objects.filter(wanted).order_by().values_list("pk", "enabled"))

    @property
    def enabled(self) -> set[UUID]:
        """The data centers on which a role is held and which are not disabled."""
        return {uid for uid in self.centers.by_object if self._known.get(uid)}

    @property
    def disabled(self) -> set[UUID]:
        """Every disabled data center, whoever holds what there."""
        return {uid for uid, enabled in self._known.items() if not enabled}

    def singles(self, kind: Kind) -> dict[UUID, dict[str, str]] | None:
        """The roles held on single objects of a kind, by object; None when there are more than ``FEW`` grants."""
        if kind.name not in self._singles:
            rows = list(_all(_grants(self._actor, kind.user_grants, kind.group_grants))[: FEW + 1])
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
    return Held(_by_object(_all(_grants(actor, users, groups, only))))


def _grants(actor: Actor, users: Any, groups: Any, only: Iterable[UUID] | None = None) -> list[Any]:
    """(object, codename, group) of what an actor holds in a group or himself."""
    if users is None or groups is None or actor.user is None or not actor.user.is_active:
        return []
    # Asked of the row, not of the object in hand: an open socket holds its user for hours.
    wanted = _LIVE if only is None else _LIVE & Q(content_object__in=list(only))
    own = users._default_manager.filter(wanted, user=actor.user, user__is_active=True)
    through = groups._default_manager.filter(wanted, group__user=actor.user, group__user__is_active=True)
    of_groups = through.order_by().values_list("content_object_id", "permission__codename", "group__name")
    of_himself = own.order_by().values_list("content_object_id", "permission__codename", Value(""))
    return [of_groups, of_himself]


def _all(parts: list[Any]) -> Any:
    """The rows of all parts, in one query."""
    return parts[0].union(*parts[1:], all=True) if parts else []


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
