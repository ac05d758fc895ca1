"""The origin of a browser's page, compared whole: scheme, host and port."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for ``null`` and for whatever else is not one."""
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    bare = not (parts.path or parts.query or parts.fragment or parts.username is not None or "@" in parts.netloc)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not bare or text != text.strip():
        return None
    return parts.scheme, parts.hostname.rstrip("."), port


def is_own_origin(text: str, *, own: Iterable[str]) -> bool:
    """Whether a page of this origin is ours."""
    origin = normal_origin(text)
    return origin is not None and origin in {normal_origin(one) for one in own}
