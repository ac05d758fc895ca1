"""Who is in a directory's groups here: what the directory said last, of those of its groups that hold roles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction

from portal.common.access import access_changed
from tenants.models import DirectoryGroup, User


@dataclass(frozen=True, slots=True)
class Moves:
    """Groups that somebody leaves and joins."""

    left: tuple[DirectoryGroup, ...] = ()
    joined: tuple[DirectoryGroup, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.left or self.joined)


def moves_of(user: User, guids: Collection[str]) -> Moves:
    """What is to change so that the user is in exactly those of his directory's groups that have these GUIDs."""
    known = list(DirectoryGroup.objects.filter(directory=user.directory_id).select_related("group"))
    present = set(user.groups.values_list("pk", flat=True))
    left = tuple(row for row in known if row.group_id in present and row.guid not in guids)
    joined = tuple(row for row in known if row.group_id not in present and row.guid in guids)
    return Moves(left, joined)


def put_in_groups(user: User, guids: Collection[str]) -> Moves:
    """Make it so. Open pages and consoles of the user ask anew what he may."""
    with transaction.atomic():
        moves = moves_of(user, guids)
        if moves:
            user.groups.remove(*(row.group_id for row in moves.left))
            user.groups.add(*(row.group_id for row in moves.joined))
            access_changed([user.pk])
    return moves
