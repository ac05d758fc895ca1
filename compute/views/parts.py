"""What the live parts of pages show. The views and the page's websocket build them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import selectors
from compute.actions import Action, actions_of, vm_actions
from compute.models import Vm
from compute.services.template_copies import why_not
from compute.views import page_verbs
from portal.common.actor import Actor
from portal.jobs.feed import job_json
from portal.jobs.models import Job
from portal.jobs.selectors import latest_job
from tenants.permits import Permit
from tenants.selectors import readable_jobs
from tenants.usage import taken_by

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

FIRST_VERBS = ("connect", "run", "shut_down")
LAST_VERBS = ("reboot", "stop", "delete")
AT_CONSOLE = (("run", "shut_down"), ("reboot", "stop"))
OVERVIEW, HEAD = "vm", "head"  # kinds of live parts: the whole overview, or the head alone


@dataclass(frozen=True, slots=True)
class Tab:
    """One of a machine's pages: the name of its address, its title, and the permit that it takes to look at it."""

    url: str
    title: StrOrPromise
    permit: Permit | None = None


TABS = (
    Tab("compute:vm-detail", gettext_lazy("Overview")),
    Tab("compute:vm-disks", gettext_lazy("Disks")),
    Tab("compute:vm-nics", gettext_lazy("Network cards")),
    Tab("compute:vm-events", gettext_lazy("Events"), Permit.EVENT_VIEW),
    Tab("compute:vm-who", gettext_lazy("Who can"), Permit.GRANT),
    Tab("compute:vm-jobs", gettext_lazy("Jobs")),
)


@dataclass(frozen=True, slots=True)
class Verbs:
    """A machine's actions as a page lays them out: one filled, two outlined, the rest in a menu."""

    filled: str
    first: list[Action]
    last: list[Action] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Card:
    """A machine in the list, as a card or as a row of the table."""

    vm: Vm
    verbs: Verbs
    job_line: str
    owner: str  # empty when it is the reader's own
    actions: list[Action]  # every verb, for a menu
    shows_screen: bool


def cards(actor: Actor, vms: Sequence[Vm]) -> list[Card]:
    """The cards of these machines, in a number of queries that does not grow with them."""
    jobs = selectors.open_jobs_of([vm.pk for vm in vms])
    actions = actions_of(actor, vms, jobs)
    return [_card(actor, vm, actions[vm.pk], jobs.get(vm.pk)) for vm in vms]


def _card(actor: Actor, vm: Vm, actions: Sequence[Action], job: Job | None) -> Card:
    by_verb = {action.verb: action for action in actions}
    every = [by_verb[verb] for verb in (*FIRST_VERBS, *LAST_VERBS)]
    return Card(vm, _card_verbs(actions), _line(job), _owner(actor, vm), every, by_verb["connect"].allowed)


def _owner(actor: Actor, vm: Vm) -> str:
    return "" if vm.owner is None or vm.owner_id == actor.uid else str(vm.owner)


def machine(actor: Actor, vm: Vm) -> dict[str, Any]:
    """A machine's overview: its head, its facts, what it takes of the quota, and its last job."""
    shown = head(actor, vm)
    return shown | {
        "watch": OVERVIEW,
        "shows_screen": _may(shown["verbs"].first, "connect"),
        "job": _last_job(actor, vm),
        "taken": taken_by([vm.pk, *vm.disks.values_list("pk", flat=True)]),
        "sees_place": Permit.PROVIDER_VIEW in shown["permits"],
        "sees_quota": Permit.QUOTA_VIEW in selectors.permits_on_center(actor, vm.data_center),
        "opens_template": (row := vm.template_here) and selectors.all_templates(actor).filter(pk=row.pk).exists(),
    }


def _last_job(actor: Actor, vm: Vm) -> dict[str, Any] | None:
    """The newest job about it; of one in another data center, where it was before, what was done and how that ended alone."""
    job = latest_job(vm.pk)
    if job is None:
        return None
    was_elsewhere = job.data_center_uid != vm.data_center_id and not readable_jobs(actor, [job.pk])
    return job_json(job) | ({"steps": [], "error": None, "in_short": True} if was_elsewhere else {})


def _may(actions: Sequence[Action], verb: str) -> bool:
    return any(action.allowed for action in actions if action.verb == verb)


def head(actor: Actor, vm: Vm) -> dict[str, Any]:
    """What stands above each tab of a machine's pages: its name and status, its verbs, and the tabs there are."""
    permits = selectors.permits_of(actor, vm)
    return {
        "vm": vm,
        "verbs": _laid_out(vm_actions(vm, permits), FIRST_VERBS, LAST_VERBS),
        "template_of": page_verbs.template_of(actor, vm, permits, " ".join(reason.text for reason in why_not(vm))),
        "guard": page_verbs.protect(actor, vm),
        "keeper": Permit.SYSTEM_MANAGE in permits,
        "move": page_verbs.move(vm, permits),
        "watch": HEAD,
        "tabs": [tab for tab in TABS if tab.permit is None or tab.permit in permits],
        "permits": permits,
    }


def at_console(actor: Actor, vm: Vm) -> dict[str, Any]:
    """The head of a machine's console page: its status, whether there is a screen to show, and the verbs of power."""
    actions = vm_actions(vm, selectors.permits_of(actor, vm))
    connect = next(action for action in actions if action.verb == "connect")
    verbs = _laid_out(actions, *AT_CONSOLE)
    # At a machine that is on, nothing is so likely that it should call for a click.
    filled = "run" if verbs.filled == "run" else ""
    return {"vm": vm, "connect": connect, "verbs": Verbs(filled, verbs.first, verbs.last)}


def _card_verbs(actions: Sequence[Action]) -> Verbs:
    by_verb = {action.verb: action for action in actions}
    power = by_verb["shut_down"] if by_verb["shut_down"].allowed else by_verb["run"]
    first = [by_verb["connect"], power]
    return Verbs(_filled(first), first)


def _laid_out(actions: Sequence[Action], first: Sequence[str], last: Sequence[str]) -> Verbs:
    by_verb = {action.verb: action for action in actions}
    shown = [by_verb[verb] for verb in first]
    return Verbs(_filled(shown), shown, [by_verb[verb] for verb in last])


def _filled(actions: Sequence[Action]) -> str:
    return next((action.verb for action in actions if action.allowed), "")


def _line(job: Job | None) -> str:
    """Where a job stands, in a line."""
    if job is None:
        return ""
    told = job_json(job)
    for number, step in enumerate(told["steps"], start=1):
        if step["status"] in {"running", "undoing"}:
            line = _step_line(step, number, of=len(told["steps"]))
            return f"{line}. {step['message']}" if step["message"] else line
    return _("%(job)s: %(status)s") % {"job": told["title"], "status": job.get_status_display()}


def _step_line(step: dict[str, Any], number: int, *, of: int) -> str:
    if step["status"] == "undoing":
        return _("Being undone: %(step)s") % {"step": step["title"]}
    return _("%(number)d of %(count)d: %(step)s") % {"number": number, "count": of, "step": step["title"]}
