"""What is on a hypervisor, seen from outside the portal: ours by mark, and everybody else's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from portal.hypervisors.identity import portal_id
from tests.doubles.hypervisor_state import HypervisorDouble

KINDS = ("vm", "disk", "network", "storage_domain")
Thing = dict[str, Any]


@dataclass
class Seen:
    """Uids of what bears our mark, one entry for each object: what is there twice is here twice."""

    vms: list[UUID] = field(default_factory=list)
    disks: list[UUID] = field(default_factory=list)
    first_boots: list[UUID] = field(default_factory=list)
    networks: list[UUID] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of all machines
    macs: list[str] = field(default_factory=list)  # of our machines' cards
    addresses: list[tuple[str, str]] = field(default_factory=list)  # (MAC, IP) given away on our networks
    strangers: dict[str, Any] = field(default_factory=dict)  # what they are like, by name


def look_at_double(double: HypervisorDouble) -> Seen:
    """Everything on a double."""
    seen, ours = Seen(), str(portal_id())
    for kind in KINDS:
        for key, body in double.things(kind).items():
            marker = body.get("marker")
            if marker and marker["portal_id"] == ours:
                _sort(seen, kind, key, body)
            else:
                seen.strangers[f"{kind} {key}"] = body
    seen.names = [body["name"] for body in double.things("vm").values()]
    return seen


def _sort(seen: Seen, kind: str, key: str, body: Thing) -> None:
    uid = UUID(body["marker"]["uid"])
    if kind == "vm":
        seen.vms.append(uid)
        seen.macs += [nic["mac"] for nic in body["nics"]]
    elif kind == "disk":
        (seen.first_boots if key.endswith(".iso") else seen.disks).append(uid)
    elif kind == "network":
        seen.networks.append(uid)
        seen.addresses += body["leases"].items()
