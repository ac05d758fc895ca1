"""What a provider can do, as it was told at the last compare; the provider itself is not asked."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Capabilities

_NAMES = frozenset(field.name for field in fields(Capabilities))


def capabilities_of(provider: Provider) -> Capabilities:
    """What it can do; of one that was not read yet, what most can."""
    told: dict[str, Any] = {name: value for name, value in provider.capabilities.items() if name in _NAMES}
    lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    return Capabilities(**(told | lists))


def as_stored(capabilities: Capabilities) -> dict[str, Any]:
    """As a provider's row keeps it."""
    told = asdict(capabilities)
    return told | {name: list(value) for name, value in told.items() if isinstance(value, tuple)}
