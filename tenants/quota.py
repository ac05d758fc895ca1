"""THE quota accounting. Only this module writes the ledger.

Each charge is a row keyed by its consumer, so that charging twice counts once and releasing twice is once. Check and
increment are one conditional UPDATE in the caller's transaction, accounts in sorted order (sum-then-insert overshoots
under load, whatever the isolation). Arithmetic as oVirt's QuotaManager has it: refuse above limit x (1 + grace).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils.translation import gettext as _

from portal.common.errors import QuotaExceeded, Reason
from portal.common.units import amount_text
from tenants.models import DataCenter, QuotaAccount, QuotaCharge
from tenants.models.quota import Dimension, Enforcement, SubjectKind


@dataclass(frozen=True, slots=True)
class Consumer:
    """What is charged: a machine, a disk, a snapshot."""

    kind: str
    uid: UUID


@dataclass(frozen=True, slots=True)
class Usage:
    """One dimension of one account."""

    dimension: str
    label: str
    used: int
    limit: int | None
    threshold_percent: int
    own: bool  # the user's share, as opposed to the whole data center's

    @property
    def percent(self) -> int:
        """Used of limit; 0 when unlimited."""
        return 0 if not self.limit else min(100, self.used * 100 // self.limit)

    @property
    def past_threshold(self) -> bool:
        """Whether it is time to warn."""
        return self.limit is not None and self.used * 100 > self.limit * self.threshold_percent


@dataclass(frozen=True, slots=True)
class Forecast:
    """One dimension before and after a request, and why not."""

    dimension: str
    used: int
    after: int
    limit: int | None
    own: bool
    reasons: tuple[Reason, ...]


def charge(
    consumer: Consumer,
    data_center: DataCenter,
    amounts: dict[Dimension, int],
    *,
    user_uid: UUID | None,
    found: bool = False,
) -> None:
    """Charge a consumer. Raises ``QuotaExceeded`` with a reason per dimension; nothing is written then.

    ``found`` is for use found on a hypervisor: charged whatever the limit, and shown as over. Must run in a transaction.
    """
    with transaction.atomic():
        _hold([data_center.pk])
        fresh = _write_charges(consumer, data_center, amounts, user_uid)
        over = _book(data_center, fresh, user_uid, found=found)
        if over:
            raise QuotaExceeded(_sentence(over), reasons=tuple(over))


def _hold(data_centers: Iterable[UUID]) -> None:
    """One transaction at a time in a data center's ledger, until it commits.

    A request books several consumers, and not all in the same order (a machine, then its disk; deleting, the other way
    round): without this, two of them can wait for each other's accounts. SQLite's transactions do this by themselves.
    """
    for uid in sorted(set(data_centers)):
        list(DataCenter.objects.select_for_update(no_key=True).filter(pk=uid).values_list("pk"))


def _write_charges(
    consumer: Consumer, data_center: DataCenter, amounts: dict[Dimension, int], user_uid: UUID | None
) -> dict[Dimension, int]:
    """Write the charges that are not there yet; which they are. The data center is held, so nobody writes meanwhile."""
    there = set(
        QuotaCharge.objects.filter(consumer_kind=consumer.kind, consumer_uid=consumer.uid).values_list(
            "dimension", flat=True
        )
    )
    fresh = {dimension: amount for dimension, amount in amounts.items() if dimension not in there}
    QuotaCharge.objects.bulk_create(
        QuotaCharge(
            consumer_kind=consumer.kind,
            consumer_uid=consumer.uid,
            dimension=dimension,
            data_center=data_center,
            amount=amount,
            user_uid=user_uid,
        )
        for dimension, amount in fresh.items()
    )
    return fresh


def _book(
    data_center: DataCenter, amounts: dict[Dimension, int], user_uid: UUID | None, *, found: bool
) -> list[Reason]:
    """Add to every account concerned, always in the same order, so that no two transactions wait for each other."""
    over = []
    for kind, subject in _subjects(data_center, user_uid):
        known = {
            row.dimension: row
            for row in QuotaAccount.objects.filter(data_center=data_center, subject_kind=kind, subject_uid=subject)
        }
        for dimension in sorted(amounts):
            account = known.get(dimension) or _account(data_center, kind, subject, dimension)
            if not _add(account, amounts[dimension], found=found):
                over.append(_refusal(account, amounts[dimension]))
    return over


def _subjects(data_center: DataCenter, user_uid: UUID | None) -> list[tuple[str, UUID]]:
    found: list[tuple[str, UUID]] = [(SubjectKind.DATA_CENTER, data_center.pk)]
    return found + ([(SubjectKind.USER, user_uid)] if user_uid else [])


def _account(data_center: DataCenter, kind: str, subject: UUID, dimension: str) -> QuotaAccount:
    row, _made = QuotaAccount.objects.get_or_create(
        data_center=data_center, subject_kind=kind, subject_uid=subject, dimension=dimension
    )
    return row


def _add(account: QuotaAccount, amount: int, *, found: bool) -> bool:
    rows = QuotaAccount.objects.filter(pk=account.pk)
    if not found:
        fits = (
            Q(limit__isnull=True)
            | ~Q(enforcement=Enforcement.ENFORCED)
            | Q(limit__gte=0, used__lte=F("limit") + F("limit") * F("grace_percent") / 100 - amount)
        )
        rows = rows.filter(fits)
    return bool(rows.update(used=F("used") + amount))


def release(consumer: Consumer, dimensions: Iterable[Dimension] | None = None) -> None:
    """Give back what a consumer was charged, in all dimensions or these; nothing charged is nothing given back."""
    with transaction.atomic():
        rows = QuotaCharge.objects.filter(consumer_kind=consumer.kind, consumer_uid=consumer.uid)
        if dimensions is not None:
            rows = rows.filter(dimension__in=list(dimensions))
        _hold(rows.values_list("data_center_id", flat=True))
        for row in rows.select_related("data_center").order_by("dimension"):
            # Only the one whose delete hits the row books it back.
            if QuotaCharge.objects.filter(pk=row.pk).delete()[0]:
                for kind, subject in _subjects(row.data_center, row.user_uid):
                    account = _account(row.data_center, kind, subject, row.dimension)
                    QuotaAccount.objects.filter(pk=account.pk).update(used=F("used") - row.amount)


def usage(data_center: DataCenter, user_uid: UUID | None = None) -> list[Usage]:
    """Use and limit of the data center, and of the user's share in it; limited or used dimensions only."""
    wanted = Q(subject_kind=SubjectKind.DATA_CENTER)
    if user_uid is not None:
        wanted |= Q(subject_kind=SubjectKind.USER, subject_uid=user_uid)
    rows = QuotaAccount.objects.filter(wanted, data_center=data_center)
    return [
        Usage(
            row.dimension,
            str(Dimension(row.dimension).label),
            row.used,
            row.limit,
            row.threshold_percent,
            row.subject_kind == SubjectKind.USER,
        )
        for row in rows
        if row.limit is not None or row.used
    ]


def what_if(data_center: DataCenter, user_uid: UUID | None, amounts: dict[Dimension, int]) -> list[Forecast]:
    """What a charge would do, without doing it."""
    subjects = dict(_subjects(data_center, user_uid))
    rows = QuotaAccount.objects.filter(
        data_center=data_center, subject_uid__in=list(subjects.values()), dimension__in=list(amounts)
    )
    return [_forecast(row, amounts[Dimension(row.dimension)]) for row in rows]


def _forecast(row: QuotaAccount, amount: int) -> Forecast:
    fits = (
        row.limit is None
        or row.enforcement != Enforcement.ENFORCED
        or row.used + amount <= row.limit + row.limit * row.grace_percent // 100
    )
    reasons = () if fits else (_refusal(row, amount),)
    return Forecast(
        row.dimension, row.used, row.used + amount, row.limit, row.subject_kind == SubjectKind.USER, reasons
    )


def _refusal(account: QuotaAccount, amount: int) -> Reason:
    account.refresh_from_db()
    limit = account.limit or 0
    ceiling = limit + limit * account.grace_percent // 100
    own = account.subject_kind == SubjectKind.USER
    data: dict[str, Any] = {
        "dimension": account.dimension,
        "subject": account.subject_kind,
        "limit": limit,
        "grace_percent": account.grace_percent,
        "used": account.used,
        "requested": amount,
        "shortfall": max(0, account.used + amount - ceiling),
    }
    if own:
        data["top_consumers"] = _top(account)
    return Reason("quota_exceeded", _refusal_text(account.dimension, data, own=own), data=data)


def _refusal_text(dimension: str, data: Mapping[str, Any], *, own: bool) -> str:
    sentence = (
        _(
            "Your share of %(dimension)s: limit %(limit)s, in use %(used)s, asked for %(requested)s, %(shortfall)s over. Choose less, delete or stop something, or ask for a larger quota."
        )
        if own
        else _(
            "The data center's %(dimension)s: limit %(limit)s, in use %(used)s, asked for %(requested)s, %(shortfall)s over. Choose less, delete or stop something, or ask for a larger quota."
        )
    )
    figures = {k: amount_text(data[k], dimension) for k in ("limit", "used", "requested", "shortfall")}
    return sentence % {"dimension": Dimension(dimension).label, **figures}


def _top(account: QuotaAccount) -> list[dict[str, Any]]:
    rows = QuotaCharge.objects.filter(
        data_center=account.data_center_id, dimension=account.dimension, user_uid=account.subject_uid
    )
    return [
        {"kind": kind, "id": str(uid), "amount": amount}
        for kind, uid, amount in rows.order_by("-amount").values_list("consumer_kind", "consumer_uid", "amount")[:3]
    ]


def _sentence(over: list[Reason]) -> str:
    return " ".join(reason.text for reason in over)


def set_limits(
    data_center: DataCenter,
    limits: Mapping[Dimension, int | None],
    *,
    user_uid: UUID | None = None,
    grace_percent: int = 0,
) -> None:
    """Set limits of the data center, or of a user in it; below present use is allowed: nothing is stopped, new is refused."""
    kind, subject = (SubjectKind.USER, user_uid) if user_uid else (SubjectKind.DATA_CENTER, data_center.pk)
    with transaction.atomic():
        for dimension in sorted(limits):
            account = _account(data_center, kind, subject, dimension)
            QuotaAccount.objects.filter(pk=account.pk).update(limit=limits[dimension], grace_percent=grace_percent)


def recount_drift(data_center: DataCenter) -> list[dict[str, Any]]:
    """Where an account and the sum of its charges differ; reported, never silently mended."""
    rows = QuotaCharge.objects.filter(data_center=data_center)
    whole = {
        (SubjectKind.DATA_CENTER, data_center.pk, d): s
        for d, s in rows.values_list("dimension").annotate(Sum("amount"))
    }
    own = {
        (SubjectKind.USER, u, d): s
        for u, d, s in rows.exclude(user_uid=None).values_list("user_uid", "dimension").annotate(Sum("amount"))
    }
    sums = whole | own
    found = []
    for account in QuotaAccount.objects.filter(data_center=data_center):
        real = sums.get((SubjectKind(account.subject_kind), account.subject_uid, account.dimension), 0)
        if real != account.used:
            found.append(
                {
                    "account": str(account.pk),
                    "dimension": account.dimension,
                    "subject": account.subject_kind,
                    "used": account.used,
                    "recount": real,
                }
            )
    return found
