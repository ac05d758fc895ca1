"""Machines that an engine takes hours to make: once one is whole nothing throws it away that may be otherwise tomorrow.

That it could not be started, did not come up or went off again is told as a warning; an engine that is away is waited for.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from compute.models import Template, Vm
from compute.operations.machine import found_now, settle
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.errors import Unavailable
from portal.hypervisors.specs import VmStatus
from portal.jobs.context import JobContext
from portal.jobs.operation import Done, StepContext, Wait

MAKING_SECONDS = 6 * 3600.0  # whole copies of large disks take their time
MOST_LOOKS = 120  # at a machine that is to come up, twice a second


def engines_template(vm: Vm) -> Template | None:
    """The template of its engine's own that it is made from, with its disks; None: they are made here."""
    return vm.template if vm.template is not None and vm.template.is_engines else None


def while_away(vm: Vm, error: Unavailable) -> Wait:
    """What took an engine hours is not undone because it is away for minutes. Raises the error where a machine is made at once."""
    if engines_template(vm) is None:
        raise error
    return Wait(5.0, error.public, give_up_after=MAKING_SECONDS)


def read_back_kept(ctx: StepContext, vm: Vm) -> Done | Wait:
    """One that its engine has made is whole, whether it came up within a minute, did not, or went off again."""
    found = found_now(vm)
    looks = int(ctx.output("read_back").get("looks", 0)) + 1
    is_off = found.status is VmStatus.DOWN
    is_up = found.status in {VmStatus.UP, VmStatus.POWERING_UP}
    if ctx.params.get("run", True) and not is_off and not is_up and looks < MOST_LOOKS:
        ctx.remember(looks=looks)
        return Wait(0.5, _("Waiting for the machine to come up."), give_up_after=MAKING_SECONDS)
    return Done({"off": is_off})


def settle_made(job: JobContext) -> None:
    """What running costs follows what was last seen; that a machine was to run and does not is told as a warning."""
    settle(job)
    refused = job.output("start").get("refused", "")
    if not job.params.get("run", True) or not job.output("read_back").get("off"):
        return
    vm = Vm.objects.filter(pk=job.target_uid).first()
    if vm is not None:
        record(
            job.actor,
            "VM_MADE_NOT_RUNNING",
            outcome=Outcome.NOTED,
            severity=Severity.WARNING,
            subject=Subject("vm", vm.pk, vm.name, vm.data_center_id),
            correlation_id=job.job_uid,
            data={"why": refused},
        )
