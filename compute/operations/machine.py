"""What every step on a machine begins with, and what several operations share."""

from __future__ import annotations

from django.utils.translation import gettext as _

from compute.models import Vm
from compute.sync.vms import observe, settle_at_end
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import VmFound, VmRef, VmStatus
from portal.jobs.context import JobContext
from portal.jobs.operation import StepContext, StepFailed, Wait

OFF = {VmStatus.DOWN, VmStatus.SUSPENDED}


def vm_of(ctx: StepContext) -> Vm:
    """The machine that the job is about. Raises ``StepFailed`` when its row is gone."""
    vm = Vm.objects.select_related("provider", "template", "data_center", "cluster").filter(pk=ctx.target_uid).first()
    if vm is None:
        raise StepFailed(_("The machine is gone."), code="vm_gone")
    return vm


def driver_of(vm: Vm) -> Driver:
    """The driver of its provider."""
    return driver_for(vm.provider)


def ref_of(vm: Vm) -> VmRef:
    """How both sides name it; one that was never defined goes by our uid."""
    return VmRef(vm.pk, vm.external_id or str(vm.pk))


def read_back(ctx: StepContext) -> Wait | None:
    """Success is what the hypervisor says it has: read it back and write it down."""
    found = found_now(vm_of(ctx))
    wanted_up = bool(ctx.params.get("run", True))
    if wanted_up and found.status is VmStatus.DOWN:
        raise StepFailed(_("The machine went off again right after its start."), code="vm_went_down")
    if wanted_up and found.status not in {VmStatus.UP, VmStatus.POWERING_UP}:
        return Wait(0.5, _("Waiting for the machine to come up."), give_up_after=60)
    return None


def found_now(vm: Vm) -> VmFound:
    """The machine as the hypervisor has it, written down. Raises ``StepFailed``, to be tried again, where it does not."""
    found = driver_of(vm).find_vm(vm.pk, vm.external_id)
    if found is None:
        raise StepFailed(_("The hypervisor does not have the machine."), code="vm_not_found", can_retry=True)
    observe(vm, found)
    return found


def settle(job: JobContext) -> None:
    """However it ended, what running costs follows what was last seen."""
    vm = Vm.objects.select_related("data_center").filter(pk=job.target_uid).first()
    if vm is not None:
        settle_at_end(vm)
