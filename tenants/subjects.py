"""What the audit log tells of an object that somebody named: as much as he may see of it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from portal.common.actor import Actor
from portal.events.record import Subject
from tenants import policy
from tenants.kinds import kind_named, owner_of


def seen(actor: Actor, kind: str, uid: UUID | None) -> Callable[[], Subject]:
    """The object as its record names it: with its name and data center for whoever sees it, else by what he said of it."""

    def subject() -> Subject:
        noun, permit = kind_named(kind), policy.SEE.get(kind)
        if noun is None or permit is None or uid is None:
            return Subject(kind, uid)
        row = policy.visible(actor, permit, noun.model._default_manager.filter(pk=uid)).first()
        if row is None:
            return Subject(kind, uid)
        owner = owner_of(row)
        return Subject(kind, uid, str(row), owner.pk if owner else None)

    return subject
