"""libvirt's states and reasons under oVirt's names. Pure."""

from __future__ import annotations

import libvirt

from portal.hypervisors.specs import VmStatus

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: VmStatus.UNKNOWN,
    libvirt.VIR_DOMAIN_RUNNING: VmStatus.UP,
    libvirt.VIR_DOMAIN_BLOCKED: VmStatus.UP,
    libvirt.VIR_DOMAIN_PAUSED: VmStatus.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: VmStatus.POWERING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: VmStatus.DOWN,
    libvirt.VIR_DOMAIN_CRASHED: VmStatus.NOT_RESPONDING,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VmStatus.SUSPENDED,
}

_PAUSED = {
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: VmStatus.MIGRATING,
    # Its memory is elsewhere already, also where the rest could not follow: it must not go on here.
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: VmStatus.MIGRATING,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: VmStatus.MIGRATING,
    libvirt.VIR_DOMAIN_PAUSED_SAVE: VmStatus.SAVING_STATE,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: VmStatus.WAIT_FOR_LAUNCH,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: VmStatus.POWERING_DOWN,
}

NO_SPACE = "enospc"
IO_ERROR = "eio"
# oVirt's words for why a machine is paused (``VmPauseStatus``), and ours for why one is down.
_PAUSED_WHY = {
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: IO_ERROR,
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: "postcopy",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "postcopy",
    libvirt.VIR_DOMAIN_PAUSED_UNKNOWN: "eother",
}
_DOWN_WHY = {
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "failed",
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shut_down",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "stopped",
}


def status(state: int, reason: int) -> tuple[VmStatus, str]:
    """A domain's status and its detail from libvirt's state and reason."""
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return _PAUSED.get(reason, VmStatus.PAUSED), _PAUSED_WHY.get(reason, "")
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        if reason == libvirt.VIR_DOMAIN_SHUTOFF_SAVED:
            return VmStatus.SUSPENDED, ""
        return VmStatus.DOWN, _DOWN_WHY.get(reason, "")
    return _STATES.get(state, VmStatus.UNKNOWN), ""


def is_running(state: int) -> bool:
    """Whether a process of the machine is there (paused and crashed ones included)."""
    return state not in {libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_NOSTATE}
