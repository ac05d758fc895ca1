"""What a job tells of an error: a stable code and a public sentence. Everything else of it goes to the log alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext_lazy as _

from portal.common.errors import PortalError, Unavailable
from portal.common.phrases import said
from portal.jobs.models import Job

log = logging.getLogger(__name__)

# The engine's own sentences, by code: kept in English in the row, shown in the reader's language.
SENTENCES: dict[str, Any] = {
    "cancelled": _("The job was cancelled."),
    "database_busy": _("The portal's database does not answer."),
    "internal_error": _("Something unexpected went wrong. Give the administrators the request number."),
    "timed_out": _("It took too long."),
    "worker_lost": _("The worker was lost in this step again and again."),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as users may see it. ``private`` is for the log; ``cause`` too, when nobody foresaw the error.

    ``figures`` are what was put into ``pattern``, which made the text: so it can be said in another language.
    """

    code: str
    text: str
    can_retry: bool = False
    private: str = ""
    reasons: list[dict[str, Any]] = field(default_factory=list)
    cause: Exception | None = None
    pattern: str = ""
    figures: dict[str, str] = field(default_factory=dict)


def own_failure(code: str) -> Failure:
    """A failure that the engine itself finds."""
    return Failure(code, str(SENTENCES[code]))


def describe(error: Exception) -> Failure:
    """Any error that may leave a step. Drivers' errors are known by their attributes, for the engine knows no driver."""
    if isinstance(error, PortalError):
        return Failure(
            error.code,
            str(error.detail),
            can_retry=isinstance(error, Unavailable),
            private=error.private,
            reasons=[reason.as_json() for reason in error.reasons],
        )
    if hasattr(error, "public") and hasattr(error, "code"):
        return Failure(
            str(error.code),
            str(error.public),
            can_retry=bool(getattr(error, "can_retry", False)),
            private=str(getattr(error, "detail", "")),
            pattern=str(getattr(error, "pattern", "")),
            figures=getattr(error, "figures", {}),
        )
    if isinstance(error, (OperationalError, InterfaceError)):
        code = "database_busy"
        return Failure(code, str(SENTENCES[code]), can_retry=True, private=str(error))
    return Failure("internal_error", str(SENTENCES["internal_error"]), private=type(error).__name__, cause=error)


def log_failure(job: Job, step: str, failure: Failure) -> None:
    """What the operator needs to find out why."""
    log.warning(
        "job %s %s step %s: %s: %s (%s)",
        job.uid,
        job.operation,
        step,
        failure.code,
        failure.text,
        failure.private,
        exc_info=failure.cause,
    )


def error_json(failure: Failure, *, step: str, request_id: str, job_uid: UUID) -> dict[str, Any]:
    """The form in which a job's row carries it; ``undone`` grows while the steps are undone."""
    body: dict[str, Any] = {
        "code": failure.code,
        "text": failure.text,
        "step": step,
        "request_id": request_id or job_uid.hex,
        "undone": [],
    }
    if failure.figures:
        body |= {"pattern": failure.pattern, "figures": failure.figures}
    return body | ({"reasons": failure.reasons} if failure.reasons else {})


def text_of(error: dict[str, Any]) -> str:
    """The sentence of such a form, in the reader's language."""
    if known := SENTENCES.get(error.get("code", "")):
        return str(known)
    if figures := error.get("figures"):
        return said(str(error["pattern"])) % dict(figures)
    return said(error.get("text", ""))
