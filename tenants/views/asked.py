"""What addresses ask for, read from their query strings."""

from __future__ import annotations

from uuid import UUID


def uid_or_none(text: str | None) -> UUID | None:
    """A UUID in an address, or nothing."""
    try:
        return UUID(text or "")
    except ValueError:
        return None
