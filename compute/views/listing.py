"""The list of machines as its address asks for it: filters, order, and the place to go on from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import QueryDict

from compute.asked import asked_for
from compute.choices import VmStatusChoice
from compute.models import Vm
from tenants.views.asked import uid_or_none

PER_PAGE = 48
NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Listing:
    """What an address asks of the list. What it names wrongly is as if it were not there: a link stays a link."""

    query: str = ""
    data_center: UUID | None = None
    status: str = ""
    sort: str = ""
    after: tuple[str, UUID] | None = None

    @classmethod
    def of(cls, asked: QueryDict) -> Listing:
        """Read from a query string."""
        status, uid = asked.get("status", ""), uid_or_none(asked.get("after"))
        return cls(
            query=asked.get("q", "").strip()[:64],
            data_center=uid_or_none(asked.get("data_center")),
            status=status if status in VmStatusChoice.values else "",
            sort=NEWEST if asked.get("sort") == NEWEST else "",
            after=(asked.get("after_value", "")[:64], uid) if uid else None,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether it shows less than all there is."""
        return bool(self.query or self.data_center or self.status)

    def page(self, rows: QuerySet[Vm]) -> tuple[list[Vm], str]:
        """The machines of this page, and the query string of the next one, empty at the end."""
        found = list(self._beyond(self.matching(rows))[: PER_PAGE + 1])
        shown = found[:PER_PAGE]
        return shown, self._link(shown[-1]) if len(found) > PER_PAGE else ""

    def link(self, **changes: Any) -> str:
        """The query string of this list with something changed, from its first page."""
        asked = {"q": self.query, "data_center": self.data_center, "status": self.status, "sort": self.sort} | changes
        return urlencode({name: value for name, value in asked.items() if value})

    def matching(self, rows: QuerySet[Vm]) -> QuerySet[Vm]:
        """Those asked for, in the order asked for."""
        rows = asked_for(rows, text=self.query, data_center=self.data_center, status=self.status)
        return rows.order_by("-created_at", "-uid") if self.sort == NEWEST else rows.order_by("name", "uid")

    def _beyond(self, rows: QuerySet[Vm]) -> QuerySet[Vm]:
        if self.after is None:
            return rows
        value, uid = self.after
        if self.sort != NEWEST:
            return rows.filter(Q(name__gt=value) | Q(name=value, uid__gt=uid), name__gte=value)
        moment = _moment(value)
        if moment is None:
            return rows
        older = Q(created_at__lt=moment) | Q(created_at=moment, uid__lt=uid)
        return rows.filter(older, created_at__lte=moment)

    def _link(self, last: Vm) -> str:
        value = last.created_at.isoformat() if self.sort == NEWEST else last.name
        return self.link(after_value=value, after=last.pk)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
