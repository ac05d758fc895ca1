"""What the quota ledger says of accounts and things: what is used, would be, and what each takes. Nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Sum

from portal.common.errors import Reason
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension


@dataclass(frozen=True, slots=True)
class Taken:
    """What something takes of one dimension."""

    dimension: Dimension
    amount: int


@dataclass(frozen=True, slots=True)
class Usage:
    """One dimension of one account."""

    dimension: str
    label: str
    used: int
    limit: int | None
    threshold_percent: int
    subject: str  # whose: the data center's, the user's, or a group's of his

    @property
    def after(self) -> int:
        """As it is: nothing is asked for."""
        return self.used

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
    subject: str  # whose: the data center's, the user's, or a group's of his
    reasons: tuple[Reason, ...]

    @property
    def label(self) -> str:
        """The dimension for people, in their language."""
        return str(Dimension(self.dimension).label)


def taken_by(consumer_uids: Iterable[UUID]) -> list[Taken]:
    """What these consumers take together, dimension by dimension in the order of the ledger's."""
    rows = QuotaCharge.objects.filter(consumer_uid__in=list(consumer_uids)).values("dimension").order_by()
    sums = {row["dimension"]: row["total"] for row in rows.annotate(total=Sum("amount"))}
    return [Taken(dimension, sums[dimension]) for dimension in Dimension if sums.get(dimension)]
