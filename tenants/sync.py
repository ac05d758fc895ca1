"""Following directories: who left a group or may no longer log in loses here what he had by it, within a minute.

Looked at are the people who are signed in; all others are looked at when they log in. A directory that cannot be read
changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.common.access import access_changed
from portal.common.actor import system_actor
from portal.common.sessions import users_logged_in
from portal.common.versions import version_of
from portal.events.codes import Outcome, Severity
from portal.events.models import Event
from portal.events.record import Subject, record
from tenants.directory.accounts import Account
from tenants.directory.errors import DirectoryDown
from tenants.directory.following import Found, read_people
from tenants.directory.membership import Moves, Standing, put_in_groups
from tenants.directory.people import follow, keep_out, name_in_directory, still_enabled, username_of
from tenants.models import ApiToken, Directory, DirectoryGroup, KeptOut, User

log = logging.getLogger(__name__)

LEAST_TO_BRAKE = 5  # fewer people's loss is never held: of two who are signed in one may well be dismissed
MOST_LOOKED_AT = 20_000  # losses that a form gives back one by one: more than a request holds of them is one for all
UNDONE = "changes_failed"  # in the place of a directory's own error
LATE = timedelta(minutes=3)  # for so long rights may outlive what the directory says without anybody being told
APART = timedelta(seconds=20)  # two processes at once would do the same twice


@dataclass(frozen=True, slots=True)
class Change:
    """What a sync does to one person: ``kept_out`` from now on for this reason (empty: let in), and ``moves`` of groups."""

    user: User
    account: Account | None
    kept_out: str
    moves: Moves
    groups: frozenset[str] | None  # None: he stays in those that he is in

    @property
    def why(self) -> str:
        """Why somebody is kept out, in words."""
        return str(KeptOut(self.kept_out).label) if self.kept_out else ""

    @property
    def takes(self) -> bool:
        """Whether something is lost by it."""
        return bool(self.moves.left) or (bool(self.kept_out) and self.user.is_active)

    @property
    def locks(self) -> bool:
        """Whether it is a lock, which anybody's wrong passwords bring about: it is never held, and holds nothing up."""
        return self.kept_out == KeptOut.LOCKED and self.user.is_active

    @property
    def weighs(self) -> bool:
        """Whether something is lost by it that the brake looks at."""
        return bool(self.moves.left) or (self.takes and not self.locks)

    @property
    def losses(self) -> frozenset[str]:
        """Each thing that is lost by it and that the brake looks at, as a short text of its own."""
        lost = [("left", str(group.pk)) for group in self.moves.left]
        if self.kept_out and self.user.is_active and not self.locks:
            lost.append(("kept_out", self.kept_out))
        return frozenset(version_of(self.user.pk, *one)[:10] for one in lost)

    @property
    def severity(self) -> Severity:
        """An alert where the portal, not the directory, takes something: somebody must mend that there."""
        if not self.takes:
            return Severity.NORMAL
        return Severity.ALERT if self.kept_out == KeptOut.GROUPS else Severity.WARNING

    @property
    def gives(self) -> bool:
        """Whether something is won by it."""
        return bool(self.moves.joined) or (not self.kept_out and bool(self.user.kept_out))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would do: how many people were looked at, and what changes for whom."""

    looked_at: int
    changes: tuple[Change, ...]
    is_held: bool

    @property
    def losing(self) -> int:
        """How many people lose something that the brake looks at."""
        return sum(change.weighs for change in self.changes)

    @property
    def losses(self) -> frozenset[str]:
        """All that anybody loses."""
        return frozenset().union(*(change.losses for change in self.changes))

    @property
    def look(self) -> str:
        """What stands for what this takes, to be given back by whoever looked at it."""
        losses = sorted(self.losses)
        return ".".join(losses) if len(losses) <= MOST_LOOKED_AT else version_of(losses)

    def is_within(self, look: str) -> bool:
        """Whether nothing is taken by this but what was looked at then."""
        return look == self.look or self.losses <= set(look.split("."))

    def to_do(self) -> Iterator[Change]:
        """What is not held; of somebody held who is locked, the lock."""
        for change in self.changes:
            if not (self.is_held and change.weighs):
                yield change
            elif change.locks:
                yield replace(change, moves=Moves(), groups=None)


def follow_directory(uid: UUID, *, passes_brake: bool = False) -> Plan | None:
    """One sync of one directory; None when it could not be read, is disabled, or another process just did it.

    A held sync changes nothing for those who would lose something. ``passes_brake``: a super-admin has looked at it.
    """
    plan = read_directory(uid, passes_brake=passes_brake)
    if plan is not None:
        carry_out(uid, plan)
    return plan


def read_directory(uid: UUID, *, passes_brake: bool = False) -> Plan | None:
    """The half of a sync that asks the directory, for as long as that takes. None as ``follow_directory`` says."""
    row = _begun(uid, at_once=passes_brake)
    if row is None:
        return None
    try:
        return plan_of(row, passes_brake=passes_brake)
    except DirectoryDown as error:
        log.warning("directory %s cannot be followed: %s %s", row.name, error.step, error.code)
        _tell_failure(row, error.code)
        return None


def carry_out(uid: UUID, plan: Plan) -> None:
    """The half of a sync that writes rows here."""
    row = Directory.objects.filter(pk=uid).first()
    if row is None:
        return  # removed meanwhile: nobody came from it
    undone = [change for change in plan.to_do() if not _done(row, change)]
    _tell(row, plan)
    if undone:
        _tell_failure(row, UNDONE)
    else:
        Directory.objects.filter(pk=uid).update(synced_at=timezone.now(), sync_error="")


def plan_of(row: Directory, *, passes_brake: bool = False) -> Plan:
    """What a sync would do now; nothing is changed. Raises ``DirectoryDown``."""
    people = list(signed_in(row))
    has_groups = DirectoryGroup.objects.filter(directory=row).exists()
    names = {user.guid: name_in_directory(user.username) for user in people}
    found = read_people(row, names, with_groups=has_groups) if people else {}
    standing = Standing(row.pk)
    changes = tuple(change for user in people if (change := _change(row, user, found, standing)) is not None)
    losing = sum(change.weighs for change in changes)
    too_many = losing >= LEAST_TO_BRAKE and losing * 100 > row.brake_percent * len(people)
    return Plan(len(people), changes, is_held=too_many and not passes_brake)


def signed_in(row: Directory) -> QuerySet[User]:
    """The directory's people who have a session or a token that lives."""
    tokens = ApiToken.objects.filter(user__directory=row, expires_at__gt=timezone.now()).values("user")
    wanted = Q(pk__in=tokens) | Q(pk__in=users_logged_in())
    return User.objects.filter(wanted, directory=row).order_by("username")


def _begun(uid: UUID, *, at_once: bool) -> Directory | None:
    """The row, marked as being followed; None when somebody else has just begun."""
    now = timezone.now()
    free = Directory.objects.filter(pk=uid, enabled=True)
    if not at_once:
        free = free.filter(Q(sync_begun_at=None) | Q(sync_begun_at__lt=now - APART))
    return Directory.objects.get(pk=uid) if free.update(sync_begun_at=now) else None


def _change(row: Directory, user: User, found: Mapping[str, Found], standing: Standing) -> Change | None:
    """What changes for somebody; None when nothing does."""
    there = found.get(user.guid)
    account = there.account if there else None
    groups = there.groups if there else frozenset()
    kept_out = account.kept_out if account else KeptOut.GONE
    moves = Moves() if groups is None else standing.moves(user, groups)
    change = Change(user, account, str(kept_out), moves, groups)
    names = (user.username, user.display_name, user.email)
    is_renamed = account is not None and names != (
        username_of(row.name, account.name), account.display_name, account.email
    )  # fmt: skip
    is_of_another_reason = bool(user.kept_out) and user.kept_out != kept_out
    return change if change.takes or change.gives or is_renamed or is_of_another_reason else None


def _done(row: Directory, change: Change) -> bool:
    """Do it. One person's that fails keeps no other's from being done; it is tried again with the next sync."""
    try:
        _do(row, change)
    except Exception:
        log.exception("directory %s: what it says of %s could not be done", row.name, change.user.pk)
        return False
    return True


def _do(asked: Directory, change: Change) -> None:
    with transaction.atomic():
        row = still_enabled(asked)
        if row is None:
            return  # its people are out, and stay out
        user = User.objects.select_for_update(no_key=True).get(pk=change.user.pk)
        before = copy(user)
        is_changed = follow(user, change.account, row) if change.account else _gone(user)
        moves = put_in_groups(user, change.groups) if change.groups is not None else Moves()
        if is_changed or moves:
            access_changed([user.pk])
            _tell_done(row, user, replace(change, user=before, moves=moves))


def _gone(user: User) -> bool:
    """Keep out whom the directory knows no more; whether anything changed."""
    before = user.kept_out
    keep_out(user, KeptOut.GONE)
    user.save(update_fields=["kept_out", "is_active"])
    return user.kept_out != before


def _tell_done(row: Directory, user: User, done: Change) -> None:
    """What was done, which is less than was planned where another sync or a log-in did the rest in the same moment."""
    record(
        system_actor(),
        "DIRECTORY_FOLLOW",
        outcome=Outcome.NOTED,
        subject=Subject("user", user.pk, user.username),
        severity=done.severity,
        data={
            "directory": row.name,
            "kept_out": done.kept_out,
            "left": [group.name for group in done.moves.left],
            "joined": [group.name for group in done.moves.joined],
        },
    )


def _tell(row: Directory, plan: Plan) -> None:
    held = plan.losing if plan.is_held else 0
    Directory.objects.filter(pk=row.pk).update(held_people=held)
    if held and not row.held_people:
        record(
            system_actor(),
            "DIRECTORY_FOLLOW_HELD",
            outcome=Outcome.NOTED,
            subject=Subject("directory", row.pk, row.name),
            severity=Severity.ALERT,
            data={"losing": held, "looked_at": plan.looked_at, "brake_percent": row.brake_percent},
        )


def _tell_failure(row: Directory, code: str) -> None:
    """Keep why; and tell, once until it is followed again, that it has not been for long."""
    Directory.objects.filter(pk=row.pk).update(sync_error=code)
    since = row.synced_at or row.created_at
    told = Event.objects.filter(code="DIRECTORY_FOLLOW_LATE", object_uid=row.pk, at__gt=since)
    if timezone.now() - since > LATE and not told.exists():
        record(
            system_actor(),
            "DIRECTORY_FOLLOW_LATE",
            outcome=Outcome.NOTED,
            subject=Subject("directory", row.pk, row.name),
            severity=Severity.ALERT,
            data={"why": code, "since": since.isoformat()},
        )
