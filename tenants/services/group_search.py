"""Which group of a directory somebody means: by its name or DN, or among those whose names hold a text. The directory is asked.

So nothing here is called within a transaction. Whoever calls has asked the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.common.errors import Invalid, Reason, Unavailable
from tenants.directory import reading
from tenants.directory.backend import unavailable
from tenants.directory.dns import is_below, is_dn
from tenants.directory.errors import DirectoryDown
from tenants.directory.following import asking
from tenants.directory.names import group_name
from tenants.directory.people import username_of
from tenants.models import Directory, DirectoryGroup

MOST_TOLD = 5  # groups of one name that a refusal names
MOST_FOUND = 20
FEWEST_LETTERS = 2  # that a search is for


@dataclass(frozen=True, slots=True)
class Asked:
    """A directory's group, as the directory told of it a moment ago."""

    directory: Directory
    group: reading.Group

    @property
    def name(self) -> str:
        """How forms take it: the directory's name, and the DN, of which there are no two."""
        return f"{self.directory.name}\\{self.group.dn}"


@dataclass(frozen=True, slots=True)
class Looked:
    """The groups that a search found. ``more``: there are others, which a longer text would tell apart.

    ``silent``: the directories that could not be asked.
    """

    groups: tuple[Asked, ...]
    more: bool
    silent: tuple[str, ...] = ()


def the_group(row: Directory, name: str, *, tells_places: bool) -> Asked:
    """The directory's one group of that name, or of that DN: with two of a name the role might go to people nobody thought of.

    ``Invalid`` when there is none or more than one, and, with ``tells_places``, where these are; ``Unavailable`` when it cannot be asked.
    """
    wanted = name.strip()
    try:
        with asking(row) as connection:
            found = reading.groups_named(connection, wanted, most=MOST_TOLD) if wanted else []
    except DirectoryDown as error:
        raise unavailable(row.name, str(error)) from error
    if len(found) == 1:
        return Asked(row, found[0])
    raise _invalid(_not_one(found, tells_places=tells_places) % {
        "directory": row.name, "name": wanted[:64], "places": "; ".join(sorted(one.dn for one in found)),
    })  # fmt: skip


def group_meant(text: str, *, tells_places: bool) -> Asked | None:
    """The group that is meant by ``DIRECTORY\\group``, by its DN, or by its bare name in the default directory.

    None: no directory is meant that could be asked. Raises as ``the_group``.
    """
    every = list(Directory.objects.order_by("name"))
    uid, name = group_name(text, every)
    rows = [row for row in every if row.enabled]
    if is_dn(text) and name == text.strip():
        uid = next((row.pk for row in rows if is_below(text, row.group_base_dn or row.base_dn)), uid)
    row = next((row for row in rows if row.pk == uid), None)
    return the_group(row, name, tells_places=tells_places) if row is not None else None


def groups_looked_for(row: Directory, text: str) -> Looked:
    """The groups of a directory whose names hold a text, in whatever case, by name. Raises as ``the_group``."""
    wanted = text.strip()
    if len(wanted) < FEWEST_LETTERS:
        raise _invalid(_("Write at least %(count)d letters of the group's name.") % {"count": FEWEST_LETTERS})
    try:
        with asking(row) as connection:
            found = reading.groups_like(connection, wanted, most=MOST_FOUND + 1)
    except DirectoryDown as error:
        raise unavailable(row.name, str(error)) from error
    told = sorted(found[:MOST_FOUND], key=lambda group: (group.name.lower(), group.dn))
    return Looked(tuple(Asked(row, group) for group in told), more=len(found) > MOST_FOUND)


def groups_looked_for_everywhere(text: str) -> Looked:
    """The same of every directory that is enabled; ``Unavailable`` only where none of them answers."""
    found, silent, error = [], [], None
    for row in Directory.objects.filter(enabled=True).order_by("name"):
        try:
            found.append(groups_looked_for(row, text))
        except Unavailable as failed:
            silent.append(row.name)
            error = failed
    if error is not None and not found:
        raise error
    told = tuple(asked for one in found for asked in one.groups)
    return Looked(told, more=any(one.more for one in found), silent=tuple(silent))


def stored(asked: Asked) -> DirectoryGroup:
    """The row of it, to which roles are given; made when there is none, and called as the directory calls it now.

    It is told from others by its GUID. Call it in the transaction that gives it something, until whose end nobody forgets it.
    """
    try:
        with transaction.atomic():
            return _stored(asked)
    except IntegrityError:  # another request was faster
        return _stored(asked)


def _stored(asked: Asked) -> DirectoryGroup:
    row, found = asked.directory, asked.group
    rows = DirectoryGroup.objects.select_related("group").select_for_update(of=("group",), no_key=True)
    known = rows.filter(directory=row, guid=found.guid).first()
    if known is None:
        # Groups of one name may be in several places of a directory; Django's have one name each.
        subject = Group.objects.create(name=_unique_name(asked))
        return DirectoryGroup.objects.create(directory=row, guid=found.guid, name=found.name, group=subject)
    if known.name != found.name:
        known.name, known.group.name = found.name, _unique_name(asked)
        known.save(update_fields=["name"])
        known.group.save(update_fields=["name"])
    return known


def _unique_name(asked: Asked) -> str:
    return f"{username_of(asked.directory.name, asked.group.name)[:120]} {asked.group.guid[:8]}"


def _not_one(found: Sequence[reading.Group], *, tells_places: bool) -> str:
    if not found:
        return _("The directory %(directory)s has no group %(name)s below its base.")
    if tells_places:
        return _("The directory %(directory)s has more than one group %(name)s below its base: %(places)s.")
    return _("The directory %(directory)s has more than one group %(name)s below its base. Write the DN of the one.")


def _invalid(text: str) -> Invalid:
    return Invalid(text, reasons=(Reason("group_invalid", text, "group"),))
