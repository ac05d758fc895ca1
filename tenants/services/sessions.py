"""The hallway of log-ins of browsers: which there are, and ending them. Pages and consoles that lived by one end with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor, system_actor
from portal.common.errors import NotFound, NotPermitted
from portal.common.models import Session
from portal.common.sessions import kept, live_sessions, over_sessions
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt, record
from tenants.bounds import refuse_bounded
from tenants.models import User
from tenants.services.standing import refuse_above
from tenants.services.users import get_user

MOST_AT_ONCE = 2000  # of those that are over: more wait for the next look


def sessions_of(actor: Actor, user: User) -> QuerySet[Session]:
    """The live log-ins of oneself, or of anybody for those who manage users. The newest first.

    Raises ``NotPermitted`` for a token that is not for all: they are none of what it is for.
    """
    refuse_bounded(actor)
    get_user(actor, user.pk)
    return live_sessions().filter(user_uid=user.pk).order_by("-started_at", "-uid")


def is_present(actor: Actor, session: Session) -> bool:
    """Whether it is the one by which the actor asks."""
    return bool(actor.session_key) and session.session_key == kept(actor.session_key)


def end_session(actor: Actor, user: User, uid: UUID) -> None:
    """End one of them. Raises ``NotFound`` for one that is over already, ``NotPermitted`` where its user is above the actor."""
    with attempt(actor, "SESSION_END", Subject("user", user.pk, user.username)):
        _refuse_reader(actor)
        refuse_above(actor, user)
        row = sessions_of(actor, user).filter(uid=uid).first()
        if row is None:
            raise NotFound(_("There is no such log-in, or it has ended already."))
        row.delete()
        access_changed([user.pk])


def end_sessions(actor: Actor, user: User) -> int:
    """End all of them but the one by which the actor asks; how many they were."""
    with attempt(actor, "SESSION_END", Subject("user", user.pk, user.username)) as trial:
        _refuse_reader(actor)
        refuse_above(actor, user)
        rows = sessions_of(actor, user).exclude(session_key=kept(actor.session_key) if actor.session_key else "")
        ended = rows.delete()[0]
        trial.data = {"ended": ended}
        access_changed([user.pk])
    return ended


def log_out(actor: Actor) -> None:
    """Put on record that somebody logs out, which ends the log-in at hand right after."""
    user = actor.user
    if user is not None:
        with attempt(actor, "LOGOUT", Subject("user", user.pk, user.username)):
            pass


def end_left_alone() -> int:
    """Remove the log-ins that are over or were left alone too long, each with a record of which it was; how many.

    They are worth nothing in that moment, told or not. Two at once tell once.
    """
    with transaction.atomic():
        rows = list(over_sessions().filter(user_uid__isnull=False).select_for_update()[:MOST_AT_ONCE])
        people: dict[Any, str] = dict(
            User.objects.filter(pk__in={row.user_uid for row in rows}).values_list("pk", "username")
        )
        for row in rows:
            told = {"why": "age" if row.expire_date <= timezone.now() else "idle", "browser": row.browser}
            told |= {"began": row.started_at.isoformat(), "used": row.seen_at.isoformat(), "from": row.client_address}
            about = Subject("user", row.user_uid, people.get(row.user_uid, ""))
            record(system_actor(), "SESSION_OVER", outcome=Outcome.NOTED, subject=about, data=told)
        Session.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def _refuse_reader(actor: Actor) -> None:
    if actor.scope != "write":
        raise NotPermitted(_("A token that may only read cannot end log-ins."))
