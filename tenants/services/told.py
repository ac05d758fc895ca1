"""What somebody is told who gives roles: what an object is called, and of which people on it, none of another department
through what is the institute's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Model

from portal.common.actor import Actor
from tenants import policy
from tenants.kinds import around, kind_of, kinds, owner_of, users_of, zone_of
from tenants.models import DataCenter
from tenants.permits import Permit


@dataclass(frozen=True, slots=True)
class Told:
    """The only people on an object of whom somebody is told."""

    users: frozenset[UUID]
    groups: frozenset[int]


def gives(actor: Actor, target: Model) -> bool:
    """Whether the actor may give roles on an object."""
    return Permit.GRANT in policy.permits_on(actor, [target])[target.pk]


def naming(actor: Actor) -> Callable[[Model], str]:
    """How objects are called to this actor: networks with their zone for those who may see providers, for two can be called
    alike.
    """
    tells = policy.holds_everywhere(actor, Permit.PROVIDER_VIEW)

    def name(target: Model) -> str:
        zone = zone_of(target) if tells else ""
        return f"{target} ({zone})" if zone else str(target)

    return name


def places_told(actor: Actor, target: Model) -> tuple[Model, ...]:
    """The object and what is around it; what it is a part of only for whoever may give roles on that."""
    whole = _whole(target)
    return tuple(one for one in around(target) if one != whole or gives(actor, one))


def people_told(actor: Actor, target: Model) -> Told | None:
    """On the object itself: None for everybody who is there.

    Of a part of what is the institute's, for whoever may give roles on the part alone: himself, and who is of the departments
    that may use it and that he sees.
    """
    whole = _whole(target)
    if whole is None or owner_of(target) is not None or gives(actor, whole):
        return None
    centers = list(policy.visible(actor, Permit.DATA_CENTER_VIEW, users_of(target)))
    users = {actor.user.pk} if actor.user is not None else set()
    return Told(
        frozenset(users.union(*(policy.people_of(center) for center in centers))),
        frozenset[int]().union(*(groups_in(center) for center in centers)),
    )


def groups_in(center: DataCenter) -> set[int]:
    """The groups that hold something on a data center or on anything in it."""
    found: set[int] = set()
    for kind in kinds():
        path = "content_object" if kind.model is DataCenter else f"content_object__{kind.data_center_path}"
        if path != "content_object__":
            rows = kind.group_grants._default_manager.filter(**{path: center})
            found.update(rows.values_list("group_id", flat=True))
    return found


def _whole(target: Model) -> Model | None:
    field = kind_of(type(target)).whole
    return getattr(target, field) if field else None
