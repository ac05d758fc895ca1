"""Switching machines on and off. Each step looks before it acts."""

from __future__ import annotations

import time
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.choices import RUNNING
from compute.models import Vm
from compute.operations.machine import OFF, driver_of, read_back, ref_of, settle, vm_of
from compute.sync.vms import RUNNING_DIMENSIONS, observe
from portal.hypervisors.errors import HypervisorError, NotFound
from portal.jobs.context import JobContext
from portal.jobs.operation import Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants import quota

ASK_AGAIN_SECONDS = 15.0
AS_IT_IS = gettext_lazy("Nothing was undone: the machine's page shows how it is now.")


def switch_on(ctx: StepContext) -> None:
    """Switch on; already on is done."""
    vm = vm_of(ctx)
    driver_of(vm).run_vm(ref_of(vm))


def give_running_back(job: JobContext) -> None:
    """It was not seen to run: what running costs comes back."""
    if Vm.objects.filter(pk=job.target_uid, status__in=RUNNING - {"unknown"}).exists():
        return
    quota.release(quota.Consumer("vm", job.target_uid), RUNNING_DIMENSIONS)


class RunVm(Operation):
    """Run a machine."""

    name = "compute.run_vm"
    title = gettext_lazy("Run machine")
    audit_verb = "VM_RUN"
    when_failed = AS_IT_IS
    # Cancelled after it, the job would give back what the running machine costs: one could run more than one has.
    point_of_no_return = "start"
    steps = (
        StepDef("start", gettext_lazy("Start the machine"), switch_on),
        StepDef("read_back", gettext_lazy("Verify"), read_back),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(give_running_back)


def ask_to_shut_down(ctx: StepContext) -> None:
    """Ask the guest; already off is done."""
    vm = vm_of(ctx)
    found = driver_of(vm).find_vm(vm.pk, vm.external_id)
    if found is not None and found.status not in OFF:
        driver_of(vm).shut_down_vm(ref_of(vm))


def wait_down(ctx: StepContext) -> Wait | None:
    """Until it is off; a guest may ignore the request."""
    vm = vm_of(ctx)
    found = driver_of(vm).find_vm(vm.pk, vm.external_id)
    observe(vm, found, addresses=() if found and found.status in OFF else None)
    if found is None or found.status in OFF:
        return None
    return Wait(1.0, _("Waiting for the guest to shut down."), give_up_after=120)


def wait_shut_down(ctx: StepContext) -> Wait | None:
    """The same, and ask again now and then: a guest that is still booting does not hear the power button."""
    wait = wait_down(ctx)
    if wait is None:
        return None
    now = time.time()
    asked_at = ctx.output("wait_down").get("asked_at")
    if asked_at is None:  # the first look, right after the question
        ctx.remember(asked_at=now)
    elif not asked_at <= now < asked_at + ASK_AGAIN_SECONDS:
        ctx.remember(asked_at=now)
        ask_to_shut_down(ctx)
    return wait


class ShutDownVm(Operation):
    """Ask a machine's guest to shut down."""

    name = "compute.shut_down_vm"
    title = gettext_lazy("Shut machine down")
    audit_verb = "VM_SHUT_DOWN"
    when_failed = AS_IT_IS
    steps = (
        StepDef("ask", gettext_lazy("Ask the guest"), ask_to_shut_down),
        StepDef("wait_down", gettext_lazy("Wait until it is off"), wait_shut_down),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(settle)


def cut_power(ctx: StepContext) -> None:
    """Cut the power; already off is done."""
    vm = vm_of(ctx)
    try:
        driver_of(vm).stop_vm(ref_of(vm))
    except NotFound:
        return


class StopVm(Operation):
    """Cut a machine's power."""

    name = "compute.stop_vm"
    title = gettext_lazy("Stop machine")
    audit_verb = "VM_STOP"
    when_failed = AS_IT_IS
    steps = (
        StepDef("stop", gettext_lazy("Cut the power"), cut_power, destructive=True),
        StepDef("wait_down", gettext_lazy("Wait until it is off"), wait_down),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(settle)


def ask_to_reboot(ctx: StepContext) -> None:
    """Ask the guest to reboot, once: nothing shows whether it did, and a second time would hit somebody at work."""
    vm = vm_of(ctx)
    if ctx.output("ask").get("asked"):
        raise StepFailed(
            _("It is not known whether the guest was asked to reboot. Look at it, and ask again if it did not."),
            code="reboot_uncertain",
        )
    ctx.remember(asked=True)
    try:
        driver_of(vm).reboot_vm(ref_of(vm))
    except HypervisorError as error:
        ctx.remember(asked=error.outcome_unknown)
        raise
    ctx.fault_point("asked")


class RebootVm(Operation):
    """Ask a machine's guest to reboot."""

    name = "compute.reboot_vm"
    title = gettext_lazy("Reboot machine")
    audit_verb = "VM_REBOOT"
    when_failed = AS_IT_IS
    steps = (
        StepDef("ask", gettext_lazy("Ask the guest"), ask_to_reboot),
        StepDef("read_back", gettext_lazy("Verify"), read_back),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(settle)


OPERATIONS: tuple[Any, ...] = (RunVm, ShutDownVm, StopVm, RebootVm)


def register_all() -> None:
    """Make them known to the engine."""
    for operation in OPERATIONS:
        register(operation)
