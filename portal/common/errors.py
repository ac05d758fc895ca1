"""The one family of errors that services raise and doors answer with.

A class per case with a stable ``code``, a public sentence, and *all* reasons at once, each with its figures. Doors turn
them into pages or RFC 9457 problem documents in one place; nothing else of an exception ever reaches a user.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a stable code, a sentence with figures and remedy, the field it is about (if any), and its data."""

    code: str
    text: str
    field: str = ""
    data: dict[str, Any] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The form in which problem documents, jobs and events carry it."""
        body: dict[str, Any] = {"code": self.code, "text": str(self.text)}
        if self.field:
            body["field"] = self.field
        return body | self.data


class PortalError(Exception):
    """A request could not be done. ``detail`` is public; ``private`` is for the log alone.

    ``event``: the audit log's record of this refusal, once there is one.
    """

    code = "error"
    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    event: UUID | None = None

    def __init__(
        self, detail: str, *, reasons: tuple[Reason, ...] = (), private: str = "", data: dict[str, Any] | None = None
    ) -> None:
        self.detail = detail
        self.reasons = reasons
        self.private = private
        self.data = data or {}
        super().__init__(str(detail))


class Invalid(PortalError):
    """What was asked for breaks a rule; each reason names the field and the remedy."""

    code = "invalid"
    status = HTTPStatus.BAD_REQUEST


class NotAuthenticated(PortalError):
    """Nobody is logged in, or the credentials are wrong or expired."""

    code = "not_authenticated"
    status = HTTPStatus.UNAUTHORIZED


class NotPermitted(PortalError):
    """Visible, but this actor may not; ``data["explanation"]`` says which grant would help and who can give it."""

    code = "not_permitted"
    status = HTTPStatus.FORBIDDEN


class ReadOnlyView(NotPermitted):
    """Whoever looks at the portal as somebody else changes nothing."""

    code = "read_only_view"


def read_only_view(name: str) -> ReadOnlyView:
    """The refusal of every change while one sees the portal as the user of this name."""
    text = _("You see the portal as %(name)s, and only look: nothing was changed. End the view to act as yourself.")
    return ReadOnlyView(text % {"name": name})


class NotFound(PortalError):
    """Does not exist, or may not be seen: the two answer alike."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND


class NoPage(PortalError):
    """Something is done at this address, and nothing is to be seen."""

    code = "no_page"
    status = HTTPStatus.METHOD_NOT_ALLOWED


class Conflict(PortalError):
    """The present state does not allow it; later, or after another act, may do."""

    code = "conflict"
    status = HTTPStatus.CONFLICT


def overtaken() -> Conflict:
    """The refusal of what stands on something that another request removed meanwhile."""
    text = _("Something that this needs was removed or changed in this very moment. Look at it again.")
    return Conflict(text, reasons=(Reason("overtaken", text),))


class Busy(Conflict):
    """A job holds the object; ``data["job"]`` names it."""

    code = "busy"


class QuotaExceeded(Conflict):
    """Over quota; a reason per dimension with limit, used, requested and shortfall."""

    code = "quota_exceeded"


class PreconditionFailed(PortalError):
    """``If-Match`` names a version that is no longer the current one."""

    code = "precondition_failed"
    status = HTTPStatus.PRECONDITION_FAILED


class KeyReused(PortalError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooMany(PortalError):
    """A limit of rate or number; ``data["retry_after"]`` in seconds. ``repeated``: the same was refused just before."""

    repeated = False
    code = "too_many_requests"
    status = HTTPStatus.TOO_MANY_REQUESTS


class Unavailable(PortalError):
    """A part we need does not answer (database locked, directory down); trying again may help."""

    code = "unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE


def problem_json(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    reasons: tuple[Reason, ...] = (),
    data: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An RFC 9457 problem document."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "reasons": [reason.as_json() for reason in reasons],
        "request_id": request_id,
    }
    return body | (data or {})
