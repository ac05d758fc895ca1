"""The page of the audit log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_POST, require_safe

from portal.common.actor import Actor
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.templatetags.frame import VERB_TITLES
from portal.events.codes import Outcome
from portal.events.models import Event
from tenants import policy, selectors
from tenants.pages import still_there
from tenants.permits import Permit
from tenants.services.audit import Wanted, export, one_by_one
from tenants.told import called, told_of
from tenants.views.asked import uid_or_none

PER_PAGE = 50
FILES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks of the log; what it names wrongly is as if it were not there."""

    query: str
    outcome: str
    verb: str
    since: str  # days, as a browser writes them
    until: str
    before: UUID | None = None

    @classmethod
    def of(cls, asked: QueryDict) -> Asked:
        """Read from a query string."""
        outcome, verb = asked.get("outcome", ""), asked.get("verb", "")
        return cls(
            asked.get("q", "").strip()[:64],
            outcome if outcome in {o.value for o in Outcome} else "",
            verb if verb in VERB_TITLES else "",
            _day(asked.get("since", "")),
            _day(asked.get("until", "")),
            uid_or_none(asked.get("before")),
        )

    @property
    def wanted(self) -> Wanted:
        """The same for the service: whole days of this portal's time."""
        since, until = (_midnight(day) for day in (self.since, self.until))
        until = until + timedelta(days=1) if until else None
        return Wanted(query=self.query, verb=self.verb, outcome=self.outcome, since=since, until=until)

    @property
    def named(self) -> dict[str, str]:
        """What is asked for, by the names of the form."""
        found = {name: getattr(self, name) for name in ("outcome", "verb", "since", "until")}
        return {name: value for name, value in ({"q": self.query} | found).items() if value}

    def page(self, rows: QuerySet[Event]) -> tuple[list[Event], str]:
        """The events of this page, and the query string of the older ones, empty at the end."""
        rows = self.wanted.of(rows)
        last = rows.filter(pk=self.before).first() if self.before else None
        if last is not None:
            rows = rows.filter(Q(at__lt=last.at) | Q(at=last.at, uid__lt=last.pk), at__lte=last.at)
        found = list(rows[: PER_PAGE + 1])
        more = len(found) > PER_PAGE
        return found[:PER_PAGE], urlencode(self.named | {"before": found[PER_PAGE - 1].pk}) if more else ""


@require_safe
@login_required
def event_list(request: HttpRequest) -> HttpResponse:
    """What happened, as far as this person may read it, newest first."""
    actor = actor_of(request)
    shows = policy.holds_everywhere(actor, Permit.EVENT_VIEW)
    context = {"section": "events", "shows_addresses": shows, "files": ("csv", "jsonl")}
    return events_page(request, selectors.events(actor), context)


@require_POST
@login_required  # type: ignore[arg-type]
def events_export(request: HttpRequest) -> HttpResponseBase:
    """The same as a file. A POST, for it is written into the log."""
    kind = request.POST.get("format", "csv")
    asked = replace(Asked.of(request.POST), before=None)
    return events_file(request, actor_of(request), asked.wanted, kind if kind in FILES else "csv")


def events_file(request: HttpRequest, actor: Actor, wanted: Wanted, kind: str) -> StreamingHttpResponse:
    """The answer that carries the file, a piece at a time."""
    pieces = export(actor, wanted, is_csv=kind == "csv")()
    content = one_by_one(pieces) if isinstance(request, ASGIRequest) else pieces
    name = f"events-{timezone.localtime():%Y-%m-%d-%H%M}.{kind}"
    return StreamingHttpResponse(
        content, content_type=FILES[kind], headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def events_page(
    request: HttpRequest, rows: QuerySet[Event], context: dict[str, Any], *, template: str = "tenants/event_list.html"
) -> HttpResponse:
    """A page of these events, as the address asks for it."""
    asked = Asked.of(request.GET)
    events, older = asked.page(rows)
    named = (event.object_uid for event in events if event.object_kind == "vm" and event.object_uid)
    there = set() if "vm" in context else still_there(actor_of(request), "vm", named)
    carried = {event.correlation_id for event in events if event.correlation_id}
    jobs = selectors.jobs(actor_of(request)).filter(pk__in=carried).values_list("pk", flat=True) if carried else ()
    verbs = sorted(((verb, str(title)) for verb, title in VERB_TITLES.items()), key=lambda one: one[1].casefold())
    shown = {
        "events": events,
        "there": there,
        "jobs": set(jobs),
        "facts": told_of(events),
        "called": called(events),
        "older": older,
        "asked": asked,
        "outcomes": [o.value for o in Outcome],
        "verbs": verbs,
    }
    return render(request, template, context | shown)


def _day(text: str) -> str:
    """A day that has a day before and one after in every time zone; empty for any other."""
    try:
        found = parse_date(text)
    except ValueError:
        return ""
    return text if found and MINYEAR < found.year < MAXYEAR else ""


def _midnight(day: str) -> datetime | None:
    found = parse_date(day) if day else None
    return timezone.make_aware(datetime.combine(found, time.min)) if found else None
