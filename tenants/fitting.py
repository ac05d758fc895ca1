"""On which nouns a role means something. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tenants.permits import Permit, noun_of
from tenants.predefined import OF_SYSTEM, RANKS

SYSTEM, DATA_CENTER = "system", "data_center"
_RANK = {role.codename: place for place, role in enumerate(reversed(RANKS))}


def fits(permits: Collection[str], kind: str) -> bool:
    """Whether a role of these permits can be given on an object of this kind (``vm``, ``data_center`` ...).

    On the whole system any. Below it none with a permit that is only ever asked of the system, for it would promise what it
    does not give. On a single object those that show objects of its kind, and no data center around it.
    """
    if kind == SYSTEM:
        return True
    if OF_SYSTEM.intersection(permits):
        return False
    return kind == DATA_CENTER or (f"{noun_of(kind)}_VIEW" in permits and Permit.DATA_CENTER_VIEW not in permits)


def humblest_first(codename: str, permits: Iterable[str]) -> tuple[int, int, str]:
    """The order in which roles are offered: the institute's ranks first, the others by how much is in them."""
    return _RANK.get(codename, len(_RANK)), len(set(permits)), codename
