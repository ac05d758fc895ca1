"""Taking a machine that was found into our care, and giving it back. It is marked and unmarked, and never changed else."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import Vm
from compute.operations.left_behind import mark_left
from compute.operations.machine import driver_of, ref_of, settle, vm_of
from compute.operations.vms import forget
from compute.rules import gib_of
from compute.sync.vms import observe
from portal.jobs.context import JobContext
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, register
from tenants import quota
from tenants.models.quota import Dimension


def put_mark(ctx: StepContext) -> None:
    """Mark it as ours; marked already is done. One of ours that was lost keeps its mark, which must be the one we know it by."""
    vm = vm_of(ctx)
    marked = driver_of(vm).adopt_vm(vm.external_id)
    ctx.fault_point("marked")
    if marked.uid != vm.pk:
        text = _("The machine bears another mark of this portal than when it was found. Look at the list again.")
        raise StepFailed(text, code="marked_otherwise", detail=f"{vm.external_id} is {marked.uid}, not {vm.pk}")


def measure(ctx: StepContext) -> Done:
    """Charge what its disks promise, as the hypervisor says now; once, whatever is said at a second try.

    What cannot be told is not charged, and stays unknown (None) instead of nothing.
    """
    vm = vm_of(ctx)
    size = driver_of(vm).disk_sizes((vm.external_id,)).get(vm.external_id)
    gib = None if size is None else gib_of(size)
    with transaction.atomic():
        if gib and vm.found_disk_gib is None:
            amounts = {Dimension.STORAGE_GIB: gib}
            quota.charge(quota.Consumer("vm", vm.pk), vm.data_center, amounts, user_uid=vm.owner_id, found=True)
        Vm.objects.filter(pk=vm.pk, found_disk_gib=None).update(found_disk_gib=gib)
    ctx.fault_point("charged")
    if size is None:
        ctx.report(_("A disk of it is gone or cannot be read: what its disks promise is not known, and not charged."))
    return Done({"disk_gib": gib})


def take_mark(ctx: StepContext) -> Done:
    """Take the mark off; off already is done."""
    vm = vm_of(ctx)
    driver_of(vm).unadopt_vm(ref_of(vm))
    ctx.fault_point("unmarked")
    return Done({"gone": True})


def forget_unadopted(job: JobContext) -> None:
    """Given back it is, whatever failed then; else it is in our care as before."""
    (forget if job.output("unmark").get("gone") else settle)(job)


def read_back_as_it_is(ctx: StepContext) -> None:
    """Success is what the hypervisor says: the machine is found by its mark, on or off as it was."""
    vm = vm_of(ctx)
    found = driver_of(vm).find_vm(vm.pk, vm.external_id)
    if found is None:
        raise StepFailed(_("The hypervisor does not have the machine."), code="vm_not_found", can_retry=True)
    observe(vm, found)


def read_back_unmarked(ctx: StepContext) -> None:
    """It is not found by our mark any more."""
    vm = vm_of(ctx)
    if driver_of(vm).find_vm(vm.pk, vm.external_id) is not None:
        raise StepFailed(_("The machine still bears this portal's mark."), code="still_marked", can_retry=True)


class AdoptVm(Operation):
    """Take a machine that is there into a data center's care."""

    name = "compute.adopt_vm"
    title = gettext_lazy("Adopt machine")
    audit_verb = "VM_ADOPT"
    when_failed = gettext_lazy("The machine is on its hypervisor as it was, and nobody's here.")
    steps = (
        StepDef("mark", gettext_lazy("Mark the machine"), put_mark, take_mark),
        StepDef("measure", gettext_lazy("Measure its disks"), measure),
        StepDef("read_back", gettext_lazy("Verify"), read_back_as_it_is),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(forget)
    left_behind = staticmethod(mark_left)


class UnadoptVm(Operation):
    """Let go of an adopted machine, which stays on its hypervisor as it is."""

    name = "compute.unadopt_vm"
    title = gettext_lazy("Give machine back")
    audit_verb = "VM_UNADOPT"
    when_failed = gettext_lazy("The machine is still in the portal's care. Give it back again later.")
    point_of_no_return = "unmark"
    steps = (
        StepDef("unmark", gettext_lazy("Take the mark off"), take_mark),
        StepDef("read_back", gettext_lazy("Verify"), read_back_unmarked),
    )
    on_finished = staticmethod(forget)
    on_failed = staticmethod(forget_unadopted)


def register_all() -> None:
    """Make them known to the engine."""
    register(AdoptVm)
    register(UnadoptVm)
