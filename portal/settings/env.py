"""Values from the environment, checked at the door: a wrong one stops the start with a line that names it.

A secret NAME may be given as NAME_FILE, the path of a file that holds it, so that it is in no environment listing.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str | None = None) -> str:
    """A value as it stands. Raises ``ImproperlyConfigured`` naming it when it is missing and has no default."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"Set {name} in the environment.")
    return value


def secret(name: str, default: str | None = None) -> str:
    """A secret, from NAME_FILE or NAME."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return text(name, default)
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error.strerror}.") from error


def listed(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def number(name: str, default: int) -> int:
    """A whole number."""
    raw = text(name, str(default))
    try:
        return int(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}.") from error


def one_of(name: str, default: str, *, allowed: tuple[str, ...]) -> str:
    """One of these words, in upper case."""
    value = text(name, default).upper()
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def flag(name: str, *, default: bool) -> bool:
    """Yes or no: 1, true, yes, on, or 0, false, no, off."""
    raw = text(name, "1" if default else "0").lower()
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off", ""}:
        return False
    raise ImproperlyConfigured(f"{name} must be yes or no, not {raw!r}.")
