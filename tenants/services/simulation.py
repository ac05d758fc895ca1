"""A log-in without a password: who a name is in a directory, by which groups he gets which roles, and what he would see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group as AuthGroup
from django.db import transaction
from django.utils.translation import gettext as _

from portal.common.actor import Actor, Door
from portal.common.errors import Invalid, NotFound, Reason
from tenants import policy
from tenants.directory.accounts import Account
from tenants.directory.backend import unavailable
from tenants.directory.connection import Connection
from tenants.directory.errors import DirectoryDown, TooManyGroups
from tenants.directory.following import asking
from tenants.directory.meaning import meant_in
from tenants.directory.membership import put_in_groups
from tenants.directory.names import LoginName
from tenants.directory.people import stored
from tenants.directory.reading import Group, accounts_named, groups_of, ways_to
from tenants.holdings import CODENAME, live
from tenants.kinds import Kind, kinds
from tenants.models import Directory, DirectoryGroup, KeptOut, Role, User
from tenants.permits import Permit
from tenants.services.directory_groups import get_directory
from tenants.services.factors import is_asked_of

MOST_ROLES = 200  # that are told one by one


@dataclass(frozen=True, slots=True)
class InGroup:
    """A group that somebody is in. ``way``: the names of the groups from his own to this one; empty where it was not asked."""

    group: Group
    way: tuple[str, ...]

    @property
    def is_nested(self) -> bool:
        """Whether he is in it through another."""
        return len(self.way) > 1


@dataclass(frozen=True, slots=True)
class WouldHold:
    """A role that he would hold: on what, and by which group ("" himself)."""

    role: str
    role_name: str
    kind: str
    uid: UUID
    name: str
    group: str


@dataclass(frozen=True, slots=True)
class WouldSee:
    """How many objects of a kind he would see."""

    kind: str
    title: str
    count: int


@dataclass(frozen=True, slots=True)
class WouldBe:
    """What he would be here. ``is_disabled``: a super-admin shut him out here; ``owes_code``: a role of his asks for one."""

    is_disabled: bool = False
    owes_code: bool = False
    roles: tuple[WouldHold, ...] = ()
    seen: tuple[WouldSee, ...] = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a log-in of somebody would come to, without his password."""

    name: str
    display_name: str
    email: str
    guid: str
    kept_out: str
    groups: tuple[InGroup, ...]
    here: WouldBe
    directory_enabled: bool

    @property
    def why(self) -> str:
        """Why he would be refused, in words; empty when he would not."""
        if self.kept_out:
            return str(KeptOut(self.kept_out).label)
        if not self.directory_enabled:
            return _("the directory is disabled here")
        return _("a super-admin disabled the account here") if self.here.is_disabled else ""


def simulate_login(actor: Actor, uid: UUID, typed: str) -> Simulation:
    """Who that name is in the directory, whether he would be let in, with which roles, and what he would see.

    No password is needed, and nothing is kept: the rows of a log-in are written, looked at and rolled back.
    """
    row = get_directory(actor, uid)
    login = _meant(row, typed)
    try:
        with asking(row) as connection:
            one = _the_account(connection, login.name, login.whole)
            one, groups = _with_groups(connection, one)
            ways = _ways(connection, one, groups)
    except DirectoryDown as error:
        raise unavailable(row.name, str(error)) from error
    ordered = sorted(groups.values(), key=lambda group: group.name.lower())
    told = tuple(InGroup(group, tuple(each.name for each in ways.get(group.guid, ()))) for group in ordered)
    here = _logged_in(row, replace(one, kept_out=""), groups)
    return Simulation(one.name, one.display_name, one.email, one.guid, one.kept_out, told, here, row.enabled)


def _meant(row: Directory, typed: str) -> LoginName:
    """Whom a log-in of this name would be of, with this directory as the default one. ``Invalid`` when it is none of this one's."""
    login, elsewhere = meant_in(row, typed)
    if elsewhere:
        raise Invalid(elsewhere, reasons=(Reason("username_elsewhere", elsewhere, "username"),))
    return login


def _the_account(connection: Connection, name: str, whole: str) -> Account:
    found = accounts_named(connection, name, whole) if name else []
    if len(found) != 1:
        text = _("More than one account has this name.") if found else _("The directory has no such account.")
        raise NotFound(text, reasons=(Reason("username_unknown", text, "username"),))
    return found[0]


def _with_groups(connection: Connection, account: Account) -> tuple[Account, dict[str, Group]]:
    """An account as a log-in takes it, and its groups; none when they are more than are read, which keeps it out."""
    try:
        return account, groups_of(connection, account)
    except TooManyGroups:
        return replace(account, kept_out=account.kept_out or str(KeptOut.GROUPS)), {}


def _ways(connection: Connection, account: Account, groups: dict[str, Group]) -> dict[str, tuple[Group, ...]]:
    """None where the directory does not answer any more: all else is known by then."""
    try:
        return ways_to(connection, account, groups)
    except DirectoryDown:
        return {}


def _logged_in(row: Directory, account: Account, groups: Collection[str]) -> WouldBe:
    """The log-in itself, rolled back; whom a super-admin disabled is looked at as if he were not."""
    with transaction.atomic():
        found = WouldBe()
        user = stored(row, account)
        if user is not None:
            put_in_groups(user, groups)
            is_disabled = not user.is_active
            if is_disabled:
                User.objects.filter(pk=user.pk).update(is_active=True)
                user.is_active = True
            roles = tuple(_roles_of(user))[:MOST_ROLES]
            found = WouldBe(is_disabled, is_asked_of(user), roles, tuple(_seen_by(user)))
        transaction.set_rollback(True)
    return found


def _roles_of(user: User) -> Iterator[WouldHold]:
    groups = AuthGroup.objects.filter(user=user)
    titles = dict(groups.values_list("pk", "name"))
    titles |= dict(DirectoryGroup.objects.filter(group__in=titles).values_list("group_id", "name"))
    for pk, roles in roles_of_groups(titles).items():
        yield from (replace(role, group=titles[pk]) for role in roles)
    for kind in kinds():
        if kind.user_grants is not None:
            yield from (role for _user, role in _held(kind, kind.user_grants, "user_id", [user.pk]))


def roles_of_groups(groups: Iterable[int]) -> dict[int, list[WouldHold]]:
    """What each of these groups holds now, on objects of any kind; the first ``MOST_ROLES`` of each kind alone."""
    found: dict[int, list[WouldHold]] = {}
    wanted = list(groups)
    for kind in kinds():
        if kind.group_grants is not None and wanted:
            for group, role in _held(kind, kind.group_grants, "group_id", wanted):
                found.setdefault(group, []).append(role)
    return found


def _held(kind: Kind, table: Any, whose: str, keys: list[Any]) -> Iterator[tuple[Any, WouldHold]]:
    names = dict(Role.objects.values_list("codename", "name"))
    rows = live(table._default_manager.filter(**{f"{whose}__in": keys})).select_related("content_object", "permission")
    for row in rows.order_by("content_object", "permission__codename")[:MOST_ROLES]:
        role, target = row.permission.codename.removeprefix(CODENAME), row.content_object
        yield getattr(row, whose), WouldHold(role, names.get(role, role), kind.name, target.pk, str(target), "")


def _seen_by(user: User) -> Iterator[WouldSee]:
    actor = Actor(user=user, door=Door.PAGE)
    permits: Mapping[str, Permit] = Permit.__members__
    for kind in kinds():
        permit = permits.get(f"{kind.name.upper()}_VIEW")
        if permit is not None and kind.title:
            count = policy.visible(actor, permit, kind.model._default_manager.all()).count()
            yield WouldSee(kind.name, str(kind.title), count)
