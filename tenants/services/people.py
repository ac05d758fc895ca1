"""The hallway of a data center's people: who is of it, in which role, with which share of its quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Invalid, NotFound, PreconditionFailed, Reason
from portal.common.versions import version_of
from portal.events.record import trying
from tenants import policy, quota
from tenants.fitting import DATA_CENTER
from tenants.holdings import CODENAME, live
from tenants.models import DataCenter, DataCenterUserGrant, Role, User
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.selectors import get_data_center, roles_for
from tenants.services.grants import grant_role, revoke_role, set_quota
from tenants.services.person_search import AskedPerson, known_person, person_meant, stored_person
from tenants.subjects import seen
from tenants.usage import Usage

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class HeldThere:
    """A role as it is held on a data center: its name, and when it ends."""

    name: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of a data center: his roles there by codename, and what he uses and may use."""

    user: User
    roles: dict[str, HeldThere]
    share: list[Usage]


def authorize_people(actor: Actor, uid: UUID) -> DataCenter:
    """The data center, for whoever looks after its people. Raises ``NotFound`` or ``NotPermitted``."""
    row = get_data_center(actor, uid)
    policy.authorize(actor, Permit.GRANT, row)
    return row


def people(actor: Actor, uid: UUID, *, after: str = "") -> tuple[DataCenter, list[Person], str]:
    """Those who hold a role on a data center, a page of them by user name, and the name to go on from."""
    row = authorize_people(actor, uid)
    found = people_of(row).filter(username__gt=after).order_by("username")
    users = list(found[: PER_PAGE + 1])
    more = users[PER_PAGE - 1].username if len(users) > PER_PAGE else ""
    return row, persons(row, users[:PER_PAGE]), more


def person(actor: Actor, uid: UUID, user_uid: UUID) -> tuple[DataCenter, Person]:
    """One of them. Raises ``NotFound`` for whoever holds no role there."""
    row = authorize_people(actor, uid)
    user = people_of(row).filter(pk=user_uid).first()
    if user is None:
        raise NotFound(_("There is nobody of that kind in this data center."))
    return row, persons(row, [user])[0]


def roles_to_give() -> list[Role]:
    """The roles with which somebody is of a data center: he sees it, and rules no more than it. The humblest first."""
    return [row for row in roles_for(DATA_CENTER) if Permit.DATA_CENTER_VIEW in row.permits]


def add_person(actor: Actor, uid: UUID, *, username: str, role: str, expires_at: datetime | None = None) -> User:
    """Give the user of that name a role on a data center. Raises ``Invalid`` that names the field.

    Somebody of a directory need not have been here before; ``Unavailable`` names one that cannot be asked.
    """
    with trying(actor, "GRANT", seen(actor, "data_center", uid)):
        asked = ask_for_person(actor, uid, username)
        return add_asked(actor, uid, asked, username=username, role=role, expires_at=expires_at)


def ask_for_person(actor: Actor, uid: UUID, username: str) -> AskedPerson | None:
    """The first half of ``add_person``, which asks a directory. Call it outside of any transaction."""
    authorize_people(actor, uid)
    return person_meant(username, field="username")


def add_asked(
    actor: Actor, uid: UUID, asked: AskedPerson | None, *, username: str, role: str, expires_at: datetime | None = None
) -> User:
    """The other half, which writes rows here."""
    with trying(actor, "GRANT", seen(actor, "data_center", uid)), transaction.atomic():
        row = authorize_people(actor, uid)
        user = stored_person(asked, field="username") if asked is not None else known_person(username)
        if user is None:
            text = _("There is no user %(name)s. Check the spelling, or have a super-admin create the account.")
            raise _invalid("username", text % {"name": username[:64]})
        if role not in {known.codename for known in roles_to_give()}:
            raise _invalid("role", _("There is no such role on a data center."))
        grant_role(actor, role, user, row, expires_at=expires_at)
    return user


def remove_person(actor: Actor, uid: UUID, user_uid: UUID, role: str) -> User:
    """Take a role back. Open pages and consoles that lived by it end."""
    with trying(actor, "REVOKE", seen(actor, "data_center", uid)):
        row, found = person(actor, uid, user_uid)
        if role not in found.roles:
            raise NotFound(_("%(name)s does not hold that role here.") % {"name": found.user})
        revoke_role(actor, role, found.user, row)
    return found.user


def limits_of(data_center: DataCenter, user: User | None = None) -> dict[Dimension, int | None]:
    """The limits of a data center, or of a user's share, in every dimension; None is no limit."""
    return quota.limits(data_center, user.pk if user else None)


def limits_version(limits: Mapping[Dimension, int | None]) -> str:
    """The version of what somebody looked at."""
    return version_of(*(limits[dimension] for dimension in Dimension))


def authorize_quota(actor: Actor, uid: UUID) -> DataCenter:
    """The data center, for whoever may set its limits. Raises ``NotFound`` or ``NotPermitted``."""
    row = get_data_center(actor, uid)
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
    return row


def edit_quota(
    actor: Actor,
    data_center: DataCenter,
    limits: Mapping[Dimension, int | None],
    *,
    user: User | None = None,
    version: str = "",
) -> None:
    """Set limits, unless somebody else did since ``version`` was looked at (``PreconditionFailed``)."""
    with trying(actor, "QUOTA_EDIT", seen(actor, "data_center", data_center.pk)):
        if version and version != limits_version(limits_of(data_center, user)):
            raise PreconditionFailed(_("Somebody else changed this quota meanwhile. Look at it again."))
        set_quota(actor, data_center, limits, user=user)


def people_of(data_center: DataCenter) -> QuerySet[User]:
    """Those who hold a role on a data center themselves."""
    grants = live(DataCenterUserGrant.objects.filter(content_object=data_center))
    return User.objects.filter(pk__in=grants.values("user"), service_of=None)


def persons(data_center: DataCenter, users: list[User]) -> list[Person]:
    """These users as people of a data center, in a number of queries that does not grow with them."""
    grants = live(DataCenterUserGrant.objects.filter(content_object=data_center, user__in=users))
    roles: dict[UUID, dict[str, HeldThere]] = {}
    named = grants.values_list("user_id", "permission__codename", "permission__name", "expires_at")
    for uid, codename, name, expires_at in named:
        roles.setdefault(uid, {})[codename.removeprefix(CODENAME)] = HeldThere(name, expires_at)
    shares = quota.shares(data_center, [user.pk for user in users])
    return [Person(user, roles.get(user.pk, {}), shares.get(user.pk, [])) for user in users]


def _invalid(field: str, text: str) -> Invalid:
    return Invalid(text, reasons=(Reason(f"{field}_invalid", text, field),))
