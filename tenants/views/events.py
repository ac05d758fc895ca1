"""The page of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.events.codes import Outcome
from portal.events.models import Event
from tenants import policy, selectors
from tenants.permits import Permit

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks of the log; what it names wrongly is as if it were not there."""

    query: str
    outcome: str
    before: UUID | None

    @classmethod
    def of(cls, asked: QueryDict) -> Asked:
        """Read from a query string."""
        outcome = asked.get("outcome", "")
        try:
            before = UUID(asked.get("before", ""))
        except ValueError:
            before = None
        known = outcome in {o.value for o in Outcome}
        return cls(asked.get("q", "").strip()[:64], outcome if known else "", before)

    def page(self, rows: QuerySet[Event]) -> tuple[list[Event], str]:
        """The events of this page, and the query string of the older ones, empty at the end."""
        if self.query:
            named = Q(object_name__icontains=self.query) | Q(actor_name__icontains=self.query)
            rows = rows.filter(named | Q(code__icontains=self.query))
        if self.outcome:
            rows = rows.filter(outcome=self.outcome)
        last = rows.filter(pk=self.before).first() if self.before else None
        if last is not None:
            rows = rows.filter(Q(at__lt=last.at) | Q(at=last.at, uid__lt=last.pk), at__lte=last.at)
        found = list(rows[: PER_PAGE + 1])
        return found[:PER_PAGE], self._older(found[PER_PAGE - 1]) if len(found) > PER_PAGE else ""

    def _older(self, last: Event) -> str:
        asked = {"q": self.query, "outcome": self.outcome, "before": last.pk}
        return urlencode({name: value for name, value in asked.items() if value})


@require_safe
@login_required
def event_list(request: HttpRequest) -> HttpResponse:
    """What happened, as far as this person may read it, newest first."""
    actor = actor_of(request)
    context = {"section": "events", "shows_addresses": policy.holds_everywhere(actor, Permit.EVENT_VIEW)}
    return events_page(request, selectors.events(actor), context)


def events_page(
    request: HttpRequest, rows: QuerySet[Event], context: dict[str, Any], *, template: str = "tenants/event_list.html"
) -> HttpResponse:
    """A page of these events, as the address asks for it."""
    asked = Asked.of(request.GET)
    events, older = asked.page(rows)
    shown = {"events": events, "older": older, "asked": asked, "outcomes": [o.value for o in Outcome]}
    return render(request, template, context | shown)
