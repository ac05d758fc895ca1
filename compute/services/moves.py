"""The hallway of moves: a machine of one data center comes into another, with its quota, its roles and its history.

All of it is rows, in one transaction. On its hypervisor nothing is touched: marks and names there tell ids of ours, and no
department.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from compute import rules, selectors
from compute.models import StorageDomain, Vm
from compute.services.adoption import data_center_of
from compute.services.owners import ask_for_owner, expected_owner, stored_owner
from compute.sync.vms import announce
from network.models import Network
from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import Busy, Conflict, QuotaExceeded, Reason
from portal.common.units import amount_text
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt, record, trying
from portal.jobs.start import Lock, refuse_if_held
from tenants import policy, quota
from tenants.models import DataCenter, User
from tenants.models.quota import Dimension, SubjectKind
from tenants.permits import Permit
from tenants.quota import Consumer
from tenants.services.handing_over import Share, drop_expired, end_shares, ending_shares
from tenants.services.makers import give_to_owner, refuse_appointing
from tenants.services.person_search import AskedPerson
from tenants.subjects import seen
from tenants.usage import Forecast, taken_by


@dataclass(frozen=True, slots=True)
class Move:
    """Into which data center a machine is to come, and whose it is to be there; no owner: nobody's.

    ``asked``: the owner as ``with_owner`` asked for him. ``despite_unknown``: an adopted one comes there although nobody here
    can tell on what storage and networks it is.
    """

    data_center_uid: UUID
    owner: str = ""  # a user name
    despite_unknown: bool = False
    asked: AskedPerson | None = None


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What a move would do: the name the machine gets, the quota of both data centers after it, and whose roles end.

    ``reasons`` is why not, all at once.
    """

    vm: Vm
    data_center: DataCenter
    owner: User | None
    name: str = ""
    released: tuple[Forecast, ...] = ()
    charged: tuple[Forecast, ...] = ()
    ending: tuple[Share, ...] = ()
    reasons: tuple[Reason, ...] = ()


def destinations(actor: Actor, vm_uid: UUID) -> tuple[Vm, QuerySet[DataCenter]]:
    """The machine, and the data centers that it can be moved to, by name. For super-admins."""
    vm = _authorized(actor, vm_uid)
    return vm, DataCenter.objects.filter(enabled=True).exclude(pk=vm.data_center_id).order_by("name", "uid")


def with_owner(actor: Actor, vm_uid: UUID, move: Move) -> Move:
    """The move with its owner asked for in his directory. Call it outside of any transaction."""
    with trying(actor, "VM_MOVE", seen(actor, "vm", vm_uid)):
        _authorized(actor, vm_uid)
        return replace(move, asked=ask_for_owner(move.owner))


def plan_move(actor: Actor, vm_uid: UUID, move: Move) -> MovePlan:
    """The dry run: everything checked, the quota of both told before and after, nothing written. For super-admins."""
    plan = _planned(actor, _authorized(actor, vm_uid), move, expected_owner(move.owner, move.asked))
    return replace(plan, reasons=(*_busy(plan.vm), *plan.reasons))


def move_vm(actor: Actor, vm_uid: UUID, move: Move) -> Vm:
    """Move a machine: charges, roles, owner and who may see it change together, or nothing does. For super-admins.

    Raises ``Busy`` naming the job that is at work on it, ``QuotaExceeded`` with figures, ``Conflict`` with every reason.
    """
    with attempt(actor, "VM_MOVE", Subject("vm", vm_uid)) as trial:
        vm = selectors.get_vm(actor, vm_uid)
        trial.subject = Subject("vm", vm.pk, vm.name, vm.data_center_id)
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        # Why not tells of both departments: that is in neither's log.
        trial.subject = Subject("vm", vm.pk, vm.name)
        vm = _held(actor, vm, move)
        plan = _planned(actor, vm, move, stored_owner(move.owner, move.asked))
        _refuse(plan)
        before = policy.people_of(vm.data_center)
        left = Subject("vm", vm.pk, vm.name, vm.data_center_id)
        ended = [share.as_data() for share in plan.ending]
        _hand_over(actor, plan)
        record(actor, "VM_LEAVE", outcome=Outcome.DONE, subject=left, data={"ended": ended})
        access_changed(before | policy.people_of(plan.data_center))
        announce(vm)
        trial.subject = Subject("vm", vm.pk, vm.name, vm.data_center_id)
        trial.data = {"owner": str(plan.owner.pk) if plan.owner else ""}
    return vm


def _authorized(actor: Actor, vm_uid: UUID) -> Vm:
    """Whoever may run the whole institute holds that on every data center, the machine's and the other."""
    vm = selectors.get_vm(actor, vm_uid)
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
    return vm


def _held(actor: Actor, vm: Vm, move: Move) -> Vm:
    """The machine as it is now, which stays so until the end: its row first, as whoever observes it takes them, then both
    ledgers, then the way for jobs."""
    list(Vm.objects.select_for_update(no_key=True).filter(pk=vm.pk).values_list("pk"))
    vm = selectors.get_vm(actor, vm.pk)
    quota.hold([vm.data_center_id, data_center_of(move.data_center_uid).pk])
    refuse_if_held([Lock("vm", vm.pk)])
    return vm


def _hand_over(actor: Actor, plan: MovePlan) -> None:
    vm, owner = plan.vm, plan.owner
    consumers = [Consumer("vm", vm.pk), *(Consumer("disk", uid) for uid in vm.disks.values_list("pk", flat=True))]
    quota.move(consumers, plan.data_center, user_uid=owner.pk if owner else None)
    end_shares(plan.ending)
    drop_expired(vm, plan.data_center)
    vm.data_center, vm.owner, vm.name = plan.data_center, owner, plan.name
    vm.save(update_fields=["data_center", "owner", "name"])
    if owner is not None:
        give_to_owner(actor, owner, vm)


def _planned(actor: Actor, vm: Vm, move: Move, owner: User | None) -> MovePlan:
    data_center = data_center_of(move.data_center_uid)
    if owner is not None:
        refuse_appointing(actor, Vm, data_center)
    if data_center.pk == vm.data_center_id:
        text = _("%(name)s is in %(data_center)s already.") % {"name": vm.name, "data_center": data_center.name}
        return MovePlan(vm, data_center, owner, reasons=(Reason("same_data_center", text, "data_center"),))
    takes = {one.dimension: one.amount for one in taken_by([vm.pk, *vm.disks.values_list("pk", flat=True)])}
    charged = quota.what_if(data_center, owner.pk if owner else None, takes)
    given_back = {dimension: -amount for dimension, amount in takes.items()}
    plan = MovePlan(
        vm,
        data_center,
        owner,
        name=_name_there(vm, data_center),
        released=tuple(quota.what_if(vm.data_center, vm.owner_id, given_back)),
        charged=tuple(charged),
        ending=tuple(ending_shares(vm, data_center, owner_uid=vm.owner_id)),
    )
    untold = [_place_untold(data_center)] if vm.adopted and not move.despite_unknown else []
    return replace(plan, reasons=(*_place_reasons(vm, data_center), *untold, *_over(plan)))


def _name_there(vm: Vm, data_center: DataCenter) -> str:
    """Its own, with a number where another machine there has it, as at an adoption."""
    taken = set(Vm.objects.filter(data_center=data_center).values_list("name", flat=True))
    return rules.adopted_name(vm.name, taken=taken) if vm.name in taken else vm.name


def _refuse(plan: MovePlan) -> None:
    if plan.reasons:
        is_quota = {reason.code for reason in plan.reasons} == {"quota_exceeded"}
        text = " ".join(reason.text for reason in plan.reasons)
        raise (QuotaExceeded if is_quota else Conflict)(text, reasons=plan.reasons)


def _busy(vm: Vm) -> list[Reason]:
    try:
        refuse_if_held([Lock("vm", vm.pk)])
    except Busy as busy:
        return [Reason("busy", busy.detail, data=busy.data)]
    return []


def _place_reasons(vm: Vm, data_center: DataCenter) -> Iterator[Reason]:
    """What of the machine's the data center may not use, each by its name, and what helps."""
    if not data_center.enabled:
        text = _("The data center %(name)s is disabled. Enable it first, or choose another.") % {
            "name": data_center.name
        }
        yield Reason("data_center_disabled", text, "data_center")
    if not data_center.cluster_assignments.filter(cluster=vm.cluster_id).exists():
        text = _("It runs on the cluster %(name)s, which is not assigned to %(data_center)s. Assign it there first.")
        yield _not_given("cluster_not_assigned", text, vm.cluster, data_center)
    domains = StorageDomain.objects.filter(disks__vm=vm).exclude(assignments__data_center=data_center)
    for domain in domains.distinct().order_by("name", "uid"):
        text = _(
            "A disk of it is in the storage domain %(name)s, which is not assigned to %(data_center)s. Assign it there first."
        )
        yield _not_given("storage_not_assigned", text, domain, data_center)
    networks = Network.objects.filter(vnic_profiles__nics__vm=vm).select_related("owner").distinct()
    strange = networks.exclude(Q(owner=data_center) | Q(assignments__data_center=data_center))
    for network in strange.order_by("name", "uid"):
        text = _(
            "It has a card on the network %(name)s, which is not assigned to %(data_center)s. Assign it there first."
        )
        if network.owner is not None:
            text = _(
                "It has a card on the network %(name)s, which is a data center's own and is not shared with others. Make a "
                "template of the machine, and of that a machine in %(data_center)s."
            )
        yield _not_given("network_not_assigned", text, network, data_center)


def _place_untold(data_center: DataCenter) -> Reason:
    """Of an adopted machine no disk and no card is known here."""
    text = _(
        "It was adopted: the portal cannot tell in which storage domains its disks are, and on which networks its cards. See on "
        "its hypervisor whether %(data_center)s may use them, and confirm it."
    )
    return Reason("place_not_told", text % {"data_center": data_center.name}, "despite_unknown")


def _not_given(code: str, text: str, row: Model, data_center: DataCenter) -> Reason:
    told = {"name": str(row), "data_center": data_center.name}
    return Reason(code, text % told, data={"name": str(row), "id": str(row.pk)})


def _over(plan: MovePlan) -> Iterator[Reason]:
    """The figures of each limit that would be passed, in the words of whoever can raise it."""
    whose = {SubjectKind.DATA_CENTER: plan.data_center.name}
    if plan.owner is not None:
        whose[SubjectKind.USER] = _("the share of %(owner)s") % {"owner": plan.owner}
        whose[SubjectKind.GROUP] = _("the share of a group of %(owner)s") % {"owner": plan.owner}
    for forecast in plan.charged:
        for reason in forecast.reasons:
            names = ("limit", "used", "requested", "shortfall")
            figures = {name: amount_text(reason.data[name], forecast.dimension) for name in names}
            text = _(
                "%(dimension)s of %(whose)s: limit %(limit)s, in use %(used)s, asked for %(requested)s, %(shortfall)s over. Raise "
                "it first, or have less used there."
            )
            told = {"dimension": Dimension(forecast.dimension).label, "whose": whose[SubjectKind(forecast.subject)]}
            yield replace(reason, text=text % {**told, **figures})
