"""Names of what we make on libvirt. The name is the mark of everything that cannot hold metadata. Pure.

``stegi-<first 8 hex digits of the portal's id>`` begins them all, so that two portals on one libvirt tell theirs apart.
"""

from __future__ import annotations

import re
import secrets
from uuid import UUID

from portal.hypervisors.specs import PORTAL_POOL

UPLOADING = "uploading"  # suffix of the volume that says: the disk of this name is not complete
FIRST_BOOT = "iso"
BOOT_PROBE = "boot-probe.raw"
NO_DISKS = {FIRST_BOOT, UPLOADING}

_PROBE = re.compile(r"stegi-[0-9a-f]{8}-probe-[0-9a-f]{8}")
_FURTHER = re.compile(r"(-[a-z0-9]+)*")
_VOLUME = re.compile(
    r"(?P<prefix>stegi-[0-9a-f]{8})-(?P<uid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?P<suffix>[a-z0-9]+)"
)


def prefix(portal_id: UUID) -> str:
    """What the name of everything of this portal begins with; also the name of its first storage pool."""
    return f"stegi-{portal_id.hex[:8]}"


def is_pool(portal_id: UUID, name: str) -> bool:
    """Whether a storage pool of this name is this portal's; such a name is a folder's name too."""
    own = prefix(portal_id)
    return name.startswith(own) and _FURTHER.fullmatch(name.removeprefix(own)) is not None


def is_pool_of_another(portal_id: UUID, name: str) -> bool:
    """Whether a storage pool of this name is one that another portal made for itself."""
    return PORTAL_POOL.fullmatch(name) is not None and not is_pool(portal_id, name)


def volume(portal_id: UUID, uid: UUID, *, suffix: str) -> str:
    """The name of a volume of ours."""
    return f"{prefix(portal_id)}-{uid}.{suffix}"


def volume_uid(portal_id: UUID, name: str) -> tuple[UUID, str] | None:
    """The uid and suffix in a volume's name, or None when it is not one of ours."""
    found = _VOLUME.fullmatch(name)
    if found is None or found["prefix"] != prefix(portal_id):
        return None
    return UUID(found["uid"]), found["suffix"]


def is_other_portals(portal_id: UUID, name: str) -> bool:
    """Whether a volume of this name is another portal's."""
    return _VOLUME.fullmatch(name) is not None and volume_uid(portal_id, name) is None


def network_filter(portal_id: UUID, network_uid: UUID) -> str:
    """The name of a network's filter."""
    return f"{prefix(portal_id)}-{network_uid}"


def offered_filter(portal_id: UUID) -> str:
    """The name of the filter of every card that is on a network or bridge that is not ours."""
    return f"{prefix(portal_id)}-offered"


def bridge(network_uid: UUID) -> str:
    """A network's bridge; the kernel takes 15 characters at most."""
    return f"st{network_uid.hex[:12]}"


def probe(portal_id: UUID) -> str:
    """The name of a machine that lives for a second to try the accelerator."""
    return f"{prefix(portal_id)}-probe-{secrets.token_hex(4)}"


def is_probe(name: str) -> bool:
    """Whether a machine is such a one, of this portal or another."""
    return _PROBE.fullmatch(name) is not None
