"""The hallway of what uses a quota: the things charged in one dimension of a data center, the largest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _

from compute import selectors
from compute.models import Disk, Image, Template
from portal.common.actor import Actor
from portal.common.errors import NotFound
from tenants import policy, quota
from tenants.models import DataCenter, QuotaCharge, User
from tenants.models.quota import Dimension, QuotaAccount
from tenants.permits import Permit
from tenants.selectors import get_data_center
from tenants.services.people import people_of
from tenants.usage import Usage


@dataclass(frozen=True, slots=True)
class Consumer:
    """One thing, what it takes, and whose share that is of. ``name`` is empty where the reader may not see the thing.

    ``machine`` is that of a disk.
    """

    kind: str
    uid: UUID
    name: str
    machine: UUID | None
    amount: int
    owner: User | None


@dataclass(frozen=True, slots=True)
class Consumption:
    """What of a dimension is used by what. ``charges`` are those the reader may see, of ``user`` alone if it is a share.

    ``others`` is what everything else takes that the sum counts and the reader does not see.
    """

    data_center: DataCenter
    dimension: Dimension
    user: User | None
    sees_all: bool
    used: int
    limit: int | None
    others: int
    charges: QuerySet[QuotaCharge]
    meters: list[Usage]


def consumption(actor: Actor, uid: UUID, dimension: str, *, user_uid: UUID | None = None) -> Consumption:
    """What uses a dimension of a data center, or of one user's share of it.

    Who runs the data center sees everything, everybody else his own things and a sum for the rest. Raises ``NotFound``
    for a data center, dimension or share that is not there or not for these eyes, ``NotPermitted`` without QUOTA_VIEW.
    """
    row = get_data_center(actor, uid)
    policy.authorize(actor, Permit.QUOTA_VIEW, row)
    if dimension not in Dimension.values:
        raise NotFound(_("There is no such dimension of a quota."))
    sees_all = {Permit.QUOTA_EDIT, Permit.VM_VIEW} <= selectors.permits_on_center(actor, row)
    user = _user(actor, row, user_uid, sees_all=sees_all) if user_uid else None
    meters = quota.usage(row, user.pk if user else None)
    subject = "user" if user else "data_center"
    meter = next((each for each in meters if (each.dimension, each.subject) == (dimension, subject)), None)
    used = meter.used if meter else 0
    charges = QuotaCharge.objects.filter(data_center=row, dimension=dimension, amount__gt=0)
    if user or not sees_all:
        charges = charges.filter(user_uid=user.pk if user else actor.uid)
    seen = used if user or sees_all else charges.aggregate(total=Sum("amount"))["total"] or 0
    return Consumption(
        data_center=row,
        dimension=Dimension(dimension),
        user=user,
        sees_all=sees_all,
        used=used,
        limit=meter.limit if meter else None,
        others=max(0, used - seen),
        charges=charges.order_by("-amount", "-uid"),
        meters=[each for each in meters if each.subject == subject],
    )


def _user(actor: Actor, data_center: DataCenter, user_uid: UUID, *, sees_all: bool) -> User:
    found = User.objects.filter(pk=user_uid).first() if sees_all or user_uid == actor.uid else None
    if found is None or not (user_uid == actor.uid or _has_a_share(data_center, user_uid)):
        raise NotFound(_("There is no such share of this quota, or you may not see it."))
    return found


def _has_a_share(data_center: DataCenter, user_uid: UUID) -> bool:
    """Whether a user has something here: of everybody else not even the name is told."""
    charged = QuotaCharge.objects.filter(data_center=data_center, user_uid=user_uid)
    limited = QuotaAccount.objects.filter(data_center=data_center, subject_uid=user_uid)
    return charged.exists() or limited.exists() or people_of(data_center).filter(pk=user_uid).exists()


def consumers(actor: Actor, charges: Sequence[QuotaCharge]) -> list[Consumer]:
    """The things behind these charges, in their order, by a number of queries that does not grow with them."""
    owners = User.objects.in_bulk({row.user_uid for row in charges if row.user_uid})
    named: dict[tuple[str, UUID], tuple[str, UUID | None]] = {}
    for kind, names in _NAMES.items():
        uids = [row.consumer_uid for row in charges if row.consumer_kind == kind]
        if uids:
            named |= {(kind, uid): (name, machine) for uid, name, machine in names(actor, uids)}
    found = []
    for row in charges:
        name, machine = named.get((row.consumer_kind, row.consumer_uid), ("", None))
        owner = owners.get(row.user_uid) if row.user_uid else None
        found.append(Consumer(row.consumer_kind, row.consumer_uid, name, machine, row.amount, owner))
    return found


Named = Iterable[tuple[UUID, str, UUID | None]]


def _machines(actor: Actor, uids: list[UUID]) -> Named:
    rows = selectors.my_vms(actor).filter(pk__in=uids)
    return ((uid, name, None) for uid, name in rows.values_list("pk", "name"))


def _disks(actor: Actor, uids: list[UUID]) -> Named:
    rows = Disk.objects.filter(pk__in=uids, vm__in=selectors.my_vms(actor).order_by())
    return (
        (uid, f"{vm} · {name}", machine) for uid, name, vm, machine in rows.values_list("pk", "name", "vm__name", "vm")
    )


def _of_shelf(model: Any, permit: Permit) -> Callable[[Actor, list[UUID]], Named]:
    def names(actor: Actor, uids: list[UUID]) -> Named:
        rows = policy.visible(actor, permit, model.objects.filter(pk__in=uids))
        return ((uid, name, None) for uid, name in rows.values_list("pk", "name"))

    return names


_NAMES: dict[str, Callable[[Actor, list[UUID]], Named]] = {
    "vm": _machines,
    "disk": _disks,
    "image": _of_shelf(Image, Permit.IMAGE_VIEW),
    "template": _of_shelf(Template, Permit.TEMPLATE_VIEW),
}
