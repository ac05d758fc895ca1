"""The hallway of mappings: a directory's group holds a role on an object of any kind. For super-admins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Model
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.constraints import at_once
from portal.common.errors import NotFound, PortalError
from portal.events.record import Subject, attempt, trying
from tenants import policy
from tenants.directory.names import group_name
from tenants.fitting import SYSTEM
from tenants.holdings import CODENAME
from tenants.kinds import Kind, kind_of, kinds, owner_of, with_whole
from tenants.models import DataCenter, Directory, DirectoryGroup, Role, System
from tenants.models.quota import QuotaAccount, SubjectKind, group_uid
from tenants.permits import Permit
from tenants.selectors import data_centers, get_data_center, roles_for
from tenants.services.grants import grantable, hold_role
from tenants.services.group_search import Asked, Looked, groups_looked_for, stored, the_group
from tenants.services.told import naming

PER_PAGE = 200
MOST_OBJECTS = 20  # of a kind, that a search finds


@dataclass(frozen=True, slots=True)
class Mapping:
    """A directory's group and a role it holds on an object of any kind, the whole system too."""

    group: DirectoryGroup
    role: str
    role_name: str
    kind: Kind
    target: Model
    expires_at: datetime | None = None

    @property
    def place(self) -> str:
        """The object as ``place`` takes it."""
        return place_named(self.target)

    @property
    def page(self) -> str:
        """The address of the object's page, or of its roles where it has none of its own."""
        if self.kind.page:
            return reverse(self.kind.page, args=[self.target.pk])
        return reverse("tenants:grants", args=[self.kind.name, self.target.pk])

    @property
    def ended(self) -> bool:
        """Whether its end is over, so that it is worth nothing."""
        return self.expires_at is not None and self.expires_at <= timezone.now()


@dataclass(frozen=True, slots=True)
class Mapped:
    """A directory's group that was given a role, and where it is in the directory: its name alone may mislead."""

    group: DirectoryGroup
    dn: str


@dataclass(frozen=True, slots=True)
class Place:
    """An object on which a group may be given a role: as ``place`` takes it, and what it is called."""

    named: str
    title: str


def authorize_directories(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever does not manage users and the system."""
    policy.authorize(actor, Permit.USER_MANAGE, policy.system())
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())


def may_look_through(actor: Actor) -> bool:
    """Whether the actor may look through the groups of directories, and is told where they are."""
    return policy.holds_everywhere(actor, Permit.USER_MANAGE) and policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE)


def get_directory(actor: Actor, uid: UUID) -> Directory:
    """One directory. Raises ``NotPermitted`` or ``NotFound``."""
    authorize_directories(actor)
    row = Directory.objects.filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such directory."))
    return row


def roles_to_give() -> list[Role]:
    """The roles that mean something on some object, the humblest first. Which these are on one object, its giving says."""
    return roles_for(SYSTEM)


def places(actor: Actor) -> list[DataCenter]:
    """The data centers on which a group may be given a role, by name."""
    return list(data_centers(actor))


def places_like(actor: Actor, text: str) -> list[tuple[str, list[Place]]]:
    """Objects of every other kind whose names hold a text, by the kind's title: the first ``MOST_OBJECTS`` of each."""
    authorize_directories(actor)
    wanted, called, found = text.strip(), naming(actor), []
    for kind in kinds() if wanted else ():
        if kind.group_grants is None or kind.model in {System, DataCenter}:
            continue
        rows = policy.visible(actor, Permit.GRANT, with_whole(kind).filter(name__icontains=wanted))
        told = [
            Place(place_named(row), _in_its_place(row, called)) for row in rows.order_by("name", "pk")[:MOST_OBJECTS]
        ]
        if told:
            found.append((str(kind.title), told))
    return found


def places_sent(actor: Actor, named: str) -> list[tuple[str, list[Place]]]:
    """The one object of those kinds that is named so, in the same form; none where there is none."""
    try:
        target = place(actor, named) if ":" in named else None
    except PortalError:
        return []
    if target is None:
        return []
    return [(str(kind_of(type(target)).title), [Place(named, _in_its_place(target, naming(actor)))])]


def _in_its_place(target: Model, called: Callable[[Model], str]) -> str:
    center = owner_of(target)
    return f"{called(target)} ({center.name})" if center is not None else called(target)


def place_named(target: Model) -> str:
    """An object as ``place`` takes it."""
    if isinstance(target, System):
        return "system"
    return str(target.pk) if isinstance(target, DataCenter) else f"{kind_of(type(target)).name}:{target.pk}"


def place(actor: Actor, named: str) -> Model:
    """Where a role is given: a data center by its uid, ``system``, or any other object as ``kind:uid``. Raises ``NotFound``."""
    if named == "system":
        return policy.system()
    kind, colon, uid = named.rpartition(":")
    try:
        return grantable(actor, kind, UUID(uid)) if colon else get_data_center(actor, UUID(uid))
    except ValueError as error:
        raise NotFound(_("There is no such object, or you may not see it.")) from error


def mappings(actor: Actor, uid: UUID, *, start: int = 0) -> list[Mapping]:
    """Which groups of the directory hold which roles on what, by group: ``PER_PAGE`` of them, and one more if there is one."""
    row = get_directory(actor, uid)
    names = dict(Role.objects.values_list("codename", "name"))
    last = start + PER_PAGE + 1
    # Told by the database, as each kind is cut by it: of letters beyond a to z it has an order of its own.
    known = row.groups.order_by(Lower("name"), "group").values_list("group", flat=True)
    places = {group: place for place, group in enumerate(known)}
    found = [one for kind in kinds() if kind.group_grants is not None for one in _mappings(row, kind, names, last)]
    return sorted(found, key=partial(_order, places))[start:last]


def _mappings(row: Directory, kind: Kind, names: dict[str, str], last: int) -> Iterator[Mapping]:
    """Of one kind, the first of them in the order in which all are told."""
    grants = kind.group_grants._default_manager.filter(group__of_directory__directory=row)
    rows = grants.select_related("permission", "content_object", "group__of_directory")
    ordered = rows.order_by(Lower("group__of_directory__name"), "group", "content_object", "permission__codename", "pk")
    for grant in ordered[:last]:
        code = grant.permission.codename.removeprefix(CODENAME)
        group: DirectoryGroup = grant.group.of_directory
        yield Mapping(group, code, names.get(code, code), kind, grant.content_object, grant.expires_at)


def _order(places: dict[int, int], one: Mapping) -> tuple[int, bool, str]:
    """By group, one that came meanwhile last; the whole system first, then by kind."""
    return places.get(one.group.group_id, len(places)), one.kind.model is not System, one.kind.name


def find_groups(actor: Actor, uid: UUID, text: str) -> Looked:
    """The directory's groups whose names hold a text. Raises as ``group_search.groups_looked_for``."""
    row = get_directory(actor, uid)
    return groups_looked_for(row, _without_its(row, text))


def map_group(
    actor: Actor, uid: UUID, *, group: str, role: str, target: Model, expires_at: datetime | None = None
) -> Mapped:
    """Give a directory's group a role. ``group`` is its name there, or its DN; ``Invalid`` when no one group has it.

    ``Unavailable`` when the directory cannot be asked. Members get it when they log in, or with the next sync. Bounded as ``policy.grant`` says.
    """
    with trying(actor, "GROUP_MAP", Subject("directory", uid)):
        found = find_group(actor, uid, group)
        return map_found(actor, uid, found, role=role, target=target, expires_at=expires_at)


def find_group(actor: Actor, uid: UUID, name: str) -> Asked:
    """The first half of ``map_group``: the directory's one group of that name."""
    row = get_directory(actor, uid)
    return the_group(row, _without_its(row, name), tells_places=True)


def _without_its(row: Directory, name: str) -> str:
    """A group's name as it is in the directory: as elsewhere, it may be written ``DIRECTORY\\group``."""
    return group_name(name, [row])[1]


def map_found(
    actor: Actor, uid: UUID, found: Asked, *, role: str, target: Model, expires_at: datetime | None = None
) -> Mapped:
    """The other half, which writes rows here."""
    with attempt(actor, "GROUP_MAP", Subject("directory", uid)) as trial:
        row = get_directory(actor, uid)
        trial.subject = Subject("directory", row.pk, row.name, _center(target))
        trial.data = {"group": found.group.name, "role": role, "on": str(target)}
        known = stored(found)
        hold_role(actor, role, target, expires_at=expires_at)
        with at_once():
            policy.grant(actor, role, known.group, target, expires_at=expires_at)
    return Mapped(known, found.group.dn)


def unmap_group(actor: Actor, uid: UUID, known_uid: UUID, *, role: str, target: Model) -> None:
    """Take a role from a directory's group. Its members' open pages and consoles that lived by it end."""
    with attempt(actor, "GROUP_UNMAP", Subject("directory", uid)) as trial:
        row = get_directory(actor, uid)
        trial.subject = Subject("directory", row.pk, row.name, _center(target))
        known = DirectoryGroup.objects.select_related("group").filter(directory=row, pk=known_uid).first()
        if known is None or not held(known.group):
            raise NotFound(_("There is no such group of this directory here."))
        trial.data = {"group": known.name, "role": role, "on": str(target)}
        grants = kind_of(type(target)).group_grants._default_manager.filter(group=known.group, content_object=target)
        if CODENAME + role not in grants.values_list("permission__codename", flat=True):
            raise NotFound(_("Nobody of that kind was given that role here."))
        policy.revoke(actor, role, known.group, target)
        forget_unused(known.group)


def held(group: Group) -> bool:
    """Hold a group until the transaction ends, before something is taken from it; False for one that is gone.

    Whoever gives it something meanwhile waits (``group_search.stored``): it would be forgotten with what he gave.
    """
    return bool(Group.objects.select_for_update().filter(pk=group.pk))


def forget_unused(group: Group) -> None:
    """A directory's group that holds nothing here any more is not followed any more. Call it with the group ``held``."""
    if DirectoryGroup.objects.filter(group=group).exists() and not _holds_anything(group):
        group.delete()


def _holds_anything(group: Group) -> bool:
    tables = [kind.group_grants for kind in kinds() if kind.group_grants is not None]
    shares = QuotaAccount.objects.filter(subject_kind=SubjectKind.GROUP, subject_uid=group_uid(group.pk))
    return shares.exists() or any(table._default_manager.filter(group=group).exists() for table in tables)


def _center(target: Model) -> UUID | None:
    center = owner_of(target)
    return center.pk if center is not None else None
