"""An engine's statuses under the contract's names. Pure; what an engine says that nobody knows here is ``unknown``."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ovirtsdk4 import types

from portal.hypervisors.specs import VmStatus

# The engine's ``VmPauseStatus``; these two say that there is nothing to say.
_NOTHING = {"none", "noerr"}
_HOSTS = {
    types.HostStatus.UP: "up",
    types.HostStatus.DOWN: "down",
    types.HostStatus.MAINTENANCE: "maintenance",
    types.HostStatus.PREPARING_FOR_MAINTENANCE: "maintenance",
    types.HostStatus.NON_RESPONSIVE: "non_responsive",
    types.HostStatus.CONNECTING: "non_responsive",
}
_DOMAINS = {
    types.StorageDomainStatus.ACTIVE: "active",
    types.StorageDomainStatus.MIXED: "active",
    types.StorageDomainStatus.UNKNOWN: "unknown",
}
ON = frozenset(
    {
        VmStatus.WAIT_FOR_LAUNCH,
        VmStatus.POWERING_UP,
        VmStatus.UP,
        VmStatus.REBOOT_IN_PROGRESS,
        VmStatus.POWERING_DOWN,
        VmStatus.MIGRATING,
        VmStatus.RESTORING_STATE,
        VmStatus.NOT_RESPONDING,
    }
)
# Narrower than the statuses in which a machine has a display: a ticket is set on these alone.
WITH_CONSOLE = frozenset(
    {VmStatus.UP, VmStatus.POWERING_UP, VmStatus.POWERING_DOWN, VmStatus.PAUSED, VmStatus.REBOOT_IN_PROGRESS}
)


def of_vm(vm: Any) -> tuple[VmStatus, str]:
    """A machine's status and its detail. One that is off and whose disk is locked is locked as a whole."""
    status = _vm_status(vm.status)
    if status is VmStatus.DOWN and any(is_locked(disk) for disk in _disks(vm)):
        return VmStatus.IMAGE_LOCKED, ""
    detail = (vm.status_detail or "").lower() if status is VmStatus.PAUSED else ""
    return status, "" if detail in _NOTHING else detail


def is_locked(disk: Any) -> bool:
    """Whether something is being done to a disk."""
    return bool(disk.status is types.DiskStatus.LOCKED)


def of_host(host: Any) -> str:
    """A host's status in the contract's words; what is neither up nor in maintenance takes no machine: down."""
    return _HOSTS.get(host.status, "unknown" if host.status is None else "down")


def of_domain(*said: Any) -> str:
    """A storage domain's status, from the first of those that says one."""
    status = next((one for one in said if one is not None), None)
    return "unknown" if status is None else _DOMAINS.get(status, "inactive")


def name(value: Enum | None, default: str = "") -> str:
    """An enumeration's value as the API spells it."""
    return default if value is None else str(value.value)


def _vm_status(value: types.VmStatus | None) -> VmStatus:
    try:
        return VmStatus(name(value, "unknown"))
    except ValueError:
        return VmStatus.UNKNOWN  # "unassigned": the engine itself does not know


def _disks(vm: Any) -> list[Any]:
    return [one.disk for one in vm.disk_attachments or () if one.disk is not None]
