"""Whether what answers for a provider is still what was accepted: pure rules over what was told.

A manager may be upgraded, or built anew, underneath us. Then nothing is removed on it until somebody has looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

NAMES = ("version", "instance")


class News(StrEnum):
    """What became of a manager since it was accepted."""

    UPGRADED = "upgraded"  # another version, older ones too
    REBUILT = "rebuilt"  # another instance: whatever it has may have another id


def identity(about: Mapping[str, Any]) -> dict[str, str]:
    """Of what a provider told last (``About``) that which is accepted: version and instance; empty where it told none."""
    return {name: str(about.get(name) or "") for name in NAMES}


def accepted_after(accepted: Mapping[str, str], told: Mapping[str, str], *, waits: bool) -> dict[str, str]:
    """What is accepted once this was told: what was not known yet, and all where nobody has to look (``waits``)."""
    return {name: (accepted.get(name) if waits else "") or told[name] for name in NAMES}


def news_of(accepted: Mapping[str, str], told: Mapping[str, str]) -> News | None:
    """What became of it; None where it is as accepted. What one of both does not tell is no news."""
    changed = {name for name in NAMES if accepted.get(name) and told[name] and accepted[name] != told[name]}
    if "instance" in changed:
        return News.REBUILT
    return News.UPGRADED if changed else None
