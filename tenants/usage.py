"""Reading what the quota ledger says of things: what each takes. Nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Sum

from tenants.models import QuotaCharge
from tenants.models.quota import Dimension


@dataclass(frozen=True, slots=True)
class Taken:
    """What something takes of one dimension."""

    dimension: Dimension
    amount: int


def taken_by(consumer_uids: Iterable[UUID]) -> list[Taken]:
    """What these consumers take together, dimension by dimension in the order of the ledger's."""
    rows = QuotaCharge.objects.filter(consumer_uid__in=list(consumer_uids)).values("dimension").order_by()
    sums = {row["dimension"]: row["total"] for row in rows.annotate(total=Sum("amount"))}
    return [Taken(dimension, sums[dimension]) for dimension in Dimension if sums.get(dimension)]
