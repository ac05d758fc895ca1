"""The operations on machines. Each step looks before it makes, and its effect is found again by our uid."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import rules
from compute.choices import RUNNING
from compute.models import Disk, Vm
from compute.sync.vms import RUNNING_DIMENSIONS, observe, settle_at_end
from portal.common.sealed import unseal_json
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError, NoCapacity, NotFound
from portal.hypervisors.specs import DiskRef, DiskSpec, InitialRun, NicSpec, VmRef, VmSpec, VmStatus
from portal.jobs.context import JobContext
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants import quota

GIB = 1024**3
UNDOING = gettext_lazy("What had been made is being undone; the quota is given back when that is done.")
AS_IT_IS = gettext_lazy("Nothing was undone: the machine's page shows how it is now.")
OFF = {VmStatus.DOWN, VmStatus.SUSPENDED}


def _vm(ctx: StepContext) -> Vm:
    vm = Vm.objects.select_related("provider", "template", "data_center").filter(pk=ctx.target_uid).first()
    if vm is None:
        raise StepFailed(_("The machine is gone."), code="vm_gone")
    return vm


def _driver(vm: Vm) -> Driver:
    return driver_for(vm.provider)


def _ref(vm: Vm) -> VmRef:
    return VmRef(vm.pk, vm.external_id or str(vm.pk))


def _disks(vm: Vm) -> list[Disk]:
    return list(vm.disks.select_related("storage_domain"))


def _disk_ref(disk: Disk) -> DiskRef:
    return DiskRef(disk.pk, disk.storage_domain.external_id)


def settle(job: JobContext) -> None:
    """However it ended, what running costs follows what was last seen."""
    vm = Vm.objects.select_related("data_center").filter(pk=job.target_uid).first()
    if vm is not None:
        settle_at_end(vm)


def _nics(vm: Vm) -> tuple[NicSpec, ...]:
    return tuple(
        NicSpec(nic.pk, nic.mac, nic.vnic_profile.network.external_id, nic.vnic_profile.network.filter_name)
        for nic in vm.nics.select_related("vnic_profile__network")
    )


# -- create


def place(ctx: StepContext) -> Done:
    """The provider answers, and the storage domain has room for the disk's first growth."""
    vm = _vm(ctx)
    about = _driver(vm).about()
    for disk in _disks(vm):
        if disk.storage_domain.status != "active":
            raise NoCapacity(_("The storage domain is not active. Ask an administrator of the data center."))
    return Done({"host": about.host_name[:60]})


def make_disks(ctx: StepContext) -> None:
    """A linked clone of the template's image."""
    vm = _vm(ctx)
    driver = _driver(vm)
    for disk in _disks(vm):
        base = None
        if vm.template is not None:
            base = DiskRef(vm.template.pk, vm.template.storage_domain.external_id)
        ref = _disk_ref(disk)
        if driver.find_disk(ref) is None:
            driver.create_disk(DiskSpec(disk.pk, ref.storage_domain, disk.size_gib * GIB, base=base))
        ctx.fault_point("made")


def unmake_disks(ctx: StepContext) -> None:
    """Remove them; already gone is done."""
    vm = _vm(ctx)
    driver = _driver(vm)
    for disk in _disks(vm):
        driver.delete_disk(_disk_ref(disk))
        ctx.fault_point("removed")


def make_first_boot(ctx: StepContext) -> Done:
    """The volume with host name, user and SSH keys, where the provider takes them so."""
    vm = _vm(ctx)
    driver = _driver(vm)
    volume = None
    if vm.sealed_initial_run and driver.capabilities().first_boot_volume:
        domain = _disks(vm)[0].storage_domain.external_id
        volume = driver.create_first_boot(vm.pk, initial_run(vm), storage_domain=domain)
        ctx.fault_point("made")
    return Done({"volume": volume.external_id, "storage_domain": volume.storage_domain} if volume else {})


def unmake_first_boot(ctx: StepContext) -> None:
    """Remove it; already gone is done."""
    vm = _vm(ctx)
    for disk in _disks(vm)[:1]:
        _driver(vm).delete_first_boot(vm.pk, storage_domain=disk.storage_domain.external_id)


def initial_run(vm: Vm) -> InitialRun:
    """The first-boot data of a machine, opened."""
    data = unseal_json(vm.sealed_initial_run)
    return InitialRun(data.get("hostname", ""), data.get("user_name", ""), tuple(data.get("ssh_authorized_keys", ())))


def define(ctx: StepContext) -> Done:
    """Define the machine, switched off, with its disks and network cards."""
    vm = _vm(ctx)
    driver = _driver(vm)
    found = driver.find_vm(vm.pk)
    ref = VmRef(vm.pk, found.external_id) if found else driver.create_vm(_spec(ctx, vm))
    ctx.fault_point("made")
    Vm.objects.filter(pk=vm.pk).update(external_id=ref.external_id)
    return Done({"external_id": ref.external_id})


def _first_boot(ctx: StepContext, vm: Vm) -> list[DiskRef]:
    """The volume that was made for the first boot, if one was."""
    made = ctx.output("first_boot")
    return [DiskRef(vm.pk, made["storage_domain"], made["volume"])] if made else []


def _spec(ctx: StepContext, vm: Vm) -> VmSpec:
    return VmSpec(
        uid=vm.pk,
        name=rules.provider_name(vm.name, vm.pk.hex),
        description=vm.description,
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        disks=tuple(_disk_ref(disk) for disk in _disks(vm)),
        nics=_nics(vm),
        first_boot=next(iter(_first_boot(ctx, vm)), None),
        initial_run=initial_run(vm) if vm.sealed_initial_run else None,
    )


def undefine(ctx: StepContext) -> Done:
    """Cut the power if it runs, undefine, and give its addresses back; already gone is done."""
    vm = _vm(ctx)
    driver = _driver(vm)
    found = driver.find_vm(vm.pk)
    ref = VmRef(vm.pk, found.external_id) if found else _ref(vm)
    if found is not None and found.status not in OFF:
        driver.stop_vm(ref)
        ctx.fault_point("stopped")
    driver.delete_vm(ref, nics=_nics(vm))
    return Done({"gone": True})


def start(ctx: StepContext) -> None:
    """Switch on, unless it is not wanted."""
    vm = _vm(ctx)
    if ctx.params.get("run", True):
        _driver(vm).run_vm(_ref(vm))


def read_back(ctx: StepContext) -> Wait | None:
    """Success is what the hypervisor says it has: read it back and write it down."""
    vm = _vm(ctx)
    found = _driver(vm).find_vm(vm.pk)
    if found is None:
        raise StepFailed(_("The hypervisor does not have the machine."), code="vm_not_found", can_retry=True)
    wanted_up = bool(ctx.params.get("run", True))
    observe(vm, found)
    if wanted_up and found.status is VmStatus.DOWN:
        raise StepFailed(_("The machine went off again right after its start."), code="vm_went_down")
    if wanted_up and found.status not in {VmStatus.UP, VmStatus.POWERING_UP}:
        return Wait(0.5, _("Waiting for the machine to come up."), give_up_after=60)
    return None


def read_back_all(ctx: StepContext) -> Wait | None:
    """The machine, and what it stands on: one that is not started would not miss its disks."""
    vm = _vm(ctx)
    driver = _driver(vm)
    wanted = [_disk_ref(disk) for disk in _disks(vm)] + _first_boot(ctx, vm)
    if any(driver.find_disk(ref) is None for ref in wanted):
        raise StepFailed(_("The hypervisor does not have the machine's disk."), code="disk_not_found")
    return read_back(ctx)


def forget_failed(job: JobContext) -> None:
    """Nothing was made: the row goes, and the quota comes back."""
    _forget(job.target_uid)


def _forget(vm_uid: UUID) -> None:
    vm = Vm.objects.filter(pk=vm_uid).first()
    if vm is None:
        return
    for disk in vm.disks.all():
        quota.release(quota.Consumer("disk", disk.pk))
    quota.release(quota.Consumer("vm", vm.pk))
    vm.delete()


class CreateVm(Operation):
    """Make a machine from a template: linked clone, first-boot data, definition, start, read back."""

    name = "compute.create_vm"
    title = gettext_lazy("Create machine")
    audit_verb = "VM_CREATE"
    while_undone = UNDOING
    when_failed = gettext_lazy("What had been made was undone, and the quota given back.")
    steps = (
        StepDef("place", gettext_lazy("Find a place"), place),
        StepDef("make_disks", gettext_lazy("Make the disk"), make_disks, unmake_disks),
        StepDef("first_boot", gettext_lazy("Prepare the first boot"), make_first_boot, unmake_first_boot),
        StepDef("define", gettext_lazy("Define the machine"), define, undefine),
        StepDef("start", gettext_lazy("Start the machine"), start),
        StepDef("read_back", gettext_lazy("Read back"), read_back_all),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(forget_failed)


# -- delete


def power_off(ctx: StepContext) -> Wait | None:
    """It must be off before its disks go."""
    vm = _vm(ctx)
    found = _driver(vm).find_vm(vm.pk)
    if found is None or found.status in OFF:
        return None
    _driver(vm).stop_vm(VmRef(vm.pk, found.external_id))
    return Wait(0.5, _("Waiting for the power to be off."), give_up_after=60)


def forget(job: JobContext) -> None:
    """All is gone: the row goes, and the quota comes back."""
    _forget(job.target_uid)


def tell_what_is_left(job: JobContext) -> None:
    """A machine whose definition is gone already is shown as absent, so that it can be deleted again."""
    vm = Vm.objects.select_related("data_center").filter(pk=job.target_uid).first()
    if vm is not None and job.output("undefine").get("gone"):
        observe(vm, None)
    settle(job)


class DeleteVm(Operation):
    """Delete a machine with its disks."""

    name = "compute.delete_vm"
    title = gettext_lazy("Delete machine")
    audit_verb = "VM_DELETE"
    when_failed = gettext_lazy("What is left of the machine still counts in your quota. Delete it again later.")
    point_of_no_return = "undefine"
    steps = (
        StepDef("power_off", gettext_lazy("Make sure it is off"), power_off, destructive=True),
        StepDef("undefine", gettext_lazy("Remove the definition"), undefine, destructive=True, give_up_after=600),
        StepDef(
            "delete_first_boot",
            gettext_lazy("Remove first-boot data"),
            unmake_first_boot,
            destructive=True,
            give_up_after=600,
        ),
        StepDef("delete_disks", gettext_lazy("Delete the disks"), unmake_disks, destructive=True, give_up_after=600),
    )
    on_finished = staticmethod(forget)
    on_failed = staticmethod(tell_what_is_left)


# -- power


def switch_on(ctx: StepContext) -> None:
    """Switch on; already on is done."""
    vm = _vm(ctx)
    _driver(vm).run_vm(_ref(vm))


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
    steps = (
        StepDef("start", gettext_lazy("Start the machine"), switch_on),
        StepDef("read_back", gettext_lazy("Read back"), read_back),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(give_running_back)


def ask_to_shut_down(ctx: StepContext) -> None:
    """Ask the guest; already off is done."""
    vm = _vm(ctx)
    found = _driver(vm).find_vm(vm.pk)
    if found is not None and found.status not in OFF:
        _driver(vm).shut_down_vm(_ref(vm))


def wait_down(ctx: StepContext) -> Wait | None:
    """Until it is off; a guest may ignore the request."""
    vm = _vm(ctx)
    found = _driver(vm).find_vm(vm.pk)
    observe(vm, found, addresses=() if found and found.status in OFF else None)
    if found is None or found.status in OFF:
        return None
    return Wait(1.0, _("Waiting for the guest to shut down."), give_up_after=120)


class ShutDownVm(Operation):
    """Ask a machine's guest to shut down."""

    name = "compute.shut_down_vm"
    title = gettext_lazy("Shut machine down")
    audit_verb = "VM_SHUT_DOWN"
    when_failed = AS_IT_IS
    steps = (
        StepDef("ask", gettext_lazy("Ask the guest"), ask_to_shut_down),
        StepDef("wait_down", gettext_lazy("Wait until it is off"), wait_down),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(settle)


def cut_power(ctx: StepContext) -> None:
    """Cut the power; already off is done."""
    vm = _vm(ctx)
    try:
        _driver(vm).stop_vm(_ref(vm))
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
    vm = _vm(ctx)
    if ctx.output("ask").get("asked"):
        raise StepFailed(
            _("It is not known whether the guest was asked to reboot. Look at it, and ask again if it did not."),
            code="reboot_uncertain",
        )
    ctx.remember(asked=True)
    try:
        _driver(vm).reboot_vm(_ref(vm))
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
        StepDef("read_back", gettext_lazy("Read back"), read_back),
    )
    on_finished = staticmethod(settle)
    on_failed = staticmethod(settle)


OPERATIONS: tuple[Any, ...] = (CreateVm, DeleteVm, RunVm, ShutDownVm, StopVm, RebootVm)


def register_all() -> None:
    """Make them known to the engine."""
    for operation in OPERATIONS:
        register(operation)
