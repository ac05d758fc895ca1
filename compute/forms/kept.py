"""Secrets that were typed into a form travel on in it, sealed, so that a try and the saving need them once.

What is sealed says for whom and for how long, and, of a secret that a log-in tells whoever answers, for which server: it is
taken from nobody else and sent nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from portal.common.sealed import SealBroken, seal_json, unseal_json
from portal.hypervisors.registry import driver_class

SECONDS = 30 * 60


@dataclass(frozen=True, slots=True)
class Typed:
    """For what secrets were typed: by whom, for which kind of provider, and where it is by which CA."""

    actor_uid: UUID | None
    kind: str
    address: str
    ca_pem: str

    def whole_address(self) -> str:
        """As it would be kept, so that one that is written in another way stays the same."""
        return driver_class(self.kind).whole_address(self.address.strip())


@dataclass(frozen=True, slots=True)
class Kept:
    """The secrets by name, and until when (seconds of the epoch) they are taken."""

    secrets: Mapping[str, str]
    until: float

    def with_typed(self, typed: Mapping[str, str]) -> Kept:
        """With what was typed now; all ends no later than what is there already."""
        until = min(self.until, time.time() + SECONDS) if self.secrets else time.time() + SECONDS
        return Kept({**self.secrets, **typed}, until)


def seal(kept: Kept, typed: Typed, *, found_ca: str = "") -> str:
    """What stands in the form; empty where there is nothing to keep. ``found_ca``: one that may be pinned in the next step."""
    if not kept.secrets:
        return ""
    cas = sorted({_bare(typed.ca_pem), _bare(found_ca)})
    whose = {"for": str(typed.actor_uid), "kind": typed.kind, "address": typed.whole_address(), "cas": cas}
    return seal_json(whose | {"until": kept.until, "secrets": dict(kept.secrets)})


def opened(text: str, typed: Typed) -> Kept:
    """What of a form's sealed secrets is good for this; none of another person, kind or time."""
    none = Kept({}, 0.0)
    try:
        found = unseal_json(text)
    except (SealBroken, ValueError):
        return none
    if (found.get("for"), found.get("kind")) != (str(typed.actor_uid), typed.kind):
        return none
    if time.time() >= float(found["until"]):
        return none
    driver = driver_class(typed.kind)
    is_there = found["address"] == typed.whole_address() and _bare(typed.ca_pem) in found["cas"]
    good = set(driver.secrets) - (frozenset() if is_there else driver.told_secrets)
    return Kept({name: text for name, text in found["secrets"].items() if name in good}, float(found["until"]))


def _bare(pem: str) -> str:
    return pem.strip().replace("\r\n", "\n")
