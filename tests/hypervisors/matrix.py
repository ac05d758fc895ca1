"""What an engine does in which status, typed off its own sources and off nothing of ours.

The rows are of its ``ActionUtils`` (which status forbids which action) together with what its commands check for themselves,
the statuses are the API's: that merges both ends of a migration into one, and has none for an illegal image.
"""

from __future__ import annotations

VERBS = ("run", "shut_down", "stop", "reboot", "delete")
COLUMNS = (*VERBS, "suspend")
_ROWS = """
    down                Y . . . Y .
    wait_for_launch     . Y Y . . .
    powering_up         . Y Y Y . .
    up                  . Y Y Y . Y
    reboot_in_progress  . Y Y . . .
    powering_down       . Y Y . . .
    paused              Y Y Y . . .
    migrating           . Y Y . . .
    saving_state        . . . . . .
    suspended           Y Y Y . . .
    restoring_state     . . . . . .
    image_locked        . . . . . .
    not_responding      . Y Y . . .
    unknown             . . . . . .
    unassigned          . . . . . .
"""
DOES: dict[str, frozenset[str]] = {
    status: frozenset(verb for verb, sign in zip(COLUMNS, signs, strict=True) if sign == "Y")
    for status, *signs in map(str.split, _ROWS.strip().splitlines())
}
# Where a machine is there already, asking is success and changes nothing (its event 254, "already in requested status").
ALREADY = {"stop": {"down"}, "shut_down": {"down"}}
# In which it gives a ticket for a display: its ``SetVmTicketCommand``.
TICKETS = frozenset({"up", "paused", "powering_up", "powering_down", "reboot_in_progress"})


def statuses_of(verb: str) -> frozenset[str]:
    """In which it does this."""
    return frozenset(status for status, does in DOES.items() if verb in does)
