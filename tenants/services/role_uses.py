"""Who holds a role, on what: for super-admins, and for whatever changes the role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.common.errors import Reason
from tenants.holdings import CODENAME, live
from tenants.kinds import Kind, kinds
from tenants.models import Role

MOST_NAMED = 5


@dataclass(slots=True)
class Use:
    """Of one kind of object: on which a role is held, and by how many users and groups."""

    kind: Kind
    names: list[str] = field(default_factory=list)
    holders: dict[str, int] = field(default_factory=lambda: {"user": 0, "group": 0})

    @property
    def told(self) -> str:
        """In a sentence."""
        shown = ", ".join([*self.names[:MOST_NAMED], *(["…"] if len(self.names) > MOST_NAMED else [])])
        users, groups = self.holders["user"], self.holders["group"]
        return _("%(kind)s (%(names)s): held by %(users)s and %(groups)s.") % {
            "kind": self.kind.title,
            "names": shown,
            "users": ngettext("%(count)d user", "%(count)d users", users) % {"count": users},
            "groups": ngettext("%(count)d group", "%(count)d groups", groups) % {"count": groups},
        }


def use_counts() -> dict[str, int]:
    """How often each role is held now, by its codename."""
    found: dict[str, int] = {}
    for _kind, _who, rows in tables():
        counted = live(rows).order_by().values_list("permission__codename").annotate(Count("pk"))
        for codename, count in counted:
            role = codename.removeprefix(CODENAME)
            found[role] = found.get(role, 0) + count
    return found


def uses(role: Role) -> list[Use]:
    """On what a role is held now, by kind of object."""
    found: dict[str, Use] = {}
    for kind, who, rows in tables(role):
        held = live(rows).order_by()
        names = set(held.values_list("content_object__name", flat=True).distinct())
        if names:
            use = found.setdefault(kind.name, Use(kind))
            use.names = sorted({*use.names, *names})
            use.holders[who] = held.values(who).distinct().count()
    return list(found.values())


def use_reasons(role: Role) -> list[Reason]:
    """Why a role cannot go: for each kind of object how many hold it on which."""
    return [
        Reason(
            "role_in_use",
            _("%(use)s Take it back there first.") % {"use": use.told},
            data={"kind": use.kind.name, "objects": len(use.names), **use.holders},
        )
        for use in uses(role)
    ]


def people_of_role(role: Role) -> set[UUID]:
    """Everybody who holds it anywhere, himself or through a group."""
    found: set[UUID] = set()
    for _kind, who, rows in tables(role):
        found.update(rows.values_list("user_id" if who == "user" else "group__user", flat=True))
    return {uid for uid in found if uid is not None}


def tables(role: Role | None = None) -> Iterator[tuple[Kind, str, QuerySet[Any]]]:
    """Each table of grants, with its kind and whether users or groups are in it; of one role alone if it is named."""
    for kind in kinds():
        for who, table in (("user", kind.user_grants), ("group", kind.group_grants)):
            if table is not None:
                rows = table._default_manager.all()
                yield kind, who, rows.filter(permission__codename=CODENAME + role.codename) if role else rows
