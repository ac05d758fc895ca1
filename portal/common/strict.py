"""What the REST doors take in: JSON as the standard has it, of the declared types, and nothing that is not declared."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework import exceptions, serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

QUERY_NUMBER = re.compile(r"[0-9]{1,10}")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # a half of a pair, or both
LARGEST_NUMBER = 2**31 - 1
MOST_NAMED = 50  # of the fields that are not known: the answer is no longer than it helps


class StrictJSONParser(BaseParser):
    """JSON as the standard has it: no NaN, nothing beyond a double, no duplicate keys, no huge integers, and text that is text.

    Half a surrogate pair is in no UTF-8, so neither an answer that quotes it nor a database could hold it.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The parsed body; ``ParseError`` (400) for anything malformed."""
        try:
            text = stream.read().decode("utf-8")
            found = json.loads(text, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
            if SURROGATE.search(text):
                json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise exceptions.ParseError(_("The body is not valid JSON: a text in it has half a character.")) from error
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(_("The body is not valid JSON.")) from error
        return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _no_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(key)
        found[key] = value
    return found


class StrictSerializer(serializers.Serializer):
    """Refuses fields it does not know, by name."""

    def to_internal_value(self, data: Any) -> Any:
        """Everything asked for is either understood or refused."""
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            raise serializers.ValidationError(
                {name: [_("This field is not known here.")] for name in sorted(unknown)[:MOST_NAMED]}
            )
        return super().to_internal_value(data)


class StrictString(serializers.CharField):
    """A JSON string as it stands: not a number, and nothing trimmed from it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """The string; anything else is refused."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictInteger(serializers.IntegerField):
    """A whole JSON number, not a string or a truth value."""

    def to_internal_value(self, data: Any) -> int:
        """The number; anything else is refused."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBoolean(serializers.BooleanField):
    """``true`` or ``false``."""

    def to_internal_value(self, data: Any) -> bool:
        """The truth value; anything else, words and numbers too, is refused."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictUuid(serializers.UUIDField):
    """A UUID in its usual form of five groups."""

    def to_internal_value(self, data: Any) -> UUID:
        """The UUID; anything else, other spellings too, is refused."""
        uid = super().to_internal_value(data) if isinstance(data, str) else None
        if uid is None or str(uid) != data.lower():
            self.fail("invalid", value=data)
        return uid


class QueryNumber(serializers.IntegerField):
    """A number in a query string: digits and nothing else."""

    def to_internal_value(self, data: Any) -> int:
        """The number; anything else is refused."""
        if not QUERY_NUMBER.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Empty(StrictSerializer):
    """Nothing: no query parameter, or an empty body."""


class PageQuery(StrictSerializer):
    """Which page of a list."""

    page_size = QueryNumber(
        default=50,
        min_value=1,
        max_value=LARGEST_NUMBER,
        help_text="Rows a page; more than 200 is taken as 200.",
    )
    cursor = StrictString(required=False, max_length=1000, help_text="From the links `next` and `previous`.")


class SearchQuery(PageQuery):
    """Which page of a list, and of which rows."""

    search = StrictString(default="", allow_blank=True, max_length=64, help_text="What a name holds, in any case.")


class DryRunQuery(StrictSerializer):
    """Whether to do it or only to tell what would be done."""

    dry_run = serializers.ChoiceField(
        choices=["0", "1"], default="0", help_text="1: check everything, tell the plan, write nothing."
    )


def query_of(request: Request, kind: type[StrictSerializer]) -> dict[str, Any]:
    """The query parameters as ``kind`` declares them. ``ValidationError`` (400) for unknown, repeated or bad ones."""
    given = {name: request.query_params.getlist(name) for name in request.query_params}
    twice = [name for name, values in given.items() if len(values) > 1]
    if twice:
        raise serializers.ValidationError({name: [_("Give this parameter once.")] for name in sorted(twice)})
    return checked(kind, {name: values[0] for name, values in given.items()})


def checked(kind: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """The data as ``kind`` declares them. ``ValidationError`` (400) naming each field that is wrong."""
    form = kind(data=data)
    form.is_valid(raise_exception=True)
    found: dict[str, Any] = form.validated_data
    return found
