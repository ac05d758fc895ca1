"""Making and deleting machines. Each step looks before it makes, and its effect is found again by our uid."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import rules
from compute.models import Disk, Nic, Template, Vm
from compute.operations.kept import MAKING_SECONDS, engines_template, read_back_kept, settle_made, while_away
from compute.operations.left_behind import machine_left
from compute.operations.looked_at import once_looked_at
from compute.operations.machine import driver_of, read_back, ref_of, settle, vm_of
from compute.operations.permitted import ask_again
from compute.operations.removal import remove_disks
from compute.sync.vms import observe
from network.models import VnicProfile
from portal.common.sealed import unseal_json
from portal.hypervisors.base import Driver
from portal.hypervisors.engine_found import MakingState
from portal.hypervisors.errors import MakingFailed, NoCapacity, Unavailable
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.specs import (
    DiskFromTemplate,
    DiskRef,
    DiskSpec,
    InitialRun,
    NicSpec,
    VmRef,
    VmSpec,
    VmStatus,
)
from portal.jobs.context import JobContext
from portal.jobs.operation import Act, Done, Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants import quota
from tenants.permits import Permit

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

GIB = 1024**3
LONGEST_WORDS = 500  # of an engine's
NOTHING_TO_DO = Done(skipped=True)
UNDOING = gettext_lazy("What had been made is being undone; the quota is given back when that is done.")


def _disks(vm: Vm) -> list[Disk]:
    return list(vm.disks.select_related("storage_domain"))


def _disk_ref(disk: Disk) -> DiskRef:
    return DiskRef(disk.pk, disk.storage_domain.external_id, disk.external_id)


def _nics(vm: Vm) -> tuple[NicSpec, ...]:
    return tuple(_nic(nic, nic.vnic_profile) for nic in vm.nics.select_related("vnic_profile__network"))


def _nic(nic: Nic, profile: VnicProfile) -> NicSpec:
    network = profile.network
    return NicSpec(nic.pk, nic.mac, network.external_id, network.filter_name, profile.external_id, network.offered)


# -- create


def place(ctx: StepContext) -> Done:
    """Its template and networks are still his who asked, the provider answers, and the storage domain has room for the disk's first growth."""
    vm = vm_of(ctx)
    _ask_for_template(ctx, vm.template)
    for nic in vm.nics.select_related("vnic_profile__network"):
        _ask_again(ctx, nic.vnic_profile)
    about = driver_of(vm).about()
    for disk in _disks(vm):
        if disk.storage_domain.status != "active":
            raise NoCapacity(_("The storage domain is not active. Ask an administrator of the data center."))
    return Done({"host": about.host_name[:60]})


def _ask_again(ctx: StepContext, profile: VnicProfile) -> None:
    """A role on a vNIC profile may have ended since it was chosen."""
    text = _("You may not use the network %(name)s any more. Choose another, or ask for a role on it.")
    told = text % {"name": profile.network.name}
    ask_again(ctx, Permit.NETWORK_USE, profile, code="network_not_permitted", text=told)


def _ask_for_template(ctx: StepContext, template: Template | None) -> None:
    """The same of the template."""
    if template is not None:
        text = _("You may not use the template %(name)s any more. Choose another, or ask for a role on it.")
        told = text % {"name": template.name}
        ask_again(ctx, Permit.TEMPLATE_USE, template, code="template_not_permitted", text=told)


def make_disks(ctx: StepContext) -> Done:
    """A linked clone of the template's image. From an engine's template they come with the machine."""
    vm = vm_of(ctx)
    if engines_template(vm):
        return NOTHING_TO_DO
    driver = driver_of(vm)
    for disk in _disks(vm):
        base = None
        if vm.template is not None:
            base = DiskRef(vm.template.pk, vm.template.storage_domain.external_id)
        ref = _disk_ref(disk)
        if driver.find_disk(ref) is None:
            driver.create_disk(DiskSpec(disk.pk, ref.storage_domain, disk.size_gib * GIB, base=base))
        ctx.fault_point("made")
    return Done()


def unmake_disks(ctx: StepContext, *, step: str = "make_disks") -> Wait | None:
    """Remove them, and wait until they are gone: an engine takes its time. Already gone is done.

    A definition that came late, when its own undo was over, or that is still going, would hold them.
    """
    vm = vm_of(ctx)
    driver = driver_of(vm)
    if driver.find_vm(vm.pk, vm.external_id) is not None:
        undefine(ctx)
        if driver.find_vm(vm.pk, vm.external_id) is not None:
            return Wait(1.0, _("Waiting for the definition to be gone."))
    return remove_disks(ctx, driver, [_disk_ref(disk) for disk in _disks(vm)], step=step)


def make_first_boot(ctx: StepContext) -> Done:
    """The volume with host name, user and SSH keys, where the provider takes them so."""
    vm = vm_of(ctx)
    driver = driver_of(vm)
    if not vm.sealed_initial_run or not driver.capabilities().first_boot_volume:
        return NOTHING_TO_DO
    domain = _disks(vm)[0].storage_domain.external_id
    volume = driver.create_first_boot(vm.pk, initial_run(vm), storage_domain=domain)
    if volume is None:
        return NOTHING_TO_DO
    ctx.fault_point("made")
    return Done({"volume": volume.external_id, "storage_domain": volume.storage_domain})


def unmake_first_boot(ctx: StepContext) -> None:
    """Remove it; already gone is done."""
    vm = vm_of(ctx)
    if not capabilities_of(vm.provider).first_boot_volume:
        return
    for disk in _disks(vm)[:1]:
        driver_of(vm).delete_first_boot(vm.pk, storage_domain=disk.storage_domain.external_id)


def initial_run(vm: Vm) -> InitialRun:
    """The first-boot data of a machine, opened."""
    data = unseal_json(vm.sealed_initial_run)
    return InitialRun(data.get("hostname", ""), data.get("user_name", ""), tuple(data.get("ssh_authorized_keys", ())))


def define(ctx: StepContext) -> Done | Wait:
    """Define the machine, switched off, with its disks and network cards; an engine goes on making it after that."""
    vm = vm_of(ctx)
    driver = driver_of(vm)
    if engines_template(vm):
        return _define_on_engine(ctx, vm, driver)
    found = driver.find_vm(vm.pk)
    ref = VmRef(vm.pk, found.external_id) if found else driver.create_vm(_spec(ctx, vm))
    ctx.fault_point("made")
    Vm.objects.filter(pk=vm.pk).update(external_id=ref.external_id)
    return Done({"external_id": ref.external_id})


def _define_on_engine(ctx: StepContext, vm: Vm, driver: Driver) -> Done | Wait:
    """Asked for until it was accepted whole: the driver looks for itself, and puts on what an earlier call did not."""
    ref = _accepted(ctx, vm)
    if ref is None:
        ref = driver.create_vm(_spec(ctx, vm))
        ctx.fault_point("made")
        Vm.objects.filter(pk=vm.pk).update(external_id=ref.external_id)
        ctx.remember(accepted=ref.external_id)
    try:
        making = driver.making(ref)
    except Unavailable as error:
        return while_away(vm, error)
    if making.state is MakingState.FAILED:
        raise MakingFailed(figures={"why": making.why[:LONGEST_WORDS] or "-"})
    if making.state is MakingState.WORKING:
        text = _("The engine is making it.")
        return Wait(1.0, text, progress=making.percent, give_up_after=MAKING_SECONDS)
    for uid, external_id in making.disks.items():
        Disk.objects.filter(pk=uid, vm=vm).update(external_id=external_id)
    return Done({"external_id": ref.external_id})


def _accepted(ctx: StepContext, vm: Vm) -> VmRef | None:
    """What an earlier look saw accepted: it is not asked for again, whatever became of it."""
    known = ctx.output("define").get("accepted")
    return VmRef(vm.pk, known) if known else None


def _first_boot(ctx: StepContext, vm: Vm) -> list[DiskRef]:
    """The volume that was made for the first boot, if one was."""
    made = ctx.output("first_boot")
    return [DiskRef(vm.pk, made["storage_domain"], made["volume"])] if made else []


def _spec(ctx: StepContext, vm: Vm) -> VmSpec:
    template = engines_template(vm)
    return _engines_spec(ctx, vm, template) if template else _plain_spec(ctx, vm)


def _plain_spec(ctx: StepContext, vm: Vm) -> VmSpec:
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


def _engines_spec(ctx: StepContext, vm: Vm, template: Template) -> VmSpec:
    """The same from an engine's template: its disks come with it, each from one of the template's."""
    disks = tuple(DiskFromTemplate(_disk_ref(disk), disk.source) for disk in _disks(vm))
    return replace(
        _plain_spec(ctx, vm),
        disks=(),
        cluster=vm.cluster.external_id,
        template=template.external_id,
        template_disks=disks,
        clone=bool(ctx.params.get("clone")),
    )


def undefine(ctx: StepContext) -> Done | Wait:
    """Cut the power if it runs, undefine, and give its addresses back; already gone is done.

    An engine cuts the power in its own time, and lets nobody at a machine that it is still making.
    """
    vm = vm_of(ctx)
    driver = driver_of(vm)
    found = driver.find_vm(vm.pk, vm.external_id)
    ref = VmRef(vm.pk, found.external_id) if found else ref_of(vm)
    if found is not None and found.status is VmStatus.IMAGE_LOCKED:
        return Wait(1.0, _("Waiting until the engine lets go of the machine."), give_up_after=MAKING_SECONDS)
    if found is not None and found.status is not VmStatus.DOWN:
        driver.stop_vm(ref)
        ctx.fault_point("stopped")
        found = driver.find_vm(vm.pk, vm.external_id)
        if found is not None and found.status is not VmStatus.DOWN:
            return Wait(0.5, _("Waiting for the power to be off."))
    driver.delete_vm(ref, nics=_nics(vm))
    return Done({"gone": True})


def start(ctx: StepContext) -> Done | Wait | None:
    """Switch on, unless it is not wanted. What took an engine hours is kept where there is no room to run it now."""
    vm = vm_of(ctx)
    if not ctx.params.get("run", True):
        return NOTHING_TO_DO
    try:
        driver_of(vm).run_vm(ref_of(vm))
    except NoCapacity as error:
        if engines_template(vm) is None:
            raise
        return Done({"refused": error.public})
    except Unavailable as error:
        return while_away(vm, error)
    return None


def read_back_all(ctx: StepContext) -> Done | Wait | None:
    """The machine, and what it stands on: one that is not started would not miss its disks."""
    vm = vm_of(ctx)
    driver = driver_of(vm)
    wanted = [_disk_ref(disk) for disk in _disks(vm)] + _first_boot(ctx, vm)
    try:
        if any(driver.find_disk(ref) is None for ref in wanted):
            raise StepFailed(_("The hypervisor does not have the machine's disk."), code="disk_not_found")
        return read_back_kept(ctx, vm) if engines_template(vm) else read_back(ctx)
    except Unavailable as error:
        return while_away(vm, error)


def forget_failed(job: JobContext) -> None:
    """Nothing was made: the row goes, and the quota comes back."""
    _forget(job.target_uid)


def _forget(vm_uid: UUID) -> None:
    vm = Vm.objects.select_for_update().filter(pk=vm_uid).first()  # before the ledger, as a move takes them
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
        StepDef("read_back", gettext_lazy("Verify"), read_back_all),
    )
    on_finished = staticmethod(settle_made)
    on_failed = staticmethod(forget_failed)
    left_behind = staticmethod(machine_left)


def steps_for(template: Template, *, run: bool) -> list[StepDef]:
    """Those that have something to do for a machine of this template; the others are told as not needed."""
    needless = {
        "make_disks": template.is_engines,
        "first_boot": not capabilities_of(template.storage_domain.provider).first_boot_volume,
        "start": not run,
    }
    return [step for step in CreateVm.steps if not needless.get(step.name)]


# -- delete


def power_off(ctx: StepContext) -> Wait | None:
    """It must be off before its disks go. One that was suspended meanwhile holds its memory in some."""
    vm = vm_of(ctx)
    found = driver_of(vm).find_vm(vm.pk, vm.external_id)
    if found is None or found.status is VmStatus.DOWN:
        return None
    if not ctx.output("power_off").get("cut"):
        driver_of(vm).stop_vm(VmRef(vm.pk, found.external_id))
        ctx.remember(cut=True)
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


def _removing(name: str, title: _StrPromise, do: Act, *, give_up_after: float = 600) -> StepDef:
    return StepDef(name, title, once_looked_at(do), destructive=True, give_up_after=give_up_after)


class DeleteVm(Operation):
    """Delete a machine with its disks."""

    name = "compute.delete_vm"
    title = gettext_lazy("Delete machine")
    audit_verb = "VM_DELETE"
    when_failed = gettext_lazy("What is left of the machine still counts in your quota. Delete it again later.")
    point_of_no_return = "undefine"
    steps = (
        _removing("power_off", gettext_lazy("Make sure it is off"), power_off, give_up_after=120),
        _removing("undefine", gettext_lazy("Remove the definition"), undefine),
        _removing("delete_first_boot", gettext_lazy("Remove first-boot data"), unmake_first_boot),
        _removing("delete_disks", gettext_lazy("Delete the disks"), partial(unmake_disks, step="delete_disks")),
    )
    on_finished = staticmethod(forget)
    on_failed = staticmethod(tell_what_is_left)


def register_all() -> None:
    """Make them known to the engine."""
    register(CreateVm)
    register(DeleteVm)
