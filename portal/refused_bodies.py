"""A body that is not taken: with which status, and what its sender is told."""

from __future__ import annotations

from http import HTTPStatus

from django.utils.translation import gettext as _

from portal.common.units import bytes_text

CODES = {
    HTTPStatus.REQUEST_TIMEOUT: "too_slow",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "too_many_forms",
    HTTPStatus.INSUFFICIENT_STORAGE: "no_room",
}


class Refused(Exception):
    """A body that is not taken, with the status that says why, and its figures. ``retry_after`` in seconds, 0 for never said."""

    def __init__(self, status: HTTPStatus, *, retry_after: int = 0, **figures: int) -> None:
        self.status = status
        self.code = CODES[status]
        self.retry_after = retry_after
        self.figures = figures
        super().__init__(self.code)

    def sentence(self) -> str:
        """What the sender is told, in the language that is on."""
        if self.code == "too_slow":
            return _("The request did not come in time. Try again.")
        if self.code == "too_many_forms":
            text = _(
                "The portal takes %(most)d whole images at once from forms, and as many are on their way. Try again in a few "
                "minutes, or switch JavaScript on: then the file goes in parts, and does not wait."
            )
            return text % self.figures
        if self.code == "no_room":
            text = _(
                "The portal's temporary folder has room for %(free)s, and this form needs %(needed)s of it for a while. Try "
                "again later, or switch JavaScript on: then the file goes in parts, and needs no room there."
            )
            return text % {name: bytes_text(figure) for name, figure in self.figures.items()}
        return _("The request is too large. Send less at once.")
