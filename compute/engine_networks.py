"""What of an engine's networks is here."""

from __future__ import annotations

from uuid import UUID

from compute.selectors import found_networks
from network.models import FoundNetwork, Network
from portal.common.actor import Actor


def engine_networks(actor: Actor, provider_uid: UUID) -> list[FoundNetwork]:
    """What ``found_networks`` finds on an engine, each with its row here (``known``; None: it has no vNIC profile, so that no
    machine can be on it) and the names of its vNIC profiles (``profile_names``).
    """
    rows = list(found_networks(actor, provider_uid))
    here = Network.objects.filter(provider=provider_uid, is_found=True).prefetch_related("vnic_profiles")
    known = {row.external_id: row for row in here}
    for row in rows:
        found = known.get(row.external_id)
        profiles = found.vnic_profiles.all() if found else ()
        row.known = found  # type: ignore[attr-defined]
        row.profile_names = sorted(one.name for one in profiles if not one.is_gone)  # type: ignore[attr-defined]
    return rows
