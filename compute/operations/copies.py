"""Templates that are copied on their hypervisor: from a machine that is off, or from a volume that lies there."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import inspection, rules, spool
from compute.choices import IMAGE_REFUSALS
from compute.models import Template, Vm
from compute.operations.asking import in_turn
from compute.operations.left_behind import template_left
from compute.operations.offered import HEAD_BYTES, refuse_otherwise
from compute.operations.permitted import ask_again
from compute.operations.templates import GIB, UNDONE, disk_of, forget, make_ready, remove, template_of
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.specs import DiskRef, DiskSpec, VmStatus, VolumeFound, VolumeRef
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants.permits import Permit

LOOK_SECONDS = 2.0  # between two looks at how far a copy is
COPY_SECONDS = 2 * 3600.0  # of trying again while an earlier try is still at it
QCOW2 = "qcow2"


def _driver(template: Template) -> Driver:
    return driver_for(template.storage_domain.provider)


def _copy(ctx: StepContext, source: VolumeRef, *, in_all: int) -> Wait | None:
    """``in_all``: how many bytes there are to copy, at most; 0 where that is not known."""
    template = template_of(ctx)
    disk = disk_of(template)
    driver = _driver(template)
    with spool.slow_work() as has_place:
        if not has_place:
            return in_turn()
        spec = DiskSpec(disk.uid, disk.storage_domain, template.disk_gib * GIB)
        _copied(ctx, driver, spec, source, in_all=in_all)
    ctx.fault_point("made")
    return None


def _copied(ctx: StepContext, driver: Driver, spec: DiskSpec, source: VolumeRef, *, in_all: int) -> None:
    """One call copies, on a thread of its own, and meanwhile it is told how far that is."""
    text = _("The hypervisor copies the disk. That lasts as long as the disk is large.")
    ctx.report(text)
    # Whatever happens here, the step ends no sooner than the copy: its place among slow work is in use as long.
    with ThreadPoolExecutor(1, thread_name_prefix="copy") as aside:
        copying = aside.submit(driver.copy_disk, spec, source=source)
        while not wait([copying], timeout=LOOK_SECONDS).done:
            ctx.report(text, progress=percent_of(_so_far(driver, spec), in_all))
        copying.result()


def _so_far(driver: Driver, spec: DiskSpec) -> int | None:
    try:
        return driver.copied_bytes(spec)
    except HypervisorError:
        return None  # the copy itself will tell


def percent_of(done: int | None, in_all: int) -> int | None:
    """How far a copy is, below 100 until it is whole; None where that is not known."""
    return min(99, 100 * done // in_all) if done is not None and in_all else None


# -- of a machine


def _refuse_unless_off(ctx: StepContext, driver: Driver) -> Vm:
    """What is copied from a machine that writes is worth nothing. Asked of the hypervisor, before and after; and whether who asked
    for it may still have what is in it.
    """
    vm = Vm.objects.filter(pk=UUID(ctx.params["vm"])).first()
    found = driver.find_vm(vm.pk, vm.external_id) if vm is not None else None
    if vm is None or found is None:
        raise StepFailed(_("The machine is gone."), code="vm_gone")
    text = _("You may not copy the machine %(name)s any more. Ask for a role on it.") % {"name": vm.name}
    ask_again(ctx, Permit.VM_EDIT, vm, code="vm_not_permitted", text=text)
    if found.status is not VmStatus.DOWN:
        raise StepFailed(_("The machine is not off. Shut it down, and make the template again."), code="vm_not_down")
    return vm


def look_at_machine(ctx: StepContext) -> Done:
    """It is off, and its disk is there."""
    driver = _driver(template_of(ctx))
    vm = _refuse_unless_off(ctx, driver)
    disk = vm.disks.select_related("storage_domain").first()
    found = driver.find_disk(DiskRef(disk.pk, disk.storage_domain.external_id)) if disk is not None else None
    if found is None:
        raise StepFailed(_("The hypervisor does not have the machine's disk."), code="disk_not_found")
    size = found.allocated_bytes + _below(vm, driver)
    return Done({"storage_domain": found.ref.storage_domain, "volume": found.external_id, "bytes": size})


def _below(vm: Vm, driver: Driver) -> int:
    """What the template's disk holds, over which the machine's lies."""
    template = vm.template
    found = driver.find_disk(disk_of(template)) if template is not None else None
    return found.allocated_bytes if found is not None else 0


def copy_machine(ctx: StepContext) -> Wait | None:
    """Its disk and all that lies below it, as one."""
    source = ctx.output("look")
    volume = VolumeRef(source["storage_domain"], source["volume"], QCOW2)
    return _copy(ctx, volume, in_all=source.get("bytes", 0))


def verify_machine(ctx: StepContext) -> None:
    """It was off all the time, and the copy is there."""
    _refuse_unless_off(ctx, _driver(template_of(ctx)))
    make_ready(ctx)


class TemplateOfMachine(Operation):
    """Make a template from a machine that is off; the machine stays as it is."""

    name = "compute.template_of_machine"
    title = gettext_lazy("Make template from machine")
    audit_verb = "TEMPLATE_CREATE"
    when_failed = UNDONE
    steps = (
        StepDef("look", gettext_lazy("Make sure it is off"), look_at_machine),
        StepDef("copy", gettext_lazy("Copy the disk"), copy_machine, remove, give_up_after=COPY_SECONDS),
        StepDef("verify", gettext_lazy("Verify"), verify_machine),
    )
    on_failed = staticmethod(forget)
    left_behind = staticmethod(template_left)


# -- of a volume


def _volume(ctx: StepContext, template: Template, driver: Driver) -> VolumeFound:
    found = driver.find_volume(ctx.params["storage_domain"], ctx.params["volume"])
    if found is None:
        raise StepFailed(_("The volume is gone."), code="volume_gone")
    if reasons := rules.volume_reasons(found):
        # Whoever may see the job may not know the machines that have the volume: they are told in the list alone.
        text = _("The volume cannot be copied as it is now. The list of volumes says why, to super-admins.")
        detail = " ".join(reason.text for reason in reasons)
        raise StepFailed(text, code=reasons[0].code, detail=detail)
    refuse_otherwise(ctx, template, found)
    return found


def _head(ctx: StepContext, driver: Driver) -> bytes:
    return driver.volume_head(ctx.params["storage_domain"], ctx.params["volume"], length=HEAD_BYTES)


def look_at_volume(ctx: StepContext) -> Done:
    """What it is by its bytes, before any program of QEMU's opens it."""
    template = template_of(ctx)
    driver = _driver(template)
    found, head = _volume(ctx, template, driver), _head(ctx, driver)
    try:
        facts = inspection.inspect_stream(
            BytesIO(head),
            size_bytes=found.size_bytes,
            said=found.format,
            most_virtual_bytes=settings.IMAGE_MOST_VIRTUAL_BYTES,
        )
    except inspection.Refused as error:
        raise StepFailed(str(IMAGE_REFUSALS[error.code]), code=error.code, detail=error.detail) from error
    if facts.virtual_bytes > template.disk_gib * GIB:
        raise StepFailed(_("The volume has grown meanwhile. Make the template again."), code="volume_grown")
    head_sum = hashlib.sha256(head).hexdigest()
    return Done({"format": facts.format.value, "head": head_sum, "bytes": found.allocated_bytes})


def copy_volume(ctx: StepContext) -> Wait | None:
    """All of it, into one of ours."""
    seen = ctx.output("look")
    volume = VolumeRef(ctx.params["storage_domain"], ctx.params["volume"], seen["format"])
    return _copy(ctx, volume, in_all=seen.get("bytes", 0))


def verify_volume(ctx: StepContext) -> None:
    """Nobody changed what the volume says of itself between the look and the copy, and the copy is there."""
    template = template_of(ctx)
    driver = _driver(template)
    _volume(ctx, template, driver)
    if hashlib.sha256(_head(ctx, driver)).hexdigest() != ctx.output("look")["head"]:
        raise StepFailed(_("Somebody wrote on the volume while it was copied."), code="volume_changed")
    make_ready(ctx)


class TemplateOfVolume(Operation):
    """Make a template from a volume in a storage domain; the volume stays as it is."""

    name = "compute.template_of_volume"
    title = gettext_lazy("Make template from volume")
    audit_verb = "TEMPLATE_CREATE"
    when_failed = UNDONE
    steps = (
        StepDef("look", gettext_lazy("Look at its format"), look_at_volume),
        StepDef("copy", gettext_lazy("Copy the disk"), copy_volume, remove, give_up_after=COPY_SECONDS),
        StepDef("verify", gettext_lazy("Verify"), verify_volume),
    )
    on_failed = staticmethod(forget)
    left_behind = staticmethod(template_left)


def register_all() -> None:
    """Make them known to the engine."""
    register(TemplateOfMachine)
    register(TemplateOfVolume)
