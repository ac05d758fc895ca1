"""What of the roles that were given on an object itself ends when it comes to another data center, and what stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils.translation import gettext

from tenants.holdings import CODENAME, live
from tenants.kinds import kind_of
from tenants.models import DataCenter, Role, User


@dataclass(frozen=True, slots=True)
class Share:
    """A role that a user or a group was given on an object itself. ``row`` is that of guardian's table."""

    row: Any
    subject: User | Group
    role: str
    role_name: str

    @property
    def is_group(self) -> bool:
        """Whether it is a group's."""
        return isinstance(self.subject, Group)

    @property
    def name(self) -> str:
        """By which it is known: a user name, or the group's."""
        return str(self.subject.name if isinstance(self.subject, Group) else self.subject.get_username())

    def as_data(self) -> dict[str, str]:
        """For the log, as of a role that is given or taken."""
        who = {"group": self.subject.name} if isinstance(self.subject, Group) else {"user": str(self.subject.pk)}
        return {"role": self.role, **who}


def ending_shares(target: Model, center: DataCenter, *, owner_uid: UUID | None) -> list[Share]:
    """The shares that end when an object comes to a data center: of all who hold no role there, themselves or in a group.

    What whose it was (``owner_uid``) held as that ends in any case: whoever it will be gets his own.
    """
    kind = kind_of(type(target))
    own = {CODENAME + role for role in kind.of_maker}
    users = _live(kind.user_grants, target).select_related("user", "permission").order_by("user__username")
    groups = _live(kind.group_grants, target).select_related("group", "permission").order_by("group__name")
    people, those = _holders(center, [row.user_id for row in users]), _groups_of(center)
    ends: list[tuple[Any, User | Group]] = [(row, row.group) for row in groups if row.group_id not in those]
    for row in users:
        was_owners = row.user_id == owner_uid and row.permission.codename in own
        if was_owners or row.user_id not in people:
            ends.append((row, row.user))
    names = dict(Role.objects.values_list("codename", "name"))
    return [_share(row, subject, names) for row, subject in ends]


def end_shares(shares: Iterable[Share]) -> None:
    """End them. The caller tells the open sockets of those who reached the object (``access_changed``)."""
    for share in shares:
        share.row.delete()


def _share(row: Any, subject: User | Group, names: dict[str, str]) -> Share:
    role = row.permission.codename.removeprefix(CODENAME)
    return Share(row, subject, role, gettext(names.get(role, role)))


def _live(table: Any, target: Model) -> Any:
    return live(table._default_manager.filter(content_object=target))


def _groups_of(center: DataCenter) -> set[int]:
    """The groups that hold a role on a data center."""
    return set(_live(kind_of(DataCenter).group_grants, center).values_list("group_id", flat=True))


def _holders(center: DataCenter, users: list[UUID]) -> set[UUID]:
    """Those of these users who hold a role on a data center, themselves or in a group."""
    kind = kind_of(DataCenter)
    own = _live(kind.user_grants, center).filter(user__in=users).values_list("user_id", flat=True)
    through = _live(kind.group_grants, center).filter(group__user__in=users).values_list("group__user", flat=True)
    return {*own, *through}
