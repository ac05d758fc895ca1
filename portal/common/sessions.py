"""Log-ins of browsers: Django's sessions in the database, which keeps a hash of each key instead of the key.

Whoever reads the table (a backup, a query that went astray) cannot log in by it. A plain hash will do: a key is 32 random
characters. Beside the hash stands what a person needs to know his log-ins again: since when, last used when, from where, by
which browser. A log-in ends at ``SESSION_COOKIE_AGE`` after it began, whatever is done with it, and at
``SESSION_IDLE_SECONDS`` after it was last used. What a page's socket asks by itself is no use; an open console's traffic is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from portal.common.models import Session

SEEN_EVERY = timedelta(minutes=1)
LONGEST_BROWSER = 200
OWES_FACTOR = "owes_factor"  # in a session whose person must set up a second factor before anything else


def kept(session_key: str) -> str:
    """What the database has for a key: 40 characters, as long as Django's column."""
    return hashlib.blake2b(session_key.encode(), digest_size=20, person=b"session").hexdigest()


def live_sessions() -> QuerySet[Session]:
    """The sessions that are neither over nor left alone for too long."""
    now = timezone.now()
    return Session.objects.filter(expire_date__gt=now, seen_at__gt=_left_alone(now))


def over_sessions() -> QuerySet[Session]:
    """The sessions that nobody can use any more, oldest first."""
    now = timezone.now()
    return Session.objects.filter(Q(expire_date__lte=now) | Q(seen_at__lte=_left_alone(now))).order_by("expire_date")


def users_logged_in() -> QuerySet[Session, UUID | None]:
    """The uids of all whom a live session logs in, to be asked for or within another question."""
    return live_sessions().filter(user_uid__isnull=False).values_list("user_uid", flat=True)


def began_at(session_key: str) -> datetime | None:
    """Since when the live session of this key is there; None where there is none."""
    return live_sessions().filter(session_key=kept(session_key)).values_list("started_at", flat=True).first()


def note_use(session_key: str, **found: str) -> None:
    """Count a session as used now, at most once a minute. ``found``: from where it is used, when that is another place."""
    now = timezone.now()
    rows = Session.objects.filter(session_key=kept(session_key))
    (rows if found else rows.filter(seen_at__lt=now - SEEN_EVERY)).update(seen_at=now, **found)


def _left_alone(now: datetime) -> datetime:
    return now - timedelta(seconds=settings.SESSION_IDLE_SECONDS)


class SessionStore(db.SessionStore):
    """What cookies carry is ``session_key``; what rows carry is ``kept`` of it. For synchronous code alone, as ours is."""

    client: tuple[str, str] | None = None  # the address and browser of the request at hand
    row: Session | None = None  # as it was read or saved last

    @classmethod
    def get_model_class(cls) -> type[Session]:
        """Our own table."""
        return Session

    @classmethod
    def clear_expired(cls) -> None:
        """Remove the sessions of nobody that are over; whoever removes a log-in that is over puts that on record."""
        over_sessions().filter(user_uid=None).delete()

    def exists(self, session_key: str) -> bool:
        """Whether there is such a session."""
        return Session.objects.filter(session_key=kept(session_key)).exists()

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        """The row to be saved. Saving does not put off the end of a log-in."""
        made = super().create_model_instance(data)
        row = Session(session_key=kept(made.session_key), session_data=made.session_data, expire_date=made.expire_date)
        row.user_uid = UUID(data[SESSION_KEY]) if SESSION_KEY in data else None
        before = self.row
        if before is not None and before.user_uid == row.user_uid:
            row.started_at, row.client_address, row.browser = before.started_at, before.client_address, before.browser
            row.uid = before.uid if before.session_key == row.session_key else row.uid
        if self.client is not None:
            row.client_address, row.browser = self.client
        if row.user_uid is not None:
            end = row.started_at + timedelta(seconds=settings.SESSION_COOKIE_AGE)
            row.expire_date = min(row.expire_date, end)
        self.row = row
        return row

    def delete(self, session_key: str | None = None) -> None:
        """End this session, or the one of that key."""
        key = session_key or self.session_key
        if key:
            Session.objects.filter(session_key=kept(key)).delete()

    def flush(self) -> None:
        """End it, and be another from now on."""
        super().flush()
        self.row = None

    def note_use(self) -> None:
        """Count a session that logs somebody in as used by the request at hand."""
        if self.row is None or self.row.user_uid is None or not self.session_key or self.client is None:
            return
        if self.row.client_address not in ("", self.client[0]):
            note_use(self.session_key, client_address=self.client[0], browser=self.client[1])
        elif self.row.seen_at < timezone.now() - SEEN_EVERY:
            note_use(self.session_key)

    def _get_session_from_db(self) -> Any:
        self.row = live_sessions().filter(session_key=kept(self.session_key or "")).first()
        if self.row is None:
            self._session_key = None
        return self.row


class SeenMiddleware:
    """Tells a request's session from where it is used, and counts it as used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        browser = "".join(char for char in request.headers.get("User-Agent", "") if char.isprintable())
        session: SessionStore = request.session  # type: ignore[assignment]
        session.client = (request.client_address, browser[:LONGEST_BROWSER])  # type: ignore[attr-defined]
        response = self.get_response(request)
        session.note_use()
        return response
