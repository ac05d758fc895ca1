"""The hallway of seeing the portal as somebody else: a super-admin's log-in looks as another user for a while, and only looks.

What is kept is a note in the session, which stays the super-admin's own. Whether it still holds is asked at every request
and at every check of a socket.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor, Door
from portal.common.errors import Conflict, NotFound, NotPermitted, PortalError, Reason
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, attempt, record
from tenants import policy
from tenants.models import User
from tenants.permits import Permit

SessionStore = import_module(settings.SESSION_ENGINE).SessionStore

KEY = "viewing"  # of the session
LONGEST = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class View:
    """As whom one looks, and until when."""

    user: User
    ends_at: datetime


class Over(StrEnum):
    """Why a view ended."""

    ASKED = "asked"
    LOG_OUT = "log_out"
    TIME = "time"
    ACCOUNT = "account"  # the one that was looked as is gone, disabled, or a super-admin now
    RIGHTS = "rights"  # the one who looks is no super-admin any more


def begin_view(actor: Actor, session: MutableMapping[str, Any], uid: UUID) -> User:
    """Let this log-in see the portal as another user for half an hour.

    For super-admins, by the pages alone, and onto nobody of their own rank: they see no more as one another, and the log
    would tell of two who may do everything. Raises ``NotPermitted``, ``NotFound`` or ``Conflict``.
    """
    with attempt(actor, "VIEW_BEGIN", Subject("user", uid)) as trial:
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        if not _runs_all(actor.user):
            raise NotPermitted(
                _("To see the portal as somebody else takes every permit on the whole system. Ask a super-admin.")
            )
        if actor.token_uid is not None or actor.door is not Door.PAGE:
            raise NotPermitted(_("A token speaks for its own user alone. Log in to see the portal as somebody else."))
        user = User.objects.filter(pk=uid, service_of=None).first()
        if user is None:
            raise NotFound(_("There is no such user."))
        trial.subject = Subject("user", user.pk, user.username)
        _refuse_unfit(actor, user)
        ends_at = timezone.now() + LONGEST
        trial.data = {"until": ends_at.isoformat()}
        session[KEY] = {"user": str(user.pk), "ends_at": ends_at.isoformat()}
        access_changed([actor.user.pk])  # his open consoles end, and his other pages are looked at anew
    return user


def end_view(actor: Actor, session: MutableMapping[str, Any], why: Over) -> None:
    """Let this log-in be its own user's again. ``actor`` is who really sits there."""
    kept = session.pop(KEY, None)
    if kept is None:
        return
    user = User.objects.filter(pk=kept["user"]).first()
    subject = Subject("user", UUID(kept["user"]), user.username if user else "")
    record(actor, "VIEW_END", outcome=Outcome.DONE, subject=subject, data={"why": str(why)})
    access_changed([actor.user.pk, *([user.pk] if user else [])])


def view_in(session: Mapping[str, Any], real: User) -> View | Over | None:
    """As whom this log-in looks, or why it does no longer; None where it is its own user's."""
    kept = session.get(KEY)
    if kept is None:
        return None
    ends_at = datetime.fromisoformat(kept["ends_at"])
    if ends_at <= timezone.now():
        return Over.TIME
    if not real.is_active or not _runs_all(real):
        return Over.RIGHTS
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    return Over.ACCOUNT if user is None or _runs_all(user) else View(user, ends_at)


def view_of_session(session_key: str, real: User) -> View | Over | None:
    """The same for the log-in of an open socket."""
    return view_in(SessionStore(session_key), real)


def is_viewing(session_key: str) -> bool:
    """Whether this log-in looks as somebody else, or did so until nobody noticed that it is over."""
    return bool(session_key) and SessionStore(session_key).get(KEY) is not None


def refuse_act(actor: Actor, error: PortalError, *, method: str, path: str) -> None:
    """Note that somebody tried to change something while he only looks."""
    record(
        actor,
        "VIEW_ACT",
        outcome=Outcome.REFUSED,
        subject=Subject("user", actor.uid, actor.name),
        severity=Severity.WARNING,
        message=error.detail,
        data={"code": error.code, "method": method[:20], "path": path[:200]},
    )


def _runs_all(user: User) -> bool:
    """A super-admin: with less one would see, and so have, what one does not hold."""
    return policy.runs_everything(Actor(user=user, door=Door.PAGE))


def _refuse_unfit(actor: Actor, user: User) -> None:
    found = []
    if user.pk == actor.uid:
        found.append(("view_self", _("That is yourself.")))
    elif _runs_all(user):
        text = _("%(name)s is a super-admin too, who sees what you see. Choose somebody of another rank.")
        found.append(("view_super_admin", text % {"name": user}))
    if not user.is_active:
        text = _("The account of %(name)s is disabled: it sees the log-in page alone. Enable it first.")
        found.append(("view_disabled", text % {"name": user}))
    if found:
        raise Conflict(" ".join(text for _code, text in found), reasons=tuple(Reason(*each) for each in found))
