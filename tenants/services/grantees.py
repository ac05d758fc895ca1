"""The hallway of the grants on one object: to whom which role was given there, until when and by whom; giving and taking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Invalid, NotFound, Reason, Unavailable
from portal.events.record import trying
from tenants import policy
from tenants.directory.dns import SMALL
from tenants.directory.people import alike
from tenants.holdings import CODENAME
from tenants.kinds import kind_of, owner_of
from tenants.models import Directory, DirectoryGroup, Role, User
from tenants.permits import Permit
from tenants.selectors import roles_for
from tenants.services.directory_groups import authorize_directories, forget_unused, held, may_look_through
from tenants.services.grants import grant_role, revoke_role
from tenants.services.group_search import MOST_TOLD, Asked, Looked, group_meant, groups_looked_for_everywhere, stored
from tenants.services.person_search import AskedPerson, person_meant, stored_person
from tenants.services.told import gives, groups_in, people_told
from tenants.subjects import seen

PER_PAGE = 50
MOST_GROUPS = 200


@dataclass(frozen=True, slots=True)
class Given:
    """A role that was given on the object. ``ended``: its end is over, and it is worth nothing since."""

    role: str
    role_name: str
    expires_at: datetime | None
    ended: bool
    grantor: str
    given_at: datetime


@dataclass(frozen=True, slots=True)
class Grantee:
    """A user or a group, and what it was given on the object itself."""

    subject: User | Group
    name: str
    roles: tuple[Given, ...]

    @property
    def kind(self) -> str:
        """``user``, or ``group`` for all members of it."""
        return "user" if isinstance(self.subject, User) else "group"


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A role for a user, by his user name, or for a group, by its name; one of the two."""

    role: str
    user: str = ""
    group: str = ""
    expires_at: datetime | None = None


def roles_to_give(actor: Actor, target: Model) -> tuple[list[Role], list[Role]]:
    """The roles that mean something on the object: those that this actor can give, and those with more than he holds."""
    mine = {permit.value for permit in policy.permits_on(actor, [target])[target.pk]}
    fitting = roles_for(kind_of(type(target)).name)
    return [row for row in fitting if mine.issuperset(row.permits)], [
        row for row in fitting if not mine.issuperset(row.permits)
    ]


def why_no_group(actor: Actor, target: Model) -> str:
    """Why there is no group that this actor could name on the object, and what would help; empty when there may be one."""
    if not Group.objects.exists() and not Directory.objects.filter(enabled=True).exists():
        return _("There is no group yet. Groups come with a directory, which a super-admin connects.")
    near = None if _rules_around(actor, target) else _near(actor, target)
    if near is None or near.groups.exists():
        return ""
    return _("There is no group in %(place)s yet. Its admins can add groups.") % {"place": near.place}


def users_of(actor: Actor, target: Model) -> QuerySet[User]:
    """The users to whom something was given on the object itself, of whom this actor is told."""
    rows = kind_of(type(target)).user_grants._default_manager.filter(content_object=target)
    told = people_told(actor, target)
    return User.objects.filter(pk__in=(rows if told is None else rows.filter(user__in=told.users)).values("user"))


def groups_of(actor: Actor, target: Model) -> QuerySet[Group]:
    """The groups to which something was given on the object itself, by name, of which this actor is told."""
    rows = kind_of(type(target)).group_grants._default_manager.filter(content_object=target)
    told = people_told(actor, target)
    rows = rows if told is None else rows.filter(group__in=told.groups)
    return Group.objects.filter(pk__in=rows.values("group")).order_by("name")


def first_groups(actor: Actor, target: Model) -> tuple[list[Group], int]:
    """As many of them as are listed at once, and how many there are besides."""
    rows = groups_of(actor, target)
    shown = list(rows[:MOST_GROUPS])
    return shown, rows.count() - len(shown) if len(shown) == MOST_GROUPS else 0


def grantees(target: Model, subjects: Sequence[User | Group]) -> list[Grantee]:
    """These users, or these groups, with what they were given, in a number of queries that does not grow with them."""
    if not subjects:
        return []
    kind, now = kind_of(type(target)), timezone.now()
    is_user = isinstance(subjects[0], User)
    table, who = (kind.user_grants, "user") if is_user else (kind.group_grants, "group")
    names = dict(Role.objects.values_list("codename", "name"))
    found: dict[Any, list[Given]] = {}
    rows = table._default_manager.filter(content_object=target, **{f"{who}__in": subjects})
    for row in rows.select_related("permission").order_by("permission__codename"):
        code = row.permission.codename.removeprefix(CODENAME)
        over = row.expires_at is not None and row.expires_at <= now
        given = Given(code, names.get(code, code), row.expires_at, over, row.grantor_name, row.created_at)
        found.setdefault(getattr(row, f"{who}_id"), []).append(given)
    titles: dict[Any, str] = {} if is_user else _titles(subjects)
    return [Grantee(one, titles.get(one.pk, str(one)), tuple(found.get(one.pk, ()))) for one in subjects]


def page_of(actor: Actor, target: Model, *, after: str = "") -> tuple[list[Grantee], str, int]:
    """Groups first, then a page of users by user name; the user name to go on from, empty at the end; and how many groups
    there are besides.
    """
    users = list(users_of(actor, target).filter(username__gt=after).order_by("username")[: PER_PAGE + 1])
    more = users[PER_PAGE - 1].username if len(users) > PER_PAGE else ""
    groups, unnamed = ([], 0) if after else first_groups(actor, target)
    return [*grantees(target, groups), *grantees(target, users[:PER_PAGE])], more, unnamed


def give(actor: Actor, target: Model, request: GrantRequest) -> Grantee:
    """Give a role on an object to somebody. Raises ``Invalid`` naming the field, and as ``grants.grant_role`` does.

    Whoever rules the object's data center may name any account, and anybody and any group of a directory that is written out in full
    (``ask_directory``). Others (the owner of one machine) name those of the data center: whether there are more is not theirs to find out.
    """
    with trying(actor, "GRANT", seen(actor, kind_of(type(target)).name, target.pk)):
        return give_asked(actor, target, request, ask_directory(actor, target, request))


def look_for_groups(actor: Actor, text: str) -> Looked:
    """The groups of all directories whose names hold a text. For super-admins: others name a group that they know."""
    authorize_directories(actor)
    return groups_looked_for_everywhere(text)


def ask_directory(actor: Actor, target: Model, request: GrantRequest) -> Asked | AskedPerson | None:
    """The first half of ``give``, which asks a directory for the group or person that is meant; None where none is to be asked.

    Call it outside of any transaction. ``Unavailable`` names a directory that cannot be asked, unless who is meant is known here.
    """
    policy.authorize(actor, Permit.GRANT, target)
    if bool(request.user) == bool(request.group) or not _rules_around(actor, target):
        return None
    return person_meant(request.user, field="user") if request.user else _ask_for_group(actor, request.group)


def _ask_for_group(actor: Actor, name: str) -> Asked | None:
    if not name.strip() or Group.objects.filter(name=name.strip()).exists():
        return None  # by the name that it has here, which no two have
    try:
        return group_meant(name, tells_places=may_look_through(actor))
    except Unavailable:
        if _groups_called(name, None):
            return None
        raise


def give_asked(actor: Actor, target: Model, request: GrantRequest, asked: Asked | AskedPerson | None) -> Grantee:
    """The other half, which writes rows here."""
    with trying(actor, "GRANT", seen(actor, kind_of(type(target)).name, target.pk)), transaction.atomic():
        policy.authorize(actor, Permit.GRANT, target)
        if bool(request.user) == bool(request.group):
            raise _invalid("user", _("Name a user or a group, one of the two."))
        near = None if _rules_around(actor, target) else _near(actor, target)
        subject = _subject(request, asked if near is None else None, near)
        grant_role(actor, request.role, subject, target, expires_at=request.expires_at)
    return grantees(target, [subject])[0]


def _subject(request: GrantRequest, asked: Asked | AskedPerson | None, near: _Near | None) -> User | Group:
    if isinstance(asked, Asked):
        return stored(asked).group
    if isinstance(asked, AskedPerson):
        return stored_person(asked, field="user")
    return _user(request.user, near) if request.user else _group(request.group, near)


def take(actor: Actor, target: Model, *, role: str, user: UUID | None = None, group: int | None = None) -> Grantee:
    """Take back what was given on an object. Raises ``NotFound`` for what nobody of that kind holds there."""
    with trying(actor, "REVOKE", seen(actor, kind_of(type(target)).name, target.pk)):
        policy.authorize(actor, Permit.GRANT, target)
        subject: Any = users_of(actor, target).filter(pk=user).first() if user else None
        if group is not None:
            subject = groups_of(actor, target).filter(pk=group).first()
        found = grantees(target, [subject])[0] if subject is not None else None
        if found is None or role not in {given.role for given in found.roles}:
            raise NotFound(_("Nobody of that kind was given that role here."))
        with transaction.atomic():
            if isinstance(found.subject, Group) and not held(found.subject):
                raise NotFound(_("Nobody of that kind was given that role here."))
            revoke_role(actor, role, found.subject, target)
            if isinstance(found.subject, Group):
                forget_unused(found.subject)
    return found


def _rules_around(actor: Actor, target: Model) -> bool:
    return gives(actor, owner_of(target) or policy.system())


@dataclass(frozen=True, slots=True)
class _Near:
    """Who is of an object's data center, whom whoever rules the object alone may name."""

    users: QuerySet[User]
    groups: QuerySet[Group]
    place: str


def _near(actor: Actor, target: Model) -> _Near:
    center = owner_of(target)
    if center is None:
        there = [one.pk for one in groups_of(actor, target)]
        return _Near(users_of(actor, target), Group.objects.filter(pk__in=there), str(target))
    users = User.objects.filter(pk__in=policy.people_of(center), is_active=True, service_of=None)
    return _Near(users, Group.objects.filter(pk__in=groups_in(center)), center.name)


def _user(name: str, near: _Near | None) -> User:
    rows = (User.objects.all() if near is None else near.users).filter(service_of=None)
    if found := alike(rows, name.strip()):
        return found[0]
    if near is not None:
        text = _("There is no user %(name)s in %(place)s. Its admins can add people.")
        raise _invalid("user", text % {"name": name[:64], "place": near.place})
    text = _("There is no user %(name)s. Check the spelling, or have a super-admin create the account.")
    raise _invalid("user", text % {"name": name[:64]})


def _groups_called(name: str, near: _Near | None) -> list[Group]:
    """By their own name here, or by the directory's and theirs there (``PHYSICS\\students``)."""
    rows, wanted = (Group.objects.all() if near is None else near.groups), name.strip()
    directory, _slash, called = wanted.partition("\\")
    known = DirectoryGroup.objects.filter(name__iexact=called, directory__name__iexact=directory)
    there = [row.group_id for row in known if row.name.translate(SMALL) == called.translate(SMALL)]
    return list(rows.filter(Q(name=wanted) | Q(pk__in=there)).order_by("name")[: MOST_TOLD + 1])


def _group(name: str, near: _Near | None) -> Group:
    """One that is known here already."""
    found = _groups_called(name, near)
    if len(found) == 1:
        return found[0]
    if found:
        text = _("More than one group is called so. Write which: %(names)s.")
        raise _invalid("group", text % {"names": ", ".join(one.name for one in found[:MOST_TOLD])})
    if near is not None:
        text = _("There is no group %(name)s in %(place)s. Its admins can add groups.")
        raise _invalid("group", text % {"name": name[:64], "place": near.place})
    text = _("There is no group %(name)s. Write a directory's group as DIRECTORY\\group.")
    raise _invalid("group", text % {"name": name[:64]})


def _titles(groups: Sequence[Any]) -> dict[Any, str]:
    """Of directories' groups: the directory's name and theirs there."""
    rows = DirectoryGroup.objects.filter(group__in=groups).select_related("directory")
    return {row.group_id: f"{row.directory.name}\\{row.name}" for row in rows}


def _invalid(field: str, text: str) -> Invalid:
    return Invalid(text, reasons=(Reason(f"{field}_invalid", text, field),))
