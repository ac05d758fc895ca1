"""Writing the audit log. Services wrap an attempt in ``attempt``; jobs and sync call ``record`` for what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction

from portal.common.actor import Actor, Door
from portal.common.errors import PortalError, TooMany, overtaken, read_only_view
from portal.common.lasting import is_undone, outlasting
from portal.events.codes import Outcome, Severity, code_for
from portal.events.models import Event

LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about, by kind, uid and the name it has now."""

    kind: str
    uid: UUID | None
    name: str = ""
    data_center_uid: UUID | None = None


@dataclass(slots=True)
class Attempt:
    """What a service fills in while it works, so that the record says what it was about."""

    subject: Subject = field(default_factory=lambda: Subject("", None))
    correlation_id: UUID | None = None
    outcome: Outcome = Outcome.DONE
    data: dict[str, Any] = field(default_factory=dict)


def record(
    actor: Actor,
    verb: str,
    *,
    outcome: Outcome,
    subject: Subject,
    correlation_id: UUID | None = None,
    severity: Severity = Severity.NORMAL,
    message: str = "",
    data: dict[str, Any] | None = None,
    uid: UUID | None = None,
) -> Event:
    """Append one record. ``data`` must be free of secrets. ``uid``: its own, where that has been told already."""
    who = actor.answerable
    return Event.objects.create(
        uid=uid or uuid4(),
        code=code_for(verb, outcome),
        severity=severity,
        outcome=outcome,
        actor_uid=None if who is None else who.pk,
        actor_name=_storable(_name_of(actor)),
        door=actor.door,
        client_address=actor.client_address,
        request_id=actor.request_id,
        correlation_id=correlation_id,
        object_kind=subject.kind,
        object_uid=subject.uid,
        object_name=_storable(subject.name)[:150],
        data_center_uid=subject.data_center_uid,
        message=_storable(message)[:LONGEST_MESSAGE],
        data=_all_storable((data or {}) | ({"seen_as": actor.name} if actor.real_user else {})),
    )


def _name_of(actor: Actor) -> str:
    """Empty for who came by a door of people without being logged in: that was not the portal itself."""
    if actor.answerable is None:
        return "" if actor.door in (Door.PAGE, Door.API) else "portal"
    return str(actor.answerable.get_username())


def _storable(text: str) -> str:
    """What a database can keep of a text that may be an attack: PostgreSQL takes neither NUL nor lone surrogates."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _all_storable(value: Any) -> Any:
    """The same of every text in the data of a record."""
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, dict):
        return {_all_storable(name): _all_storable(one) for name, one in value.items()}
    return [_all_storable(one) for one in value] if isinstance(value, list | tuple) else value


@contextmanager
def attempt(actor: Actor, verb: str, subject: Subject | None = None) -> Iterator[Attempt]:
    """One transaction around an attempted change, with exactly one record of it.

    Leaves normally: everything is committed with a record of ``outcome`` (DONE, or REQUESTED when the service started a
    job). A ``PortalError`` (whoever sees the portal as somebody else gets one at once) rolls everything back and then records the refusal in a transaction of its own.
    """
    trial = Attempt(subject=subject or Subject("", None))
    try:
        if actor.real_user is not None:
            raise read_only_view(actor.name)
        with transaction.atomic():
            yield trial
            record(
                actor,
                verb,
                outcome=trial.outcome,
                subject=trial.subject,
                correlation_id=trial.correlation_id,
                data=trial.data,
            )
    except PortalError as error:
        _record_refusal(actor, verb, trial, error)
        raise
    except IntegrityError as error:  # another request removed what this one stands on, or was faster
        refused = overtaken()
        _record_refusal(actor, verb, trial, refused)
        raise refused from error


@contextmanager
def trying(actor: Actor, verb: str, subject: Subject | Callable[[], Subject] | None = None) -> Iterator[Attempt]:
    """Around what is asked before an attempt begins, so that its refusal leaves the record which the attempt would have left.

    What passes leaves none, for that is the attempt's. Neither does a refusal of which a record stayed, nor one that repeats
    itself without end (``TooMany``). ``subject`` may be asked for when there is something to record, to tell no more than
    the actor may see.
    """
    trial = Attempt(subject=subject if isinstance(subject, Subject) else Subject("", None))
    try:
        yield trial
    except PortalError as error:
        if not _is_told(error):
            if callable(subject):
                trial.subject = subject()
            _record_refusal(actor, verb, trial, error)
        raise


def _is_told(error: BaseException | None) -> bool:
    """Whether a record of it, or of what it came from, stayed: one in a transaction that was undone did not."""
    if not isinstance(error, PortalError):
        return False
    if isinstance(error, TooMany) and error.repeated:
        return True
    if error.event is not None and (is_undone() or Event.objects.filter(pk=error.event).exists()):
        return True
    return _is_told(error.__cause__)


def _record_refusal(actor: Actor, verb: str, trial: Attempt, error: PortalError) -> None:
    data: dict[str, Any] = {"code": error.code, "reasons": [reason.as_json() for reason in error.reasons]}
    error.event = uid = uuid4()

    def write(more: dict[str, bool]) -> None:
        record(
            actor,
            verb,
            outcome=Outcome.REFUSED,
            subject=trial.subject,
            severity=Severity.WARNING,
            message=str(error.detail),
            data=data | more,
            uid=uid,
        )

    outlasting(write)
