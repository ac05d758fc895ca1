"""The codes of the audit log. A verb has three: requested, done, failed; a refusal is its own (``<VERB>_REFUSED``).

Stable and never reused; the names follow oVirt's ``AuditLogType`` where it has the same event.
"""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How loud an event is (oVirt's ``AuditLogSeverity``)."""

    NORMAL = "normal"
    WARNING = "warning"
    ERROR = "error"
    ALERT = "alert"


class Outcome(StrEnum):
    """Which part of an act a record tells: exactly one of the first two per attempt, at most one of the last two."""

    REQUESTED = "requested"  # accepted; a job carries it
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    NOTED = "noted"  # nobody asked: something was observed


PAST: dict[str, str] = {
    "VM_CREATE": "VM_CREATED",
    "VM_DELETE": "VM_DELETED",
    "VM_RUN": "VM_STARTED",
    "VM_STOP": "VM_STOPPED",
    "VM_SHUT_DOWN": "VM_SHUT_DOWN_DONE",
    "VM_REBOOT": "VM_REBOOTED",
    "VM_CONNECT": "VM_CONNECTED",
    "NETWORK_CREATE": "NETWORK_CREATED",
    "NETWORK_DELETE": "NETWORK_DELETED",
}


def code_for(verb: str, outcome: Outcome) -> str:
    """The code of a verb's event: VM_CREATE -> VM_CREATE_REQUESTED, VM_CREATED, VM_CREATE_REFUSED, VM_CREATE_FAILED."""
    if outcome is Outcome.DONE:
        return PAST.get(verb, f"{verb}_DONE")
    return verb if outcome is Outcome.NOTED else f"{verb}_{outcome.value.upper()}"
