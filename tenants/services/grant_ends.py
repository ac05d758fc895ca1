"""Until when somebody holds what he holds, and telling open sockets when that is over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from portal.common.access import access_changed
from portal.common.actor import Actor, system_actor
from portal.events.codes import Outcome
from portal.events.record import Subject, record
from tenants import policy
from tenants.holdings import CODENAME, live
from tenants.kinds import around, kind_of, owner_of, users_of
from tenants.models import Role, System, User
from tenants.permits import ASSIGNED, Permit
from tenants.services.role_uses import tables

FIRST_LOOK = timedelta(days=1)  # how far back the first telling looks
NEVER = datetime.max.replace(tzinfo=UTC)


def end_of(actor: Actor, permits: Iterable[str], target: Model) -> datetime | None:
    """When the first of these permits that the actor holds on an object ends; None for no end, or none of them held."""
    if actor.is_system:
        return None
    wanted = set(permits)
    first = min((end for permit, end in ends_of(actor.user, target).items() if permit in wanted), default=NEVER)
    return None if first == NEVER else first


def ends_of(user: User, target: Model) -> dict[str, datetime]:
    """By each permit that a user was given on an object when it ends, ``NEVER`` for no end, whether he may log in or not."""
    return ends_by_permit(_ways(user, target))


def ends_by_permit(held: Iterable[tuple[str, datetime | None, frozenset[Permit]]]) -> dict[str, datetime]:
    """The same of grants: of each the codename, when it ends, and the permits that it can be worth.

    A permit held in several ways ends with the last of them.
    """
    ends: dict[str, datetime] = {}
    worth = dict(Role.objects.values_list("codename", "permits"))
    for codename, expires_at, meant in held:
        for permit in set(worth.get(codename.removeprefix(CODENAME), ())) & meant:
            ends[permit] = max(ends.get(permit, expires_at or NEVER), expires_at or NEVER)
    return ends


def _ways(user: User, target: Model) -> Iterable[tuple[str, datetime | None, frozenset[Permit]]]:
    """The roles held on the object, on what is around it and on the system, and on the data centers that may merely use it,
    himself or through a group; when each ends, and the permits that it can be worth there.
    """
    near = [(scope, frozenset(Permit)) for scope in {*around(target), policy.system()}]
    for scope, meant in [*near, *((center, ASSIGNED) for center in users_of(target))]:
        kind = kind_of(type(scope))
        own = live(kind.user_grants._default_manager.filter(content_object=scope, user=user))
        through = live(kind.group_grants._default_manager.filter(content_object=scope, group__user=user))
        for rows in (own, through):
            yield from ((code, end, meant) for code, end in rows.values_list("permission__codename", "expires_at"))


def tell_of_ends() -> int:
    """Record each end of a grant that passed since this was done last, and have its people's open pages ask anew; how many.

    What has ended is worth nothing in that moment, told or not: consoles look by themselves every few seconds, but a page
    looks only when its reader's rights have changed. Two at once tell once.
    """
    with transaction.atomic():
        system = System.objects.select_for_update().get(pk=policy.system().pk)
        now = timezone.now()
        since = system.ends_told_at or now - FIRST_LOOK
        people: set[UUID] = set()
        count = 0
        for kind, who, rows in tables():
            passed = rows.filter(expires_at__gt=since, expires_at__lte=now).select_related("permission", who)
            for row in passed.prefetch_related("content_object"):
                people |= _told(kind.name, row, getattr(row, who))
                count += 1
        access_changed(people)
        system.ends_told_at = now
        system.save(update_fields=["ends_told_at"])
    return count


def _told(kind: str, row: Any, subject: Any) -> set[UUID]:
    """Record one, and say whom it concerns."""
    target, center = row.content_object, owner_of(row.content_object)
    is_user = isinstance(subject, User)
    data = {"role": row.permission.codename.removeprefix(CODENAME)}
    data |= {"user": str(subject.pk)} if is_user else {"group": subject.name}
    about = Subject(kind, target.pk, str(target), center.pk if center else None)
    record(system_actor(), "GRANT_END", outcome=Outcome.NOTED, subject=about, data=data)
    return {subject.pk} if is_user else set(User.objects.filter(groups=subject).values_list("pk", flat=True))
