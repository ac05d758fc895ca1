"""THE permission policy: what a role is worth where, who may do what, and why.

django-guardian's tables keep the grants: an object permission is a role held on an object, one codename per role and
model, because with one codename per permit two roles that share a permit would share a row and revoking one would
revoke both. Only this module resolves roles to permits and inheritance: system -> data center -> object. Purely
additive; global permissions, staff and superuser flags mean nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import NotFound, NotPermitted
from tenants import bounds, shares
from tenants.bounds import Way
from tenants.holdings import CODENAME, Holdings, holdings, one_look, people_of
from tenants.kinds import Kind, kind_of, register_kind
from tenants.models import (
    DataCenter,
    Role,
    System,
    User,
)
from tenants.models.data_center import SYSTEM_UID
from tenants.permits import ASSIGNED, Permit
from tenants.remedies import remedy

M = TypeVar("M", bound=Model)

__all__ = [
    "Explanation",
    "Kind",
    "Permit",
    "authorize",
    "explain",
    "grant",
    "grant_owner",
    "holds_anywhere",
    "holds_everywhere",
    "holds_in",
    "one_look",
    "people_of",
    "permits_on",
    "register_kind",
    "revoke",
    "runs_everything",
    "visible",
]


SEE = {
    "vm": Permit.VM_VIEW,
    "data_center": Permit.DATA_CENTER_VIEW,
    "template": Permit.TEMPLATE_VIEW,
    "image": Permit.IMAGE_VIEW,
    "network": Permit.NETWORK_VIEW,
    "vnic_profile": Permit.NETWORK_VIEW,
    "system": Permit.SYSTEM_MANAGE,
}


def system() -> System:
    """The one row above all data centers."""
    row, _made = System.objects.get_or_create(pk=SYSTEM_UID)
    return row


# -- the three functions


def visible(actor: Actor, permit: Permit, queryset: QuerySet[M]) -> QuerySet[M]:
    """The rows on which this actor holds the permit: literal data-center ids first, then single shares.

    Four queries of its own at most, five of what is a part of something, whatever the number of grants and objects; the rest
    is one WHERE.
    """
    if actor.is_system:
        return queryset
    if actor.user is None or not actor.user.is_active or not bounds.carries(actor, permit):
        return queryset.none()
    kind, mine = kind_of(queryset.model), holdings(actor)
    roles = mine.roles_with(permit)
    queryset = bounds.within(actor, kind, permit, queryset)
    if roles & set(mine.system):
        return queryset
    centers = _by_data_center(mine, kind, permit, roles)
    conditions = [*centers, *shares.by_share(mine, kind, roles, alone=not centers)]
    return queryset.filter(reduce(or_, conditions)) if conditions else queryset.none()


def holds_everywhere(actor: Actor, permit: Permit) -> bool:
    """Whether the actor holds the permit on the whole system, and with it on everything there is."""
    if actor.is_system:
        return True
    mine = holdings(actor)
    kept = actor.bounds.objects is not None or not bounds.carries(actor, permit)
    return not kept and bool(mine.roles_with(permit) & set(mine.system))


def runs_everything(actor: Actor) -> bool:
    """Whether the actor is a super-admin: holds every permit there is on the whole system."""
    mine = holdings(actor)
    worth = {permit for role in mine.system for permit in mine.permits.get(role, ())}
    kept = bool(actor.bounds) or actor.scope != "write"
    return actor.is_system or (not kept and set(Permit) <= worth)


def holds_anywhere(actor: Actor, permit: Permit) -> bool:
    """Whether the actor holds the permit on the system or on some data center: whether its pages are of use to him."""
    mine = holdings(actor)
    roles = mine.roles_with(permit)
    somewhere = roles & set(mine.system) or any(roles & set(mine.centers.roles(uid)) for uid in mine.enabled)
    return actor.is_system or (bounds.carries(actor, permit) and bool(somewhere))


def holds_in(actor: Actor, permit: Permit, data_center: DataCenter) -> bool:
    """Whether the actor holds the permit on the data center, and with it on what is in it.

    A permit that an assignment conveys also on what the data center may use: of all that there is nothing to ask one by one.
    """
    objects = actor.bounds.objects
    kept = not bounds.carries(actor, permit) or (objects is not None and data_center.pk not in objects)
    mine = holdings(actor)
    there = mine.centers.roles(data_center.pk) if data_center.pk in mine.enabled else {}
    return actor.is_system or (not kept and bool(mine.roles_with(permit) & {*mine.system, *there}))


def _by_data_center(mine: Holdings, kind: Kind, permit: Permit, roles: frozenset[str]) -> list[Q]:
    reached = [uid for uid, held_there in mine.centers.by_object.items() if roles & set(held_there)]
    ids = sorted(mine.enabled.intersection(reached)) if reached else []
    if not ids:
        return []
    if kind.model is DataCenter:
        return [Q(pk__in=ids)]
    found = [Q(**{f"{kind.data_center_path}__in": ids})] if kind.data_center_path else []
    if kind.assignment_path and permit in ASSIGNED:
        through = kind.model._default_manager.filter(**{f"{kind.assignment_path}__in": ids}).values("pk")
        found.append(Q(pk__in=through))
    return found


def permits_on(actor: Actor, objects: Iterable[M]) -> dict[Any, frozenset[Permit]]:
    """For each object the permits held on it; a bounded number of queries for any number of objects of one kind."""
    rows = list(objects)
    if not rows:
        return {}
    if actor.is_system:
        return {row.pk: frozenset(Permit) for row in rows}
    model = type(rows[0])
    roles = holdings(actor).permits
    return {
        row.pk: frozenset(permit for permit, _way in _derive(actor, ways, roles))
        for row, ways in _ways(actor, model, rows)
    }


def _ways(actor: Actor, model: type[Model], rows: list[M]) -> list[tuple[M, list[Way]]]:
    """For each row the ways by which the actor reaches it."""
    kind = kind_of(model)
    if actor.user is None or not actor.user.is_active:
        return [(row, []) for row in rows]
    mine = holdings(actor)
    above = [Way(role, how, "system", SYSTEM_UID) for role, how in mine.system.items()]
    centers, enabled = mine.centers, mine.enabled
    singles = shares.shares_of(actor, kind, rows)
    owners = _centers_of(model, kind.data_center_path, rows)
    users = _centers_of(model, kind.assignment_path, rows)
    disabled = mine.disabled if any(share.roles for share in singles) else set()
    found = []
    for row in rows:
        ways = list(above)
        for center in owners.get(row.pk, set()) & enabled:
            ways += [Way(role, how, "data_center", center) for role, how in centers.roles(center).items()]
        for center in users.get(row.pk, set()) & enabled:
            ways += [
                Way(role, how, "data_center", center, assigned=True) for role, how in centers.roles(center).items()
            ]
        if not owners.get(row.pk, set()) & disabled:
            ways += [way for share in singles for way in share.ways(row.pk)]
        reached = {row.pk} | owners.get(row.pk, set()) | {share.on[row.pk] for share in singles}
        found.append((row, bounds.narrowed(actor, ways, reached=reached, used_by=users.get(row.pk, set()))))
    return found


def _centers_of(model: type[Model], path: str, rows: list[M]) -> dict[Any, set[UUID]]:
    if model is DataCenter:
        return {row.pk: {row.pk} for row in rows} if path == "" else {}
    if not path:
        return {}
    if "__" not in path:
        ids = {row.pk: getattr(row, f"{path}_id") for row in rows}
        return {pk: {uid} for pk, uid in ids.items() if uid is not None}
    found: dict[Any, set[UUID]] = {}
    pairs = model._default_manager.filter(pk__in=[row.pk for row in rows], **{f"{path}__isnull": False}).values_list(
        "pk", path
    )
    for pk, center in pairs:
        found.setdefault(pk, set()).add(center)
    return found


def _derive(actor: Actor, ways: list[Way], roles: dict[str, frozenset[str]]) -> list[tuple[Permit, Way]]:
    return [
        (permit, way)
        for way in ways
        for permit in Permit
        if permit.value in roles.get(way.role, frozenset())
        and bounds.carries(actor, permit)
        and (permit in ASSIGNED or not way.assigned)
    ]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why, or why not and what would help."""

    allowed: bool
    permit: Permit
    object_kind: str
    object_uid: UUID | None = None
    derivation: tuple[dict[str, Any], ...] = ()
    sentence: str = ""
    helping_roles: tuple[str, ...] = ()
    who_can_grant: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For problem documents and the explain page."""
        return {
            "allowed": self.allowed,
            "permit": self.permit.value,
            "object_kind": self.object_kind,
            "object_id": str(self.object_uid),
            "derivation": [way | {"uid": str(way["uid"])} for way in self.derivation],
            "sentence": self.sentence,
            "helping_roles": list(self.helping_roles),
            "who_can_grant": list(self.who_can_grant),
        }


def explain(actor: Actor, permit: Permit, target: Model) -> Explanation:
    """The derivation of a yes, or for a no the smallest grant that would help and who can give it."""
    kind = kind_of(type(target))
    about = Explanation(allowed=True, permit=permit, object_kind=kind.name, object_uid=target.pk)
    if actor.is_system:
        return replace(about, sentence=_("The portal itself acts."))
    [(_row, ways)] = _ways(actor, type(target), [target])
    chain = tuple(
        {"subject": actor.name, "permit": permit.value} | way._asdict()
        for found, way in _derive(actor, ways, holdings(actor).permits)
        if found is permit
    )
    if chain:
        return replace(about, derivation=chain)
    return _refusal(actor, replace(about, allowed=False), target)


def _refusal(actor: Actor, about: Explanation, target: Model) -> Explanation:
    if sentence := bounds.why_not(actor, about.permit, target, kind_of(type(target))):
        return replace(about, sentence=sentence)
    found = remedy(actor, about.permit, target)
    sentence = _("You lack the permit %(permit)s here. The role %(role)s would give it; ask %(who)s.") % {
        "permit": about.permit.value,
        "role": _title(found.roles[0]) if found.roles else "-",
        "who": ", ".join(found.givers) or _("a super-admin"),
    }
    return replace(about, sentence=sentence, helping_roles=found.roles[:3], who_can_grant=found.givers)


def _title(codename: str) -> str:
    """What a role is called on the pages."""
    return _(Role.objects.get(codename=codename).name)


def authorize(actor: Actor, permit: Permit, target: Model) -> None:
    """Raise ``NotFound`` when the target may not even be seen, ``NotPermitted`` with the explanation otherwise."""
    answer = explain(actor, permit, target)
    if answer.allowed:
        return
    seeing = SEE.get(kind_of(type(target)).name)
    # That the system exists is no secret. What has no permit of its own for looking is seen by whoever may act on it.
    hidden = seeing is None or seeing is permit or not explain(actor, seeing, target).allowed
    if hidden and type(target) is not System:
        raise NotFound(_("There is no such object, or you may not see it."))
    raise NotPermitted(answer.sentence, data={"explanation": answer.as_json()})


# -- giving and taking


def system_grantor(actor: Actor) -> Actor:
    """The portal itself, granting because of what this actor did (the maker of a machine manages it)."""
    return Actor(user=None, door=actor.door, request_id=actor.request_id, client_address=actor.client_address)


def grant(actor: Actor, role: str, subject: User | Group, target: Model, *, expires_at: datetime | None = None) -> None:
    """Give a role to a user or group on an object; again is nothing new.

    Whoever may grant gives only what he holds himself there. Raises ``NotPermitted`` otherwise, ``NotFound`` for a role
    that does not exist.
    """
    row = Role.objects.filter(codename=role).first()
    if row is None:
        raise NotFound(_("There is no role %(role)s.") % {"role": role})
    _refuse_beyond_own(actor, row, target)
    model, field = _grant_model(subject, target)
    model._default_manager.update_or_create(
        **{field: subject},
        permission=_permission(row, type(target)),
        content_object=target,
        defaults={"grantor_uid": actor.uid, "grantor_name": actor.name, "expires_at": expires_at},
    )
    access_changed(_people(subject))


def grant_owner(actor: Actor, roles: Iterable[str], user: User, target: Model) -> None:
    """The roles that come with an object, for whose it is. Sockets are told by whoever hands on one that they may show."""
    codenames = {CODENAME + role for role in roles}
    content_type = ContentType.objects.get_for_model(target)
    there = Permission.objects.filter(codename__in=codenames, content_type=content_type).order_by()
    permissions = list(there.values_list("pk", flat=True))
    if len(permissions) != len(codenames):
        permissions = [_permission(row, type(target)).pk for row in Role.objects.filter(codename__in=roles)]
    given = {
        "user": user,
        "content_object": target,
        "expires_at": None,
        "grantor_uid": actor.uid,
        "grantor_name": actor.name,
    }
    model, _field = _grant_model(user, target)
    model._default_manager.bulk_create(
        [model(permission_id=permission, **given) for permission in permissions],
        update_conflicts=True,
        unique_fields=["user", "permission", "content_object"],
        update_fields=["grantor_uid", "grantor_name", "expires_at"],
    )


def revoke(actor: Actor, role: str, subject: User | Group, target: Model) -> None:
    """Take a role back; open sockets learn of it."""
    row = Role.objects.filter(codename=role).first()
    if row is None:
        raise NotFound(_("There is no role %(role)s.") % {"role": role})
    _refuse_beyond_own(actor, row, target)
    model, field = _grant_model(subject, target)
    model._default_manager.filter(
        **{field: subject}, permission__codename=CODENAME + row.codename, content_object=target
    ).delete()
    access_changed(_people(subject))


def _refuse_beyond_own(actor: Actor, role: Role, target: Model) -> None:
    if actor.is_system:
        return
    authorize(actor, Permit.GRANT, target)
    mine = {permit.value for permit in permits_on(actor, [target])[target.pk]}
    beyond = sorted(set(role.permits) - mine)
    if beyond:
        raise NotPermitted(
            _("You can give only what you hold yourself; you lack %(permits)s here.") % {"permits": ", ".join(beyond)}
        )


def _grant_model(subject: User | Group, target: Model) -> tuple[Any, str]:
    kind = kind_of(type(target))
    model = kind.user_grants if isinstance(subject, User) else kind.group_grants
    if model is None:
        raise NotFound(_("Nothing can be granted on this kind of object."))
    return model, "user" if isinstance(subject, User) else "group"


def _permission(role: Role, model: type[Model]) -> Permission:
    content_type = ContentType.objects.get_for_model(model)
    found, _made = Permission.objects.get_or_create(
        codename=CODENAME + role.codename, content_type=content_type, defaults={"name": role.name}
    )
    return found


def _people(subject: User | Group) -> list[UUID]:
    if isinstance(subject, User):
        return [subject.pk]
    return list(User.objects.filter(groups=subject).values_list("pk", flat=True))
