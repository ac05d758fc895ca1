"""What may be done to a machine now, and why not: the verbs as pages and services show and refuse them. Rows alone are read."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

from compute import diagnosis, rules, selectors
from compute.models import Vm
from portal.common.actor import Actor
from portal.common.errors import Reason
from portal.hypervisors.errors import Unsupported
from portal.hypervisors.findings import Finding
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import driver_class
from tenants import policy
from tenants.policy import Permit
from tenants.verbs import explained

VERB_PERMITS = {
    "run": Permit.VM_RUN,
    "shut_down": Permit.VM_SHUT_DOWN,
    "stop": Permit.VM_STOP,
    "reboot": Permit.VM_REBOOT,
    "delete": Permit.VM_DELETE,
    "connect": Permit.VM_CONNECT,
}
VERB_ICONS = {
    "run": "player-play",
    "shut_down": "power",
    "stop": "player-stop",
    "reboot": "refresh",
    "delete": "trash",
    "connect": "terminal-2",
}


@dataclass(frozen=True, slots=True)
class Action:
    """A verb on a machine: whether this actor may use it now, and if not, why."""

    verb: str
    title: str
    allowed: bool
    reason: str = ""
    wants_name: bool = False  # the machine is protected: its name is to be typed
    lacks: str = ""  # the permit, where it is lacking
    way_out: str = ""  # the page that says what would help, then

    @property
    def icon(self) -> str:
        """One of Tabler's."""
        return VERB_ICONS[self.verb]


def vm_actions(vm: Vm, permits: frozenset[Permit]) -> list[Action]:
    """Every verb with whether it is possible now; the reason names the condition that is missing."""
    return _actions(vm, permits, is_busy=selectors.open_job(vm.pk) is not None)


def actions_of(actor: Actor, rows: Sequence[Vm], busy: Container[UUID]) -> dict[UUID, list[Action]]:
    """``vm_actions`` of many machines, in a number of queries that does not grow; ``busy`` those with an open job."""
    permits = policy.permits_on(actor, rows)
    return {vm.pk: _actions(vm, permits.get(vm.pk, frozenset()), is_busy=vm.pk in busy) for vm in rows}


def status_reasons(vm: Vm, verb: str) -> list[Reason]:
    """Why a verb is not legal as the machine was last seen."""
    found = rules.adopted_reasons(verb, adopted=vm.adopted)
    return found or rules.verb_reasons(verb, vm.status, status_text=vm.get_status_display(), is_absent=vm.is_absent)


def screen_reasons(provider: Provider) -> list[Reason]:
    """Why no machine's screen on a provider can be reached, and what helps; empty where it can."""
    try:
        code = driver_class(provider.kind).no_screens(provider.address)
    except Unsupported:
        return []
    return [diagnosis.reason(Finding("", code), provider.kind)] if code else []


def _actions(vm: Vm, permits: frozenset[Permit], *, is_busy: bool) -> list[Action]:
    titles = {
        "connect": _("Console"),
        "run": _("Run"),
        "shut_down": _("Shut down"),
        "reboot": _("Reboot"),
        "stop": _("Stop"),
        "delete": _("Delete"),
    }
    found = []
    for verb, title in titles.items():
        reason = _why_not(vm, verb, permits, is_busy=is_busy)
        wants_name = vm.protected and verb in rules.ENDING
        permit = VERB_PERMITS[verb]
        lacks, way_out = ("", "") if permit in permits else (permit.value, explained(permit, vm))
        found.append(Action(verb, title, not reason, reason, wants_name, lacks, way_out))
    return found


def _why_not(vm: Vm, verb: str, permits: frozenset[Permit], *, is_busy: bool) -> str:
    permit = VERB_PERMITS[verb]
    if permit not in permits:
        return _("You lack the permit %(permit)s on this machine.") % {"permit": permit.value}
    if is_busy and verb != "connect":
        return _("Another job is at work on this machine.")
    kept = rules.protection_reasons(
        verb, vm.name, protected=vm.protected, is_super_admin=Permit.SYSTEM_MANAGE in permits, confirm=vm.name
    )
    unseen = screen_reasons(vm.provider) if verb == "connect" else []
    return " ".join(reason.text for reason in [*kept, *unseen, *status_reasons(vm, verb)])
