"""What a token takes away from its owner's rights, in one place; the policy asks here. It never adds anything.

A token may be kept to reading, to some permits, and to some objects with what is in them. A template or network that is
assigned to a chosen data center is reached through it as far as an assignment goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotPermitted
from tenants.kinds import Kind
from tenants.permits import ASSIGNED, LASTING, VIEWING, Permit

M = TypeVar("M", bound=Model)


class Way(NamedTuple):
    """By what an actor reaches an object: a role that he (or a group of his) holds on it or on what is above it."""

    role: str
    group: str  # empty: he himself
    ancestor: str  # the kind of what it is held on
    uid: UUID
    assigned: bool = False  # through a data center that may merely use it


def carries(actor: Actor, permit: Permit) -> bool:
    """Whether the actor's log-in conveys this permit at all."""
    if actor.scope == "read" and permit not in VIEWING:
        return False
    return actor.bounds.permits is None or permit in actor.bounds.permits


def reaches_all(actor: Actor, permit: Permit) -> bool:
    """Whether the actor's log-in takes nothing away of all on which he holds this permit."""
    return carries(actor, permit) and actor.bounds.objects is None


def within(actor: Actor, kind: Kind, permit: Permit, rows: QuerySet[M]) -> QuerySet[M]:
    """The rows that the actor's log-in reaches for this permit."""
    if actor.bounds.objects is None:
        return rows
    ids = sorted(actor.bounds.objects)
    reached = Q(pk__in=ids)
    if kind.whole:
        reached |= Q(**{f"{kind.whole}__in": ids})
    if kind.data_center_path:
        reached |= Q(**{f"{kind.data_center_path}__in": ids})
    if kind.assignment_path and permit in ASSIGNED:
        reached |= Q(pk__in=kind.model._default_manager.filter(**{f"{kind.assignment_path}__in": ids}).values("pk"))
    return rows.filter(reached)


def narrowed(actor: Actor, ways: list[Way], *, reached: set[UUID], used_by: set[UUID]) -> list[Way]:
    """What is left of the ways to an object: ``reached`` is it and what it is in, ``used_by`` the data centers it is assigned to."""
    objects = actor.bounds.objects
    if objects is None or objects & reached:
        return ways
    return [way._replace(assigned=True) for way in ways] if objects & used_by else []


def why_not(actor: Actor, permit: Permit, target: Model, kind: Kind) -> str:
    """The sentence for what a token takes away here; empty when it is not the token's doing."""
    if actor.scope == "read" and permit not in VIEWING:
        return _("This token may only read. Make one with the scope 'write'.")
    if not carries(actor, permit):
        return _lacking(permit)
    if within(actor, kind, permit, kind.model._default_manager.filter(pk=target.pk)).exists():
        return ""
    return _("This token is for chosen objects alone, and this is none of them. Make one that names it.")


def _lacking(permit: Permit) -> str:
    text = _("This token does not carry the permit %(permit)s. Make one that does.")
    if permit in LASTING:
        text = _(
            "This token does not carry the permit %(permit)s, for what is done by it stays when the token is gone. "
            "Make one that names it, or ALL."
        )
    return text % {"permit": permit.value}


def own_acts(actor: Actor, *, about: str) -> Q:
    """One's own jobs or events, by the field that names their object: of a token for chosen objects those about them."""
    mine, objects = Q(actor_uid=actor.uid), actor.bounds.objects
    return mine if objects is None else mine & (Q(**{f"{about}__in": objects}) | Q(data_center_uid__in=objects))


def own_jobs(actor: Actor) -> Q:
    """One's own jobs; of a token for chosen permits those that it could have started itself, or all with JOB_VIEW."""
    mine = own_acts(actor, about="target_uid")
    return mine if carries(actor, Permit.JOB_VIEW) else mine & Q(permit__in=sorted(actor.bounds.permits or ()))


def may_stop_own(actor: Actor, permit: str) -> bool:
    """Whether the actor's log-in may stop his own job that was started by this permit: what it may start, it may stop."""
    return carries(actor, Permit.JOB_CANCEL) or permit in (actor.bounds.permits or ())


def with_looking(permits: Iterable[Permit]) -> frozenset[Permit]:
    """These permits, and those to see what they are about, without which nothing could be done with them."""
    chosen = frozenset(permits)
    nouns = {view: view.value.removesuffix("VIEW") for view in VIEWING}
    return chosen | {view for view, noun in nouns.items() if any(permit.startswith(noun) for permit in chosen)}


def refuse_without(actor: Actor, permit: Permit) -> None:
    """Raise ``NotPermitted`` for a token that does not carry this permit, whatever is held of it."""
    if not carries(actor, permit):
        raise NotPermitted(_lacking(permit))


def refuse_bounded(actor: Actor) -> None:
    """Raise ``NotPermitted`` for a token with bounds, as one has that names nothing: accounts are nothing that it is for."""
    if actor.bounds:
        raise NotPermitted(_("This token is not for accounts. Log in instead, or make one that names the permit ALL."))
