"""One verb on several machines: each is a request of its own, refused or accepted by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import Count, Sum
from django.utils.translation import gettext as _

from compute import selectors
from compute.actions import Action, actions_of
from compute.models import Disk, Vm
from compute.services import vms
from portal.common.actor import Actor
from portal.common.errors import Invalid, NotFound, PortalError, Reason
from portal.common.idempotency import Answer, once

MOST = 100
VERBS = {
    "run": vms.run_vm,
    "shut_down": vms.shut_down_vm,
    "stop": vms.stop_vm,
    "reboot": vms.reboot_vm,
    "delete": vms.delete_vm,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one machine's request: the job that does it, or why not (and the job that is in the way)."""

    uid: UUID
    name: str
    job: str
    refusal: str = ""
    wants_name: bool = False  # the machine is protected: its name is to be typed on a page of its own

    @property
    def was_accepted(self) -> bool:
        """Whether it was asked for."""
        return not self.refusal


@dataclass(frozen=True, slots=True)
class Loss:
    """A machine that is to be deleted: its disks, and why it will not be, if so."""

    vm: Vm
    disks: int
    size_gib: int
    refusal: str


def start_many(actor: Actor, verb: str, uids: Iterable[UUID], *, key: str) -> list[Outcome]:
    """Ask for a verb on each of these machines; what was asked for before under this key is not asked for again.

    Each is a transaction of its own, so that neither a refusal nor a death half-way takes the others with it. They come
    in the order of their data centers and uids: two that run at once never wait for each other. Raises ``Invalid`` for
    none, for more than ``MOST``, and for a verb that there is not.
    """
    chosen = _chosen(verb, uids)
    known = {vm.pk: vm for vm in selectors.my_vms(actor).filter(pk__in=chosen)}
    ordered = sorted(chosen, key=lambda uid: (str(known[uid].data_center_id) if uid in known else "", str(uid)))
    done = {uid: _start(actor, verb, uid, known.get(uid), key) for uid in ordered}
    return sorted(done.values(), key=lambda each: (each.name, str(each.uid)))


def losses(actor: Actor, uids: Iterable[UUID]) -> list[Loss]:
    """What deleting these machines would take away, machine by machine. Raises as ``start_many``.

    Machines that are not there (any more), or not for these eyes, are left out.
    """
    rows = list(selectors.my_vms(actor).filter(pk__in=_chosen("delete", uids)))
    disks = Disk.objects.filter(vm__in=rows).order_by().values("vm").annotate(number=Count("pk"), size=Sum("size_gib"))
    sizes = {row["vm"]: (row["number"], row["size"]) for row in disks}
    actions = actions_of(actor, rows, selectors.open_jobs_of([vm.pk for vm in rows]))
    return [Loss(vm, *sizes.get(vm.pk, (0, 0)), refusal=_refusal(actions[vm.pk])) for vm in rows]


def _refusal(actions: list[Action]) -> str:
    action = next(each for each in actions if each.verb == "delete")
    return action.reason or (_protected() if action.wants_name else "")


def _protected() -> str:
    return _("It is protected: its name is to be typed on its own page.")


def _chosen(verb: str, uids: Iterable[UUID]) -> list[UUID]:
    chosen = list(dict.fromkeys(uids))
    if verb not in VERBS:
        raise _invalid("verb_unknown", _("There is no such action on several machines."), "verb")
    if not chosen:
        raise _invalid("nothing_chosen", _("No machine was chosen. Tick at least one in the list."), "machine")
    if len(chosen) > MOST:
        text = _("%(count)d machines were chosen; at most %(most)d go at once. Choose fewer.")
        figures = {"count": len(chosen), "most": MOST}
        raise _invalid("too_many", text % figures, "machine", figures)
    return chosen


def _invalid(code: str, text: str, field: str, data: dict[str, Any] | None = None) -> Invalid:
    return Invalid(text, reasons=(Reason(code, text, field, data or {}),))


def _start(actor: Actor, verb: str, uid: UUID, vm: Vm | None, key: str) -> Outcome:
    name = vm.name if vm else str(uid)

    def work() -> Answer:
        return Answer(HTTPStatus.ACCEPTED, {"job": str(VERBS[verb](actor, uid).pk)}, "")

    try:
        answer, _repeated = once(actor, f"{key}:{verb}:{uid}", {"verb": verb, "machine": str(uid)}, work)
    except PortalError as error:
        wants_name = "confirm" in {reason.field for reason in error.reasons}
        refusal = _protected() if wants_name else str(error.detail)
        # Of what one may not see there is not even a job in the way.
        job = "" if isinstance(error, NotFound) else str(error.data.get("job", {}).get("id", ""))
        return Outcome(uid, name, job, refusal, wants_name)
    return Outcome(uid, name, str(answer.body["job"]))
