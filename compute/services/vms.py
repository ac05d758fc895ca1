"""The hallway of machines: every door calls these. Policy, rules, quota, rows and the job, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID, uuid4

from django.db import IntegrityError
from django.utils.translation import gettext as _

from compute import rules, selectors
from compute.actions import status_reasons
from compute.models import Cluster, Disk, Nic, Vm
from compute.operations.power import RebootVm, RunVm, ShutDownVm, StopVm
from compute.operations.vms import CreateVm, DeleteVm, steps_for
from compute.services.placement import Place, place_for, run_reasons
from compute.services.wishes import (
    NewDisk,
    VmRequest,
    Wish,
    lay_disks,
    name_reasons,
    name_taken,
    refuse_taken_back,
    resolved,
    rule_reasons,
)
from compute.sync.vms import running_amounts
from network.models import VnicProfile
from portal.common.actor import Actor
from portal.common.constraints import at_once
from portal.common.errors import Busy, Conflict, Invalid, QuotaExceeded, Reason, overtaken
from portal.common.sealed import seal_json
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.jobs.models import Job
from portal.jobs.operation import Operation
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from tenants import policy, quota
from tenants.models.quota import Dimension
from tenants.policy import Permit
from tenants.services.makers import give_to_owner
from tenants.usage import Forecast


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, in order, and what it would cost; ``reasons`` is why not, all at once."""

    steps: tuple[str, ...]
    quota: tuple[Forecast, ...]
    reasons: tuple[Reason, ...]


def plan_create(actor: Actor, request: VmRequest) -> Plan:
    """The dry run of ``create_vm``: permission, rules and quota checked, the plan told, nothing written."""
    wish = resolved(actor, request)
    total = wish.amounts() | wish.running() | {Dimension.STORAGE_GIB: wish.template.disk_gib}
    meters = quota.what_if(wish.data_center, actor.uid, total)
    laid = lay_disks(wish)
    where = (*laid.reasons, *place_for(actor, wish, laid).reasons)
    reasons = (*rule_reasons(wish), *name_reasons(wish), *where, *over_quota(meters))
    steps = steps_for(wish.template, run=request.run)
    return Plan(tuple(str(step.title) for step in steps), tuple(meters), reasons)


def over_quota(forecasts: Iterable[Forecast]) -> list[Reason]:
    """Why it would be too much."""
    return [reason for forecast in forecasts for reason in forecast.reasons]


def create_vm(actor: Actor, request: VmRequest) -> tuple[Vm, Job]:
    """Make a machine: rows, charge and job now, the machine by the job.

    Raises ``Invalid`` with all broken rules, ``Conflict`` for a taken name or no room, ``QuotaExceeded`` with figures,
    ``NotFound`` for a data center or template that the actor may not use.
    """
    with attempt(actor, "VM_CREATE", Subject("vm", None, str(request.name)[:64])) as trial:
        wish = resolved(actor, request)
        _refuse(rule_reasons(wish), Invalid)
        # Before the look for a place: what the data center may use is not taken from it until the machine is written.
        quota.hold([wish.data_center.pk])
        refuse_taken_back(wish)
        laid = lay_disks(wish)
        place = place_for(actor, wish, laid)
        _refuse([*name_reasons(wish), *laid.reasons, *place.reasons], Conflict)
        vm, disks = _write(actor, wish, place, laid.disks)
        trial.subject = Subject("vm", vm.pk, vm.name, wish.data_center.pk)
        job = start_job(actor, _create_request(wish, vm, disks))
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return vm, job


def _refuse(reasons: list[Reason], kind: type[Invalid | Conflict]) -> None:
    if reasons:
        raise kind(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))


def _write(actor: Actor, wish: Wish, place: Place, disks: Iterable[NewDisk]) -> tuple[Vm, list[Disk]]:
    uid = uuid4()
    new = {uuid4(): disk for disk in disks}
    _charge(actor, wish, vm_uid=uid, disks=new)
    vm = _vm_row(actor, wish, place, uid=uid)
    rows = Disk.objects.bulk_create(_disk_row(vm, disk_uid, disk) for disk_uid, disk in new.items())
    Nic.objects.bulk_create(_nic_rows(vm, wish.profiles))
    if actor.user is not None:
        give_to_owner(actor, actor.user, vm)
    return vm, rows


def _charge(actor: Actor, wish: Wish, *, vm_uid: UUID, disks: Mapping[UUID, NewDisk]) -> None:
    """The ledger first: its accounts are the narrow gate, and are always taken before other rows."""
    costs = {quota.Consumer("vm", vm_uid): wish.amounts() | wish.running()}
    for uid, disk in disks.items():
        costs[quota.Consumer("disk", uid)] = {Dimension.STORAGE_GIB: disk.size_gib}
    quota.charge_all(costs, wish.data_center, user_uid=actor.uid)


def _vm_row(actor: Actor, wish: Wish, place: Place, *, uid: UUID) -> Vm:
    request = wish.request
    initial = {
        "hostname": request.hostname or rules.default_hostname(request.name),
        "user_name": request.user_name,
        "ssh_authorized_keys": list(request.ssh_authorized_keys),
    }
    try:
        with at_once():
            return Vm.objects.create(
                uid=uid,
                name=request.name,
                description=request.description,
                data_center=wish.data_center,
                owner=actor.user,
                template=wish.template,
                cluster=cast("Cluster", place.cluster),
                host=place.host,
                provider_id=wish.template.storage_domain.provider_id,
                memory_mib=wish.memory_mib,
                vcpus=wish.vcpus,
                sealed_initial_run=seal_json(initial),
            )
    except IntegrityError as error:
        if not name_reasons(wish):
            raise overtaken() from error
        raise Conflict(name_taken().text, reasons=(name_taken(),)) from error


def _disk_row(vm: Vm, uid: UUID, disk: NewDisk) -> Disk:
    facts = {"name": disk.name, "size_gib": disk.size_gib, "bootable": disk.bootable, "source": disk.source}
    return Disk(uid=uid, vm=vm, storage_domain=disk.domain, **facts)


def _nic_rows(vm: Vm, profiles: Sequence[VnicProfile]) -> list[Nic]:
    """With MAC addresses that nobody has: with 24 bits of their own, two among thousands may meet."""
    macs: dict[str, UUID] = {}
    while len(macs) < len(profiles):
        macs |= {rules.mac_of(uid.hex): uid for uid in (uuid4() for _ in profiles[len(macs) :])}
        for taken in Nic.objects.filter(mac__in=macs).values_list("mac", flat=True):
            del macs[taken]
    named = enumerate(zip(macs.items(), profiles, strict=True), start=1)
    return [Nic(uid=uid, name=f"nic{n}", vm=vm, vnic_profile=to, mac=mac) for n, ((mac, uid), to) in named]


def _create_request(wish: Wish, vm: Vm, disks: Iterable[Disk]) -> JobRequest:
    return JobRequest(
        operation=CreateVm,
        target=_target(vm),
        gate=Gate(Permit.VM_CREATE, "data_center", wish.data_center.pk),
        locks=(Lock("vm", vm.pk), Lock("template", wish.template.pk, exclusive=False)),
        params={"run": wish.request.run, "clone": wish.request.clone, **_traces(vm, disks)},
    )


def _traces(vm: Vm, disks: Iterable[Disk]) -> dict[str, Any]:
    """By what the things of a machine can still be found when its rows are gone."""
    return {
        "provider": str(vm.provider_id),
        "disks": [
            {
                "uid": str(disk.pk),
                "storage_domain": disk.storage_domain.external_id,
                "domain": disk.storage_domain.name,
            }
            for disk in disks
        ],
    }


def _target(vm: Vm) -> Target:
    return Target("vm", vm.pk, vm.name, vm.data_center_id)


@dataclass(frozen=True, slots=True)
class _Verb:
    """How a verb on a machine that is there starts."""

    name: str
    audit: str
    permit: Permit
    operation: type[Operation]
    charges: bool = False


RUN = _Verb("run", "VM_RUN", Permit.VM_RUN, RunVm, charges=True)
SHUT_DOWN = _Verb("shut_down", "VM_SHUT_DOWN", Permit.VM_SHUT_DOWN, ShutDownVm)
STOP = _Verb("stop", "VM_STOP", Permit.VM_STOP, StopVm)
REBOOT = _Verb("reboot", "VM_REBOOT", Permit.VM_REBOOT, RebootVm)
DELETE = _Verb("delete", "VM_DELETE", Permit.VM_DELETE, DeleteVm)
VERBS = {verb.name: verb for verb in (RUN, SHUT_DOWN, STOP, REBOOT, DELETE)}


def _start(actor: Actor, vm_uid: UUID, verb: _Verb, confirm: str) -> Job:
    with attempt(actor, verb.audit, Subject("vm", vm_uid)) as trial:
        vm = selectors.get_vm(actor, vm_uid)
        trial.subject = Subject("vm", vm.pk, vm.name, vm.data_center_id)
        policy.authorize(actor, verb.permit, vm)
        refuse_protected(actor, vm, verb.name, confirm)
        _refuse_busy(vm)
        _refuse(status_reasons(vm, verb.name), Conflict)
        if verb.charges and vm.status not in {"paused"}:
            _refuse(run_reasons(actor, vm), Conflict)
            _charge_running(actor, vm)
        request = JobRequest(
            verb.operation, _target(vm), Gate(verb.permit, "vm", vm.pk), (Lock("vm", vm.pk),), _params(verb)
        )
        job = start_job(actor, request)
        refuse_moved(vm)
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return job


def _charge_running(actor: Actor, vm: Vm) -> None:
    try:
        quota.charge(quota.Consumer("vm", vm.pk), vm.data_center, running_amounts(vm), user_uid=vm.owner_id)
    except QuotaExceeded as error:
        raise QuotaExceeded(error.detail, reasons=tuple(_told(actor, vm, error.reasons))) from error


def _told(actor: Actor, vm: Vm, reasons: Iterable[Reason]) -> list[Reason]:
    """What else its owner has is told to him alone, not to whoever he lets run the machine."""
    if actor.uid == vm.owner_id:
        return list(reasons)
    return [replace(each, data=each.data | {"top_consumers": []}) for each in reasons]


def refuse_moved(vm: Vm) -> None:
    """After its lock was taken: raise ``Conflict`` where another data center has the machine since it was read."""
    if not Vm.objects.filter(pk=vm.pk, data_center=vm.data_center_id).exists():
        raise overtaken()


def refuse_protected(actor: Actor, vm: Vm, verb: str, confirm: str) -> None:
    """Raise ``Conflict`` where the machine is protected and this is not a super-admin who typed its name."""
    _refuse(_protection_reasons(actor, vm, verb, confirm), Conflict)


def _protection_reasons(actor: Actor, vm: Vm, verb: str, confirm: str) -> list[Reason]:
    is_super_admin = vm.protected and policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE)
    return rules.protection_reasons(
        verb, vm.name, protected=vm.protected, is_super_admin=is_super_admin, confirm=confirm
    )


def _params(verb: _Verb) -> dict[str, Any]:
    return {"run": True} if verb.name in {"run", "reboot"} else {}


def _refuse_busy(vm: Vm) -> None:
    """The job at work explains better than the status it left; ``start_job`` decides races by its locks."""
    for reason in _busy_reasons(vm):
        raise Busy(reason.text, data=reason.data)


def _busy_reasons(vm: Vm) -> list[Reason]:
    job = selectors.open_job(vm.pk)
    if job is None:
        return []
    named = {"job": {"id": str(job.pk), "operation": job.operation, "status": job.status}}
    return [Reason("busy", _("Another job is at work on this machine. Wait until it ends."), data=named)]


def plan_verb(actor: Actor, vm_uid: UUID, name: str, *, confirm: str = "") -> Plan:
    """The dry run of a verb: permission, protection, status, a job at work and quota checked, the plan told, nothing written."""
    verb = VERBS[name]
    vm = selectors.get_vm(actor, vm_uid)
    policy.authorize(actor, verb.permit, vm)
    meters = quota.what_if(vm.data_center, vm.owner_id, running_amounts(vm) if verb.charges else {})
    room = run_reasons(actor, vm) if verb.charges else []
    over = _told(actor, vm, over_quota(meters))
    guarded = _protection_reasons(actor, vm, verb.name, confirm)
    reasons = (*guarded, *_busy_reasons(vm), *status_reasons(vm, verb.name), *room, *over)
    steps = tuple(str(step.title) for step in verb.operation.steps)
    # A machine may be shared with somebody who is of no concern to its department.
    shows = policy.holds_in(actor, Permit.QUOTA_VIEW, vm.data_center)
    return Plan(steps, tuple(meters) if shows else (), reasons)


def run_vm(actor: Actor, vm_uid: UUID, *, confirm: str = "") -> Job:
    """Run a machine; that ends nothing, so nothing is to be confirmed.

    Raises ``QuotaExceeded``, ``Conflict`` with the status, ``Busy`` naming the job.
    """
    return _start(actor, vm_uid, RUN, confirm)


def shut_down_vm(actor: Actor, vm_uid: UUID, *, confirm: str = "") -> Job:
    """Ask a machine's guest to shut down."""
    return _start(actor, vm_uid, SHUT_DOWN, confirm)


def stop_vm(actor: Actor, vm_uid: UUID, *, confirm: str = "") -> Job:
    """Cut a machine's power."""
    return _start(actor, vm_uid, STOP, confirm)


def reboot_vm(actor: Actor, vm_uid: UUID, *, confirm: str = "") -> Job:
    """Ask a machine's guest to reboot."""
    return _start(actor, vm_uid, REBOOT, confirm)


def delete_vm(actor: Actor, vm_uid: UUID, *, confirm: str = "") -> Job:
    """Delete a machine with its disks."""
    return _start(actor, vm_uid, DELETE, confirm)
