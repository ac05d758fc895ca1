"""Pages of a list by the last row seen: as fast for the last page as for the first, and steady while rows come and go."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as ModelValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

MOST = 200
LONGEST_VALUE = 600  # bytes


@dataclass(frozen=True, slots=True)
class Place:
    """A row to go on from, by its value and uid; ``backward``: to what comes before it."""

    value: str
    uid: UUID
    backward: bool

    def text(self) -> str:
        """As it stands in a link."""
        return urlsafe_b64encode(json.dumps([self.value, self.uid.hex, self.backward]).encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Place:
        """Read from a link. ``ValidationError`` for anything that we did not write."""
        try:
            value, uid, backward = json.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
            place, size = cls(value, UUID(uid), backward is True), len(value.encode())
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise _bad_cursor() from error
        if size > LONGEST_VALUE or "\x00" in value:
            raise _bad_cursor()
        return place


class NewestFirst(BasePagination):
    """50 rows a page, at most 200, without a count; ordered by ``field`` and then by uid, which makes it total."""

    field = "created_at"
    descending = True

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The rows of the page that the view's query asks for."""
        size = min(view.query["page_size"], MOST)
        place = Place.of(view.query["cursor"]) if "cursor" in view.query else None
        backward = bool(place and place.backward)
        rows = self._from(queryset, place, down=self.descending != backward)
        found = list(rows[: size + 1])
        goes_on, found = len(found) > size, found[:size]
        if backward:
            found.reverse()
        self._links = {
            "next": self._link(request, found[-1:], backward=False) if goes_on or backward else None,
            "previous": self._link(request, found[:1], backward=True) if place and (goes_on or not backward) else None,
        }
        return found

    def get_paginated_response(self, data: Any) -> Response:
        """``{"next", "previous", "results"}``."""
        return Response(self._links | {"results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The same for the documentation."""
        link = {"type": "string", "format": "uri", "nullable": True}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}

    def _from(self, queryset: QuerySet[Any], place: Place | None, *, down: bool) -> QuerySet[Any]:
        rows = queryset.order_by(*(f"-{name}" if down else name for name in (self.field, "uid")))
        if place is None:
            return rows
        try:
            value = queryset.model._meta.get_field(self.field).to_python(place.value)
            if isinstance(value, datetime):
                value.astimezone(UTC)  # as a database asks for it
        except (ModelValidationError, OverflowError) as error:
            raise _bad_cursor() from error
        # The first condition follows from the second, but it alone lets a database go straight to the place.
        word = "lt" if down else "gt"
        beyond = Q(**{f"{self.field}__{word}": value}) | Q(**{self.field: value, f"uid__{word}": place.uid})
        return rows.filter(beyond, **{f"{self.field}__{word}e": value})

    def _link(self, request: Request, rows: list[Any], *, backward: bool) -> str | None:
        if not rows:
            return None
        value = getattr(rows[0], self.field)
        text = value.isoformat() if isinstance(value, datetime) else str(value)
        place = Place(text, rows[0].uid, backward)
        return replace_query_param(request.build_absolute_uri(), "cursor", place.text())


class ByName(NewestFirst):
    """The same, ordered by name."""

    field = "name"
    descending = False


def page_by_name(rows: QuerySet[Any], after: str, *, size: int) -> tuple[list[Any], str]:
    """For pages: the rows behind the one with the uid ``after``, by name and then uid, and the uid to go on after.

    Names may repeat (machines of two hosts, versions of a template). One that is gone meanwhile begins at the first page.
    """
    ordered = rows.order_by("name", "uid")
    last = ordered.filter(pk=after).first() if _is_uid(after) else None
    if last is not None:
        behind = Q(name__gt=last.name) | Q(name=last.name, uid__gt=last.pk)
        ordered = ordered.filter(behind, name__gte=last.name)
    found = list(ordered[: size + 1])
    return found[:size], str(found[size - 1].pk) if len(found) > size else ""


def _is_uid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _bad_cursor() -> ValidationError:
    return ValidationError({"cursor": [_("This is no cursor of this list. Begin at its first page.")]})
