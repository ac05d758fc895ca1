"""The hallway of mappings: a directory's group holds a role on the system or on a data center. For super-admins."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import Group
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Invalid, NotFound, Reason
from portal.events.record import Subject, attempt, trying
from tenants import policy
from tenants.directory import reading
from tenants.directory.backend import unavailable
from tenants.directory.errors import DirectoryDown
from tenants.directory.following import asking
from tenants.directory.people import username_of
from tenants.fitting import SYSTEM
from tenants.holdings import CODENAME
from tenants.kinds import kinds
from tenants.models import DataCenter, DataCenterGroupGrant, Directory, DirectoryGroup, Role, System, SystemGroupGrant
from tenants.permits import Permit
from tenants.selectors import data_centers, get_data_center, roles_for
from tenants.services.grants import hold_role

MOST_TOLD = 5  # groups of one name that a refusal names


@dataclass(frozen=True, slots=True)
class Mapping:
    """A directory's group and a role it holds: on a data center, or (None) on the whole system."""

    group: DirectoryGroup
    role: str
    role_name: str
    data_center: DataCenter | None


@dataclass(frozen=True, slots=True)
class Mapped:
    """A directory's group that was given a role, and where it is in the directory: its name alone may mislead."""

    group: DirectoryGroup
    dn: str


def authorize_directories(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever does not manage users and the system."""
    policy.authorize(actor, Permit.USER_MANAGE, policy.system())
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())


def get_directory(actor: Actor, uid: UUID) -> Directory:
    """One directory. Raises ``NotPermitted`` or ``NotFound``."""
    authorize_directories(actor)
    row = Directory.objects.filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such directory."))
    return row


def roles_to_give() -> list[Role]:
    """The roles that mean something on a data center or above, the humblest first."""
    return [row for row in roles_for(SYSTEM) if Permit.DATA_CENTER_VIEW in row.permits]


def places(actor: Actor) -> list[DataCenter]:
    """The data centers on which a group may be given a role, by name."""
    return list(data_centers(actor))


def place(actor: Actor, named: str) -> DataCenter | System:
    """Where a role is given: a data center by its uid, or ``system``. Raises ``NotFound``."""
    if named == "system":
        return policy.system()
    try:
        return get_data_center(actor, UUID(named))
    except ValueError as error:
        raise NotFound(_("There is no such data center, or you may not see it.")) from error


def mappings(actor: Actor, uid: UUID) -> list[Mapping]:
    """Which groups of the directory hold which roles, by group and place."""
    row = get_directory(actor, uid)
    groups = {group.group_id: group for group in DirectoryGroup.objects.filter(directory=row)}
    names = dict(Role.objects.values_list("codename", "name"))
    found = [
        Mapping(groups[grant.group_id], codename, names.get(codename, codename), center)
        for model, is_center in ((SystemGroupGrant, False), (DataCenterGroupGrant, True))
        for grant in model.objects.filter(group__in=groups).select_related("permission", "content_object")
        for codename in [grant.permission.codename.removeprefix(CODENAME)]
        for center in [grant.content_object if is_center else None]
    ]
    return sorted(found, key=lambda one: (one.group.name.lower(), one.data_center.name if one.data_center else ""))


def map_group(actor: Actor, uid: UUID, *, group: str, role: str, target: DataCenter | System) -> Mapped:
    """Give a directory's group a role. ``group`` is its name there; ``Invalid`` when no one group has it.

    ``Unavailable`` when the directory cannot be asked. Members get it when they log in, or with the next sync. Bounded as ``policy.grant`` says.
    """
    with trying(actor, "GROUP_MAP", Subject("directory", uid)):
        return map_found(actor, uid, find_group(actor, uid, group), role=role, target=target)


def find_group(actor: Actor, uid: UUID, name: str) -> reading.Group:
    """The first half of ``map_group``: the directory's one group of that name."""
    return _group_named(get_directory(actor, uid), name)


def map_found(actor: Actor, uid: UUID, found: reading.Group, *, role: str, target: DataCenter | System) -> Mapped:
    """The other half, which writes rows here."""
    with attempt(actor, "GROUP_MAP", Subject("directory", uid)) as trial:
        row = get_directory(actor, uid)
        trial.subject = Subject("directory", row.pk, row.name, _center(target))
        trial.data = {"group": found.name, "role": role, "on": str(target)}
        known = _stored(row, found)
        hold_role(actor, role, target)
        policy.grant(actor, role, known.group, target)
    return Mapped(known, found.dn)


def unmap_group(actor: Actor, uid: UUID, group_uid: UUID, *, role: str, target: DataCenter | System) -> None:
    """Take a role from a directory's group. Its members' open pages and consoles that lived by it end."""
    with attempt(actor, "GROUP_UNMAP", Subject("directory", uid)) as trial:
        row = get_directory(actor, uid)
        trial.subject = Subject("directory", row.pk, row.name, _center(target))
        known = DirectoryGroup.objects.select_related("group").filter(directory=row, pk=group_uid).first()
        if known is None:
            raise NotFound(_("There is no such group of this directory here."))
        trial.data = {"group": known.name, "role": role, "on": str(target)}
        policy.revoke(actor, role, known.group, target)
        if not _holds_anything(known.group):
            known.group.delete()


def _holds_anything(group: Group) -> bool:
    tables = [kind.group_grants for kind in kinds() if kind.group_grants is not None]
    return any(table._default_manager.filter(group=group).exists() for table in tables)


def _group_named(row: Directory, name: str) -> reading.Group:
    """The one group of that name: with two of them the role might go to people nobody thought of."""
    wanted = name.strip()
    try:
        with asking(row) as connection:
            found = reading.groups_named(connection, wanted, most=MOST_TOLD) if wanted else []
    except DirectoryDown as error:
        raise unavailable(row.name, str(error)) from error
    if len(found) == 1:
        return found[0]
    told = _("The directory %(directory)s has no group %(name)s below its base.")
    if found:
        told = _("The directory %(directory)s has more than one group %(name)s below its base: %(places)s.")
    places = "; ".join(sorted(one.dn for one in found))
    told %= {"directory": row.name, "name": wanted[:64], "places": places}
    raise Invalid(told, reasons=(Reason("group_invalid", told, "group"),))


def _stored(row: Directory, found: reading.Group) -> DirectoryGroup:
    known = DirectoryGroup.objects.select_related("group").filter(directory=row, guid=found.guid).first()
    if known is not None:
        return known
    # Groups of one name may be in several places of a directory; Django's have one name each.
    subject = Group.objects.create(name=f"{username_of(row.name, found.name)[:120]} {found.guid[:8]}")
    return DirectoryGroup.objects.create(directory=row, guid=found.guid, name=found.name, group=subject)


def _center(target: DataCenter | System) -> UUID | None:
    return target.pk if isinstance(target, DataCenter) else None
