"""THE quota accounting. Only this module writes the ledger.

Each charge is a row keyed by its consumer, so that charging twice counts once and releasing twice is once. Check and
increment are one conditional UPDATE in the caller's transaction, accounts in sorted order (sum-then-insert overshoots
under load, whatever the isolation). Arithmetic as oVirt's QuotaManager has it: refuse above limit x (1 + grace).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models import BigIntegerField, Case, F, Q, Sum, Value, When
from django.db.models.functions import Coalesce

from portal.common.actor import system_actor
from portal.common.errors import QuotaExceeded, Reason, overtaken
from portal.common.units import amount_text
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from tenants.models import DataCenter, QuotaAccount, QuotaCharge, User
from tenants.models.quota import Dimension, Enforcement, SubjectKind, group_uid
from tenants.quota_words import refusal
from tenants.usage import Forecast, Usage


@dataclass(frozen=True, slots=True)
class Consumer:
    """What is charged: a machine, a disk, a snapshot."""

    kind: str
    uid: UUID


Costs = Mapping[Consumer, Mapping[Dimension, int]]


def charge(
    consumer: Consumer,
    data_center: DataCenter,
    amounts: Mapping[Dimension, int],
    *,
    user_uid: UUID | None,
    found: bool = False,
) -> None:
    """Charge a consumer. Raises ``QuotaExceeded`` with a reason per dimension; nothing is written then.

    It counts for the data center, for the user's share of it, and for the groups that have a share and the user in them.
    ``found`` is for use found on a hypervisor: charged whatever the limit, and shown as over.
    """
    charge_all({consumer: amounts}, data_center, user_uid=user_uid, found=found)


def charge_all(costs: Costs, data_center: DataCenter, *, user_uid: UUID | None, found: bool = False) -> None:
    """The same of several consumers: all of them are charged or none, and a refusal tells of what they take together."""
    with transaction.atomic():
        hold([data_center.pk])
        charges = _new_charges(costs, data_center, user_uid)
        amounts: Counter[str] = Counter()
        for each in charges:
            amounts[each.dimension] += each.amount
        accounts = _open_accounts(data_center, user_uid, amounts) if charges else []
        _book(accounts, amounts, user_uid, found=found)
        _write_charges(charges, accounts)


def adjust(consumer: Consumer, amounts: Mapping[Dimension, int], *, found: bool = False) -> None:
    """Let what a consumer was charged be so much from now on: more is checked as a charge is, less never refused.

    Raises ``QuotaExceeded``, and ``LookupError`` for a dimension in which it was never charged; nothing is written then.
    """
    with transaction.atomic():
        rows = _charges_of(consumer, amounts)
        if missing := amounts.keys() - {Dimension(row.dimension) for row in rows}:
            raise LookupError(f"{consumer} was never charged for {sorted(missing)}")
        for row in rows:
            more = amounts[Dimension(row.dimension)] - row.amount
            _book(row.accounts.all(), {row.dimension: more}, row.user_uid, found=found or more < 0)
            QuotaCharge.objects.filter(pk=row.pk).update(amount=F("amount") + more)


def release(consumer: Consumer, dimensions: Iterable[Dimension] | None = None) -> None:
    """Give back what a consumer was charged, in all dimensions or these; nothing charged is nothing given back."""
    with transaction.atomic():
        rows = _charges_of(consumer, Dimension if dimensions is None else dimensions)
        accounts = [account for row in rows for account in row.accounts.all()]
        _book(accounts, {row.dimension: -row.amount for row in rows}, None, found=True)
        QuotaCharge.objects.filter(pk__in=[row.pk for row in rows]).delete()


def move(consumers: Iterable[Consumer], data_center: DataCenter, *, user_uid: UUID | None) -> None:
    """Let what these were charged count in another data center, and on another user's share. Raises as ``charge`` does."""
    with transaction.atomic():
        costs = {
            consumer: {Dimension(row.dimension): row.amount for row in _charges_of(consumer, Dimension)}
            for consumer in consumers
        }
        for consumer in costs:
            release(consumer)
        charge_all(costs, data_center, user_uid=user_uid)


def hold(data_centers: Iterable[UUID]) -> None:
    """One transaction at a time in these data centers' ledgers and in what may be placed there, until it commits.

    A request books several consumers, and not all in the same order (a machine, then its disk; deleting, the other way
    round): without this, two of them can wait for each other's accounts. SQLite's transactions do this by themselves.
    """
    if not connection.features.has_select_for_update:
        return
    for uid in sorted(set(data_centers)):
        list(DataCenter.objects.select_for_update(no_key=True).filter(pk=uid).values_list("pk"))


def _charges_of(consumer: Consumer, dimensions: Iterable[Dimension]) -> list[QuotaCharge]:
    """A consumer's charges with the accounts they were booked on, read when their data centers are held."""
    rows = QuotaCharge.objects.filter(
        consumer_kind=consumer.kind, consumer_uid=consumer.uid, dimension__in=list(dimensions)
    )
    hold(rows.values_list("data_center_id", flat=True))
    return list(rows.prefetch_related("accounts").order_by("dimension"))


def _new_charges(costs: Costs, data_center: DataCenter, user_uid: UUID | None) -> list[QuotaCharge]:
    """What these consumers were not charged for yet, not written yet. The data center is held."""
    kinds, uids = {consumer.kind for consumer in costs}, [consumer.uid for consumer in costs]
    there = QuotaCharge.objects.filter(consumer_kind__in=kinds, consumer_uid__in=uids)
    known = set(there.values_list("consumer_kind", "consumer_uid", "dimension"))
    return [
        QuotaCharge(
            consumer_kind=consumer.kind,
            consumer_uid=consumer.uid,
            dimension=dimension,
            data_center=data_center,
            amount=amount,
            user_uid=user_uid,
        )
        for consumer, amounts in costs.items()
        for dimension, amount in amounts.items()
        if (consumer.kind, consumer.uid, dimension) not in known
    ]


def _write_charges(charges: list[QuotaCharge], accounts: list[QuotaAccount]) -> None:
    """The charges, and on which accounts each was booked: who leaves a group later is released where he was charged."""
    QuotaCharge.objects.bulk_create(charges)
    bookings = QuotaCharge.accounts.through
    bookings.objects.bulk_create(
        bookings(quotacharge_id=each.pk, quotaaccount_id=account.pk)
        for each in charges
        for account in accounts
        if account.dimension == each.dimension
    )


def _accounts(data_center: DataCenter, user_uid: UUID | None, dimensions: Iterable[str]) -> list[QuotaAccount]:
    """The accounts a charge counts on that are there, always in the same order."""
    whose = Q(subject_kind=SubjectKind.DATA_CENTER)
    if user_uid is not None:
        whose |= Q(subject_kind=SubjectKind.USER, subject_uid=user_uid) | Q(subject_kind=SubjectKind.GROUP)
    rows = list(QuotaAccount.objects.filter(whose, data_center=data_center, dimension__in=list(dimensions)))
    others = {row.subject_uid for row in rows if row.subject_kind == SubjectKind.GROUP}
    if others and user_uid is not None:
        groups = User.groups.through.objects.filter(user_id=user_uid).values_list("group_id", flat=True)
        others -= {group_uid(pk) for pk in groups}
    return [row for row in rows if row.subject_uid not in others]


def _open_accounts(data_center: DataCenter, user_uid: UUID | None, dimensions: Iterable[str]) -> list[QuotaAccount]:
    """The same, those of the data center and the user opened where they are not there yet. The data center is held."""
    subjects = [(SubjectKind.DATA_CENTER, data_center.pk)]
    subjects += [(SubjectKind.USER, user_uid)] if user_uid else []
    there = _accounts(data_center, user_uid, dimensions)
    known = {(account.subject_kind, account.dimension) for account in there}
    return there + QuotaAccount.objects.bulk_create(
        QuotaAccount(data_center=data_center, subject_kind=kind, subject_uid=uid, dimension=dimension)
        for kind, uid in subjects
        for dimension in sorted(dimensions)
        if (kind, dimension) not in known
    )


def _book(accounts: Iterable[QuotaAccount], amounts: Mapping[str, int], user_uid: UUID | None, *, found: bool) -> None:
    """Change what is used of each account by the amount of its dimension, or none. Raises ``QuotaExceeded``.

    The accounts were read when their data center was held; that nothing overshoots is up to the UPDATE all the same.
    """
    changes = {account: amounts[account.dimension] for account in accounts if amounts[account.dimension]}
    tight = [] if found else [account for account, amount in changes.items() if not _fits(account, amount)]
    over = [_refusal(account, changes[account], user_uid) for account in tight]
    if over:
        raise QuotaExceeded(" ".join(reason.text for reason in over), reasons=tuple(over))
    if changes and _add(changes, found=found) != len(changes):
        raise overtaken()
    for account, amount in changes.items():
        _tell_passed(account, amount)


def _fits(account: QuotaAccount, amount: int) -> bool:
    is_free = account.limit is None or account.enforcement != Enforcement.ENFORCED
    return is_free or account.used + amount <= account.ceiling


def _add(changes: Mapping[QuotaAccount, int], *, found: bool) -> int:
    """Change all of them in one UPDATE; how many had room."""
    amounts = {account.dimension: amount for account, amount in changes.items()}
    more = Case(
        *(When(dimension=key, then=Value(amount)) for key, amount in amounts.items()), output_field=BigIntegerField()
    )
    rows = QuotaAccount.objects.annotate(then=F("used") + more).filter(pk__in=[account.pk for account in changes])
    if not found:
        ceiling = F("limit") + F("limit") * F("grace_percent") / 100
        is_free = Q(limit__isnull=True) | ~Q(enforcement=Enforcement.ENFORCED)
        rows = rows.filter(is_free | Q(limit__gte=0, then__lte=ceiling))
    return rows.update(used=F("then"))


def _tell_passed(account: QuotaAccount, amount: int) -> None:
    """Record, once, that use went past the threshold, or past the limit (by grace, audit mode, or found there).

    oVirt's ``USER_EXCEEDED_QUOTA_CLUSTER_THRESHOLD`` and ``..._LIMIT``. The account is as it was before the change.
    """
    if account.limit is None or account.enforcement == Enforcement.DISABLED:
        return
    marks = {"QUOTA_LIMIT_PASSED": account.limit, "QUOTA_THRESHOLD_PASSED": account.threshold}
    passed = next((code for code, mark in marks.items() if account.used <= mark < account.used + amount), None)
    if passed:
        data = {
            "dimension": account.dimension,
            "subject": account.subject_kind,
            "subject_uid": str(account.subject_uid),
        }
        figures = {"limit": account.limit, "threshold": account.threshold, "used": account.used + amount}
        record(
            system_actor(),
            passed,
            outcome=Outcome.NOTED,
            severity=Severity.WARNING,
            subject=Subject("quota", account.pk, Dimension(account.dimension).value, account.data_center_id),
            data=data | figures,
        )


def limits(data_center: DataCenter, user_uid: UUID | None = None) -> dict[Dimension, int | None]:
    """The limits of the data center or of a user's share, in every dimension; None is no limit."""
    kind, uid = (SubjectKind.USER, user_uid) if user_uid else (SubjectKind.DATA_CENTER, data_center.pk)
    rows = QuotaAccount.objects.filter(data_center=data_center, subject_kind=kind, subject_uid=uid)
    return dict.fromkeys(Dimension) | {Dimension(row.dimension): row.limit for row in rows}


def shares(data_center: DataCenter, users: Iterable[UUID]) -> dict[UUID, list[Usage]]:
    """Use and limit of these users' shares; limited or used dimensions only."""
    rows = QuotaAccount.objects.filter(
        data_center=data_center, subject_kind=SubjectKind.USER, subject_uid__in=list(users)
    )
    found: dict[UUID, list[Usage]] = {}
    for row in rows:
        if row.limit is not None or row.used:
            found.setdefault(row.subject_uid, []).append(_usage(row))
    return found


def usage(data_center: DataCenter, user_uid: UUID | None = None) -> list[Usage]:
    """Use and limit of the data center, and of the user's and his groups' shares; limited or used dimensions only."""
    rows = _accounts(data_center, user_uid, Dimension)
    return [_usage(row) for row in rows if row.limit is not None or row.used]


def _usage(row: QuotaAccount) -> Usage:
    label = str(Dimension(row.dimension).label)
    return Usage(row.dimension, label, row.used, row.limit, row.threshold_percent, row.subject_kind)


def what_if(data_center: DataCenter, user_uid: UUID | None, amounts: Mapping[Dimension, int]) -> list[Forecast]:
    """What a charge would do, without doing it."""
    rows = _accounts(data_center, user_uid, amounts)
    return [_forecast(row, amounts[Dimension(row.dimension)], user_uid) for row in rows]


def _forecast(row: QuotaAccount, amount: int, user_uid: UUID | None) -> Forecast:
    reasons = () if _fits(row, amount) else (_refusal(row, amount, user_uid),)
    return Forecast(row.dimension, row.used, row.used + amount, row.limit, row.subject_kind, reasons)


def _refusal(account: QuotaAccount, amount: int, user_uid: UUID | None) -> Reason:
    data: dict[str, Any] = {
        "dimension": account.dimension,
        "subject": account.subject_kind,
        "limit": account.limit or 0,
        "grace_percent": account.grace_percent,
        "used": account.used,
        "requested": amount,
        "shortfall": max(0, account.used + amount - account.ceiling),
        "top_consumers": _top(account, user_uid),
    }
    figures = {k: amount_text(data[k], account.dimension) for k in ("limit", "used", "requested", "shortfall")}
    text = refusal(SubjectKind(account.subject_kind), Dimension(account.dimension), figures)
    return Reason("quota_exceeded", text, data=data)


def _top(account: QuotaAccount, user_uid: UUID | None) -> list[dict[str, Any]]:
    """What of the asking user's own takes most: that he can do something about, and nobody else's is told."""
    rows = account.charges.filter(user_uid=user_uid) if user_uid else account.charges.none()
    return [
        {"kind": kind, "id": str(uid), "amount": amount}
        for kind, uid, amount in rows.order_by("-amount").values_list("consumer_kind", "consumer_uid", "amount")[:3]
    ]


def set_limits(
    data_center: DataCenter,
    limits: Mapping[Dimension, int | None],
    *,
    user_uid: UUID | None = None,
    group: Group | None = None,
    grace_percent: int = 0,
) -> None:
    """Set limits of the data center, or of a user or group in it.

    Below present use is allowed: nothing is stopped, new is refused.
    """
    kind, subject = SubjectKind.DATA_CENTER, data_center.pk
    if group is not None:
        kind, subject = SubjectKind.GROUP, group_uid(group.pk)
    elif user_uid is not None:
        kind, subject = SubjectKind.USER, user_uid
    with transaction.atomic():
        hold([data_center.pk])
        for dimension in sorted(limits):
            QuotaAccount.objects.update_or_create(
                data_center=data_center,
                subject_kind=kind,
                subject_uid=subject,
                dimension=dimension,
                defaults={"limit": limits[dimension], "grace_percent": grace_percent},
            )
        if group is not None:
            rebook_group(group)


def rebook_group(group: Group) -> None:
    """Let a group's shares count what its present members use: when it gets a share, and when members come or go."""
    members = list(User.objects.filter(groups=group).values_list("pk", flat=True))
    accounts = QuotaAccount.objects.filter(subject_kind=SubjectKind.GROUP, subject_uid=group_uid(group.pk))
    with transaction.atomic():
        hold(accounts.values_list("data_center_id", flat=True))
        for account in accounts:
            charges = QuotaCharge.objects.filter(
                data_center=account.data_center_id, dimension=account.dimension, user_uid__in=members
            )
            account.charges.set(charges)
            used = sum(charge.amount for charge in charges)
            QuotaAccount.objects.filter(pk=account.pk).update(used=used)


def recount_drift(data_center: DataCenter) -> list[dict[str, Any]]:
    """Where an account and the sum of its charges differ; reported, never silently mended."""
    rows = QuotaAccount.objects.filter(data_center=data_center).annotate(recount=Coalesce(Sum("charges__amount"), 0))
    return [
        {
            "account": str(row.pk),
            "dimension": row.dimension,
            "subject": row.subject_kind,
            "used": row.used,
            "recount": row.recount,
        }
        for row in rows.exclude(used=F("recount"))
    ]
