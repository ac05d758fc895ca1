"""Who is in a directory's groups here: what the directory said last, of those of its groups that hold roles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError

from portal.common.access import access_changed
from portal.common.constraints import at_once
from tenants.models import DirectoryGroup, User


@dataclass(frozen=True, slots=True)
class Moves:
    """Groups that somebody leaves and joins."""

    left: tuple[DirectoryGroup, ...] = ()
    joined: tuple[DirectoryGroup, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.left or self.joined)


class Standing:
    """Who is in which of a directory's groups here, read in two queries for any number of people."""

    def __init__(self, directory_uid: UUID | None, *, of: User | None = None) -> None:
        """Of all of the directory's people, or of one."""
        self._known = list(DirectoryGroup.objects.filter(directory=directory_uid).select_related("group"))
        self._present: defaultdict[UUID, set[int]] = defaultdict(set)
        pairs = User.groups.through._default_manager.filter(group__of_directory__directory=directory_uid)
        for user, group in (pairs.filter(user=of) if of else pairs).values_list("user_id", "group_id"):
            self._present[user].add(group)

    def moves(self, user: User, guids: Collection[str]) -> Moves:
        """What is to change so that the user is in exactly those of these groups that have these GUIDs."""
        present = self._present[user.pk]
        left = tuple(row for row in self._known if row.group_id in present and row.guid not in guids)
        joined = tuple(row for row in self._known if row.group_id not in present and row.guid in guids)
        return Moves(left, joined)


def put_in_groups(user: User, guids: Collection[str]) -> Moves:
    """Make it so. Open pages and consoles of the user ask anew what he may."""
    try:
        return _put_in_groups(user, guids)
    except IntegrityError:  # a group that held nothing any more was forgotten in the same moment
        return _put_in_groups(user, guids)


def _put_in_groups(user: User, guids: Collection[str]) -> Moves:
    moves = Standing(user.directory_id, of=user).moves(user, guids)
    if moves:
        with at_once():
            user.groups.remove(*(row.group_id for row in moves.left))
            user.groups.add(*(row.group_id for row in moves.joined))
            access_changed([user.pk])
    return moves
