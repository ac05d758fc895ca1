"""The version of what somebody looked at, so that an edit of something else meanwhile is noticed (``ETag``/``If-Match``)."""

from __future__ import annotations

import hashlib
import json


def version_of(*values: object) -> str:
    """A short text that is another whenever one of the values is."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:32]


def etag(version: str) -> str:
    """As the header has it (RFC 9110)."""
    return f'"{version}"'


def version_in(header: str) -> str:
    """The version that ``If-Match`` names; empty when it names none, or any (``*``)."""
    text = header.strip().removeprefix("W/")
    return "" if text in {"", "*"} else text.strip('"')
